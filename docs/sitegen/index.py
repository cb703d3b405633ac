"""Start page and navigation of the site, and links between its pages."""

import re
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"
SECTIONS = ("Install and quickstart", "Train a model", "Train on your own sequences")
OUTSIDE = re.compile(r"\[([^\]]*)\]\(\.\./([^)\s]+)\)")


def contents(text: str) -> str:
    """Return one hidden table of contents per section of the index, in the order of its links.

    A page that several sections link to belongs to the first one.
    """
    seen: set[str] = set()
    trees = []
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        title = re.split(r"[:\n]", section, maxsplit=1)[0]
        pages = [name for name in dict.fromkeys(_pages(section)) if name not in seen]
        seen.update(pages)
        trees.append(
            f"```{{toctree}}\n:hidden:\n:caption: {title}\n\n" + "\n".join(pages) + "\n```"
        )
    trees.append("```{toctree}\n:hidden:\n:caption: Examples\n:glob:\n\nsitegen/pages/*\n```")
    return "\n\n" + "\n\n".join(trees) + "\n"


def _pages(section: str) -> list[str]:
    return re.findall(r"\]\((\w+)\.md", section)


def start() -> str:
    """Return the sections of README.md that a new user reads first."""
    sections = re.split(r"^## ", README.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    text = "".join(f"## {each}" for each in sections if each.startswith(SECTIONS))
    text = re.sub(r"\]\((?!docs/|https?:)", "](../", text)
    return text.replace("](docs/", "](")


def site_links(text: str) -> str:
    """Name links to pages by their titles, and replace links that leave docs/ by their text."""
    text = re.sub(r"\[\w+\.md\]\((\w+\.md(?:#[\w-]+)?)\)", r"[](\1)", text)
    return OUTSIDE.sub(r"\1 (`\2`)", text)
