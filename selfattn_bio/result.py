"""The base class of results that have a table."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from selfattn_bio.files import whole_file

if TYPE_CHECKING:
    import pandas as pd


class HasTable(Protocol):
    """A result with a table."""

    @property
    def table(self) -> pd.DataFrame:
        """Return the table."""


class TableResult:
    """A result whose table is shown in Jupyter and can be saved."""

    def _repr_html_(self: HasTable) -> str:
        return f"<div>{escape(repr(self))}</div>{self.table.to_html(max_rows=20, max_cols=20)}"

    def save(self: HasTable, path: str | Path) -> None:
        """Write the table as TSV, with six digits."""
        with whole_file(path) as file:
            self.table.to_csv(file, sep="\t", index=False, float_format="%.6g", lineterminator="\n")
