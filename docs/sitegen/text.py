"""Markdown of the generated parts."""

import re
from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; cells are Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, row))} |" for row in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def prose(text: str) -> str:
    """Escape what Markdown would read as markup, and show options and paths of pages as code."""
    parts = re.split(r"(`[^`]*`)", text)
    parts[::2] = [_escaped(part) for part in parts[::2]]
    return "".join(parts)


def _escaped(text: str) -> str:
    text = re.sub(r"([<*\\])", r"\\\1", text)
    text = re.sub(r"(?<![\w-])--[a-z][\w-]*", r"`\g<0>`", text)
    return re.sub(r"\bdocs/(\w+)\.md", r"[\1.md](\1.md)", text)
