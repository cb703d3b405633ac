"""Write the generated tables of pages: keys of the run file, options, public names, support.

The text between `<!-- generated: NAME -->` and `<!-- end of NAME -->` of a page in docs/ is
replaced, so that a reader of the repository sees it too.

    python docs/make_pages.py
"""

import re
from collections.abc import Iterator
from pathlib import Path

from sitegen import api, commands, run_file, support

DOCS = Path(__file__).parent
PARTS = {
    "names": api.names,
    "options": commands.reference,
    "run file": run_file.reference,
    "support": support.table,
}


def pages() -> Iterator[tuple[Path, str]]:
    """Yield each page that has a generated part, with its current text."""
    for name, generate in PARTS.items():
        begin, end = f"<!-- generated: {name} -->", f"<!-- end of {name} -->"
        (path,) = (each for each in DOCS.glob("*.md") if begin in each.read_text(encoding="utf-8"))
        text = path.read_text(encoding="utf-8")
        found = re.search(f"{begin}.*{end}", text, re.DOTALL)
        if found is None:
            raise ValueError(f"{path} has no line {end!r} after {begin!r}")
        part = f"{begin}\n\n{generate()}\n\n{end}"
        yield path, text[: found.start()] + part + text[found.end() :]


if __name__ == "__main__":
    for path, text in pages():
        path.write_text(text, encoding="utf-8")
