"""Read and write tables of results: BED, TSV and Parquet; convert positions to chromosomes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from csv import QUOTE_NONE
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from selfattn_bio.errors import SequenceFileError
from selfattn_bio.files import check_ending, regular, whole_file
from selfattn_bio.sequence.alphabet import control_in
from selfattn_bio.sequence.intervals import LOCUS

SHOWN = 40  # characters of a column name in a message
BED_COLUMNS = ["chrom", "start", "end", "name", "score", "strand"]
# columns of all tables of the package that are text
TEXT_COLUMNS = (
    *("id", "name", "target", "unit", "name_a", "name_b", "consensus", "match", "other_matches"),
    *("correlated", "family", "verdict", "lacks", "effect_units", "split", "reason", "spacings"),
    *("orientation", "site_units", "overlaps"),
    *("chrom", "strand", "marginal_strand", "predicted", "set"),
)
TSV: dict[str, Any] = {"sep": "\t", "index": False, "float_format": "%.6g", "lineterminator": "\n"}
STRINGS = dict.fromkeys((pa.string(), pa.large_string()), pd.StringDtype(na_value=np.nan))
BED_TYPES = {0: "str", 1: "int64", 2: "int64", 3: "str", 5: "str"}  # of the first six columns


def read_parquet(path: Path) -> pd.DataFrame:
    """Read a table of the package, and check that its texts are UTF-8.

    Raises
    ------
    OSError, ValueError
        If the file is missing, not a file, or damaged.
    """
    try:
        table = parquet.read_table(regular(path))
        table.validate(full=True)
        return table.to_pandas(types_mapper=STRINGS.get)
    except (pa.ArrowException, MemoryError, KeyError, TypeError) as error:
        raise ValueError(str(error) or type(error).__name__) from error


def on_chromosome(intervals: pd.DataFrame, records: pd.DataFrame) -> pd.DataFrame:
    """Convert intervals within records to BED6 rows.

    A record on chr2R [100, 200) of the - strand contains the bases of that strand, so its interval
    [10, 15) on + is chr2R [185, 190) on -. Records without coordinates keep the interval within the
    record, with the record id as chrom.

    Parameters
    ----------
    intervals
        record (row of `records`), start, end (0-based half-open, in the record), strand (+ as the
        record reads, - its reverse complement), name, score (0 to 1000).
    records
        id, chrom, start, end (0-based half-open), strand; missing where unknown. One row per
        record.

    Returns
    -------
    chrom, start, end, name, score, strand and the other columns of `intervals`, sorted by position.
    """
    record = records.iloc[intervals["record"].to_numpy(dtype=int)].reset_index(drop=True)
    interval = intervals.reset_index(drop=True)
    located = record[LOCUS].replace("", pd.NA).notna().all(axis=1).to_numpy()
    is_reversed = located & (record["strand"] == "-").fillna(False).to_numpy(dtype=bool)
    origin = record["start"].where(located, 0).to_numpy(dtype=np.int64)
    far_end = record["end"].where(located, 0).to_numpy(dtype=np.int64)
    start = interval["start"].to_numpy(dtype=np.int64)
    end = interval["end"].to_numpy(dtype=np.int64)
    flipped = interval["strand"].map({"+": "-", "-": "+"})
    rows = pd.DataFrame(
        {
            "chrom": record["chrom"].where(located, record["id"]).astype(str),
            "start": np.where(is_reversed, far_end - end, origin + start),
            "end": np.where(is_reversed, far_end - start, origin + end),
            "name": interval["name"],
            "score": interval["score"].to_numpy(dtype=np.int64),
            "strand": interval["strand"].where(~is_reversed, flipped),
        }
    )
    rows = rows.join(interval.drop(columns=["record", *BED_COLUMNS], errors="ignore"))
    return rows.sort_values(["chrom", "start", "end", "name", "strand"], ignore_index=True)


def write_bed(path: str | Path, rows: pd.DataFrame, more: Sequence[str] = ()) -> None:
    """Write rows of `on_chromosome` as BED6 plus the columns `more`, without a header."""
    rows.to_csv(path, header=False, columns=[*BED_COLUMNS, *more], quoting=QUOTE_NONE, **TSV)


def read_bed(path: str | Path) -> pd.DataFrame:
    """Read a file written by `write_bed`.

    Names are kept as text, also 007, 1e5 or one#1#chr1. Columns after BED6 are named 6, 7, ...

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If a column of BED6 is missing, or start or end is no whole number.
    """
    try:
        rows = pd.read_csv(
            path, sep="\t", header=None, keep_default_na=False, dtype=BED_TYPES, quoting=QUOTE_NONE
        )
    except pd.errors.EmptyDataError:
        return pd.DataFrame(columns=BED_COLUMNS)
    if rows.shape[1] < len(BED_COLUMNS):
        message = f"BED file has {rows.shape[1]} columns instead of {', '.join(BED_COLUMNS)}"
        raise ValueError(message)
    return rows.rename(columns=dict(enumerate(BED_COLUMNS)))


def write_table(path: str | Path, table: pd.DataFrame) -> None:
    """Write a table as TSV or Parquet, depending on the file name extension.

    Raises
    ------
    OutputError
        If the extension is neither .tsv nor .parquet.
    """
    with whole_file(check_ending(path, ".tsv", ".parquet")) as temporary:
        if Path(path).suffix == ".parquet":
            table.to_parquet(temporary, index=False)
        else:
            table.to_csv(temporary, **TSV)


def read_cells(path: str | Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read a TSV table of a user as text; empty cells are "".

    Raises
    ------
    SequenceFileError
        If the file is missing or not a TSV table, one of the `columns` is missing, or one occurs
        twice.
    """
    try:
        table = pd.read_csv(path, sep="\t", header=None, dtype="str", keep_default_na=False)
    except FileNotFoundError:
        SequenceFileError.fail("no such file", path)
    except ValueError as error:
        SequenceFileError.fail(f"cannot read this TSV table: {str(error).strip()}", path)
    table = table.iloc[1:].set_axis(table.iloc[0], axis=1).reset_index(drop=True)
    check_names(table.columns, f"{path}:1")
    if missing := [name for name in columns if name not in table]:
        message = f"column {missing[0]!r} is missing (expected {', '.join(columns)})"
        raise SequenceFileError(message, place=f"{path}:1")
    return table


def read_table(
    path: str | Path, text: Sequence[str] = TEXT_COLUMNS, columns: Sequence[str] = ()
) -> pd.DataFrame:
    """Read a TSV table; the columns `text` stay text, and empty numeric cells are missing.

    Raises
    ------
    OSError, ValueError
        If the file cannot be read, or one of `columns` is missing or has text instead of numbers.
    """
    # Ids such as "NA" or "007" are text; an empty cell is a missing number in the other columns
    # only
    numbers = set(pd.read_csv(path, sep="\t", nrows=0)) - set(text)
    types, missing = dict.fromkeys(text, "str"), {str(name): ["", "nan"] for name in numbers}
    table = pd.read_csv(path, sep="\t", dtype=types, keep_default_na=False, na_values=missing)
    for name in columns:
        if name not in table:
            raise ValueError(f"column {name!r} is missing")
        if name not in text and table[name].map(lambda cell: isinstance(cell, str)).any():
            raise ValueError(f"column {name!r} has text instead of numbers")
    return table


def check_names(names: Iterable[object], place: str) -> None:
    """Raise `SequenceFileError` if a column name is repeated or has a control character.

    Line breaks are control characters. `place` is that of the header.
    """
    earlier = set[str]()
    for number, name in enumerate(map(str, names), start=1):
        if found := control_in(name):
            message = f"{found} in the name of column {number}, {name[:SHOWN]!r}"
            raise SequenceFileError(message, place=place, hint="Rename the column")
        if name in earlier:
            raise SequenceFileError(f"duplicate column {name!r}", place=place)
        earlier.add(name)
