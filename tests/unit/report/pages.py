"""Make the page of results, and read its tables as a reader does.

Each cell is known by its row and the heading above it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from small_results import TASK

from selfattn_bio import Study
from selfattn_bio.config import RunFile
from selfattn_bio.report import figures, tested
from selfattn_bio.report.page import render
from selfattn_bio.report.results import Results, read_results

DRAW = tested.draw
Rows = dict[str, dict[str, str]]  # text by the first cell of the row and the heading of the column


def read(folder: Path, task: RunFile = TASK) -> Results:
    """Read the results folder of a task."""
    return read_results(Study(task, folder))


@contextmanager
def without_files(drawn: bool = False) -> Iterator[None]:
    """Write no figures, and leave those of the page empty unless `drawn`: they take the longest."""

    def draw(name: str, paint: Any, folder: Path | None = None, *shape: Any, **size: Any) -> str:
        return DRAW(name, paint, None, *shape, **size) if drawn else "<svg></svg>"

    with pytest.MonkeyPatch.context() as patch:
        for module in (tested, figures):
            patch.setattr(module, "draw", draw)
        yield


def page_of(results: Results, drawn: bool = False) -> str:
    """Return the page of results."""
    with without_files(drawn), TemporaryDirectory() as folder:
        return render(results, Path(folder), "small_task")


def section_of(page: str, name: str) -> str:
    """Return a section of the page, with single spaces."""
    text = page.partition(f'<section id="{name}">')[2].partition("</section>")[0]
    return " ".join(text.split())


class Tables(HTMLParser):
    """Read the tables of a page: the text of each cell, and the number of columns it covers."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[list[list[str]]] = []
        self.is_cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.found.append([])
        elif tag == "tr":
            self.found[-1].append([])
        elif tag in ("th", "td"):
            self.is_cell = True
            self.found[-1][-1] += [""] * int(dict(attrs).get("colspan") or 1)
        elif self.is_cell and tag in ("small", "br"):
            self.handle_data(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("th", "td"):
            self.is_cell = False

    def handle_data(self, data: str) -> None:
        if self.is_cell:
            self.found[-1][-1][-1] += data


def rows_of(text: str, section: str) -> list[list[dict[str, str]]]:
    """Return the rows of each table in a section of the page: text by heading of the column."""
    found = []
    for heads, *rows in Tables(section_of(text, section)).found:
        assert len(set(heads)) == len(heads)
        assert [head for head in heads if "_" in head] == []
        texts = [[" ".join(cell.split()) for cell in row] for row in rows]
        found.append([dict(zip(heads, row, strict=True)) for row in texts])
    return found


def tables_of(text: str, section: str) -> list[Rows]:
    """Return the tables in a section of the page, whose rows have different first cells."""
    return [
        {first: dict(others) for row in rows for (_, first), *others in [row.items()]}
        for rows in rows_of(text, section)
    ]
