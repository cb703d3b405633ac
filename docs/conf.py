"""Sphinx configuration. `make docs` trains the smoke task and builds the site in build/docs."""

import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from sitegen import complete  # noqa: E402
from sitegen.notebooks import RESULTS  # noqa: E402
from sphinx.errors import ConfigError  # noqa: E402

if not (RESULTS / "report.html").exists():
    raise ConfigError(
        f"{RESULTS} has no results; run `make docs`, which trains the smoke task first"
    )

PACKAGE = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = PACKAGE["name"]
version = release = PACKAGE["version"]
extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc"]
root_doc = "README"  # the index on code hosts as well

html_theme = "furo"
html_title = f"{project} {version}"
html_static_path = ["sitegen/static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
smartquotes = False  # would turn --option into –option

myst_heading_anchors = 4
myst_links_external_new_tab = False
suppress_warnings = ["myst.header", "misc.highlighting_failure"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_use_unqualified_type_names = True
autodoc_default_options = {"members": True, "undoc-members": False}
default_role = "py:obj"  # a name in backticks links to it if it is documented
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False


def setup(app):
    """Complete each page with its generated parts when Sphinx reads it."""

    def read(app, page, source):
        source[0] = complete(page, source[0])

    def finish(app, failure):
        if failure is None and app.builder.name == "html":
            folder = Path(app.outdir)
            (folder / "index.html").write_bytes((folder / "README.html").read_bytes())

    app.connect("source-read", read)
    app.connect("build-finished", finish)
