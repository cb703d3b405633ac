"""Parts of the documentation site that are generated from the package.

A page asks for a part with a comment such as `<!-- site: gallery -->`. It is replaced when Sphinx
reads the page. Parts that readers of the repository need as well are committed: `make_pages.py`
writes them.
"""

import re
from collections.abc import Callable

from sitegen import api, gallery, index, notebooks

PARTS: dict[str, Callable[..., str]] = {
    "api": api.reference,
    "gallery": gallery.page,
    "notebook": notebooks.page,
    "start": index.start,
}
COMMENT = re.compile(r"^<!-- site: (.+) -->$", re.MULTILINE)


def complete(page: str, text: str) -> str:
    """Return the text of a page with its generated parts.

    Parameters
    ----------
    page
        Name of the page without suffix. The index also gets the tables of contents.
    text
        Its source in Markdown.
    """
    trees = index.contents(text) if page == "README" else ""
    return index.site_links(COMMENT.sub(lambda found: part(found[1]), text) + trees)


def part(request: str) -> str:
    """Return the part that a comment asks for, such as "commands" or "notebook motifs"."""
    for name, generate in PARTS.items():
        if request == name:
            return generate()
        if request.startswith(f"{name} "):
            return generate(request.removeprefix(f"{name} "))
    raise ValueError(f"there is no generated part {request!r}; known parts: {', '.join(PARTS)}")
