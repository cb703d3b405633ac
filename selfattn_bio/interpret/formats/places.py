"""Places as BED, and tables as TSV or Parquet: how a place in a record becomes one on its chromosome, and the files."""

from __future__ import annotations

from collections.abc import Sequence
from csv import QUOTE_NONE
from pathlib import Path

import numpy as np
import pandas as pd

from selfattn_bio.errors import OutputError
from selfattn_bio.files import whole_file

BED_COLUMNS = ["chrom", "start", "end", "name", "score", "strand"]
TEXT = {0: "str", 3: "str", 5: "str"}  # of these columns: chrom, name, strand


def on_chromosome(places: pd.DataFrame, records: pd.DataFrame) -> pd.DataFrame:
    """Turn places within records into BED6 rows.

    A record on chr2R [100, 200) of the - strand holds the letters of that strand, so its place [10, 15) on + is chr2R [185, 190) on -.
    A record without coordinates stands for itself: the rows carry its id and the place within it.

    Parameters
    ----------
    places
        record (row of `records`), start, end (letters of the record, 0-based half-open), strand (+ as the record's letters read, -
        their reverse complement), name, score (0 to 1000).
    records
        id, chrom, start, end (0-based half-open), strand; missing where unknown. One row a record.

    Returns
    -------
    chrom, start, end, name, score, strand, and what else `places` has, ordered by place.
    """
    record = records.iloc[places["record"].to_numpy(dtype=int)].reset_index(drop=True)
    place = places.reset_index(drop=True)
    located = record[["chrom", "start", "end"]].notna().all(axis=1).to_numpy() & (record["chrom"].fillna("") != "").to_numpy()
    turned = located & (record["strand"] == "-").fillna(False).to_numpy(dtype=bool)
    origin = record["start"].where(located, 0).to_numpy(dtype=np.int64)
    far_end = record["end"].where(located, 0).to_numpy(dtype=np.int64)
    start, end = place["start"].to_numpy(dtype=np.int64), place["end"].to_numpy(dtype=np.int64)
    flipped = place["strand"].map({"+": "-", "-": "+"})
    rows = pd.DataFrame(
        {
            "chrom": record["chrom"].where(located, record["id"]).astype(str),
            "start": np.where(turned, far_end - end, origin + start),
            "end": np.where(turned, far_end - start, origin + end),
            "name": place["name"],
            "score": place["score"].to_numpy(dtype=np.int64),
            "strand": place["strand"].where(~turned, flipped),
        },
        columns=BED_COLUMNS,
    )
    rows = pd.concat([rows, place.drop(columns=["record", *BED_COLUMNS], errors="ignore")], axis=1)
    return rows.sort_values(["chrom", "start", "end", "name", "strand"], ignore_index=True)


def write_bed(path: str | Path, rows: pd.DataFrame, more: Sequence[str] = ()) -> None:
    """Write `rows` (as of `on_chromosome`) as BED6, and the columns `more` after it: tabs, no header."""
    columns = [*BED_COLUMNS, *more]
    rows.to_csv(path, sep="\t", header=False, index=False, columns=columns, lineterminator="\n", float_format="%.6g", quoting=QUOTE_NONE)


def read_bed(path: str | Path, more: Sequence[str] = ()) -> pd.DataFrame:
    """Read what `write_bed` wrote: names as they are, such as 007, 1e5 or one#1#chr1; of more columns the rest is named 6, 7, ...

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is no BED of at least six columns and those of `more`.
    """
    names = [*BED_COLUMNS, *more]
    try:
        rows = pd.read_csv(path, sep="\t", header=None, keep_default_na=False, dtype=TEXT, quoting=QUOTE_NONE)
    except pd.errors.EmptyDataError:
        return pd.DataFrame(columns=names)
    if rows.shape[1] < len(names):
        raise ValueError(f"BED must have the columns {', '.join(names)}, got {rows.shape[1]} columns")
    return rows.rename(columns=dict(enumerate(names)))


def write_table(path: str | Path, table: pd.DataFrame) -> None:
    """Write a table as TSV or Parquet, by the name's end.

    Raises
    ------
    OutputError
        If the name ends otherwise.
    """
    with whole_file(path) as temporary:
        if Path(path).suffix == ".parquet":
            table.to_parquet(temporary, index=False)
        elif Path(path).suffix == ".tsv":
            table.to_csv(temporary, sep="\t", index=False, float_format="%.6g", lineterminator="\n")
        else:
            raise OutputError("output must end with .tsv or .parquet", place=str(path), cure="Choose another name")
