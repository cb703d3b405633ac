"""Stranded points within long records, the bins that hold one, and how well bins are told: for objective `bins`.

Hides: where a record stands on its chromosome, and how overlapping records share a bin. Training chooses by it on valid, `evaluate` judges
by it on test. What a network says of a bin is a log rate: the logarithm of how many points it expects
there on each strand; the chance of one at least is 1 - exp(-sum of the rates), which joins the chances of its vectors (noisy-or).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import logsumexp
from sklearn.metrics import average_precision_score, roc_auc_score

from selfattn_bio.errors import CorpusError
from selfattn_bio.sequence.genome import name_among
from selfattn_bio.sequence.intervals import read_intervals

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Points:
    """The points within a record of `length` letters that stands at `start` (0-based) of `chrom`, read forward.

    Attributes
    ----------
    at
        Letters from the record's first, 0-based, (n,).
    strand
        0 forward, 1 reverse, (n,).
    """

    chrom: str
    start: int
    length: int
    at: NDArray[np.int64]
    strand: NDArray[np.int64]

    def seen(self, first: int, last: int, turned: bool) -> Points:
        """Those of the record's letters [first, last), or of their reverse complement."""
        inside = (self.at >= first) & (self.at < last)
        at, strand, length = self.at[inside] - first, self.strand[inside], last - first
        return Points(self.chrom, self.start + first, length, length - 1 - at if turned else at, 1 - strand if turned else strand)

    def labels(self, size: int) -> NDArray[np.int64]:
        """(whole bins of `size` letters, 2) whether one holds a point of the forward and of the reverse strand: 0 or 1."""
        found = np.zeros((self.length // size, 2), dtype=np.int64)
        whole = self.at < len(found) * size
        found[self.at[whole] // size, self.strand[whole]] = 1
        return found


def points_of(path: str | Path, records: pd.DataFrame) -> NDArray[np.object_]:
    """The `Points` of records that have coordinates and are read forward, (n,); some may have none.

    Chromosomes are called as the records call them, with and without "chr", as by `Genome.resolve`; points of others are left out.

    Raises
    ------
    IntervalError
        If the file is none that `read_intervals` reads.
    CorpusError
        If a point has no strand, or a record no coordinates, or is read on the reverse strand.
    """
    table = _renamed(read_intervals(path), records["chrom"], path)
    if (bare := table[table["strand"] == "."]).size:
        rule = "points must have a strand (column 6 of BED)"
        raise CorpusError(f"{rule}, got none", place=f"{path}:{bare['line'].iloc[0]}")
    reverse = (table["strand"] == "-").to_numpy()
    at = np.where(reverse, table["end"] - 1, table["start"])
    by_chrom: dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
    for chrom, rows in table.reset_index(drop=True).groupby("chrom"):
        order = rows.index.to_numpy()[np.argsort(at[rows.index], kind="stable")]
        by_chrom[str(chrom)] = at[order], reverse[order].astype(np.int64)
    none = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    found = np.empty(len(records), dtype=object)
    columns = (records[name] for name in ("id", "chrom", "start", "length", "strand"))
    for row, (name, chrom, start, length, strand) in enumerate(zip(*columns, strict=True)):
        if pd.isna(chrom) or pd.isna(start) or strand == "-":
            got = "none" if pd.isna(chrom) or pd.isna(start) else "strand -"
            raise CorpusError(f"records of objective 'bins' must have coordinates of the forward strand, got {got} of {name!r}")
        points, strands = by_chrom.get(str(chrom), none)
        inside = slice(*np.searchsorted(points, [start, start + length]))
        found[row] = Points(str(chrom), int(start), int(length), points[inside] - int(start), strands[inside])
    return found


def _renamed(points: pd.DataFrame, chroms: pd.Series, path: str | Path) -> pd.DataFrame:
    """The table with the records' names of chromosomes; said once a file if they differ."""
    known, own = set(chroms.dropna()), points["chrom"].drop_duplicates()
    names = {name: name_among(name, known) or name for name in own}
    if any(name != of_records for name, of_records in names.items()):
        _say_renamed(str(path))
    return points.assign(chrom=points["chrom"].map(names))


@cache  # train, valid and test read the file each
def _say_renamed(path: str) -> None:
    told = "names of chromosomes are not those of the records; with and without 'chr' they are taken for each other"
    print(f"{path}: {told}", file=sys.stderr, flush=True)


def check_judged(points: NDArray[np.object_], size: int, side: str, place: str) -> None:
    """Refuse records of valid or test, (n,) `Points`, of which no figure can be made.

    Raises
    ------
    CorpusError
        If one does not begin at a multiple of `size`, so that bins of records that overlap would be others; or if no whole bin holds a
        point, or each does.
    """
    if odd := [f"{each.chrom}:{each.start}" for each in points if each.start % size]:
        message = f"records of {side} must begin at a multiple of the bin ({size} letters, counted from 0), got {len(odd)} that do not"
        raise CorpusError(
            f"{message}, such as {odd[0]}", place=place, cure="Cut windows in steps of a multiple of it, or change objective.bin"
        )
    holds = np.concatenate([each.labels(size).any(axis=1) for each in points])
    if len(set(holds)) < 2:
        message = f"whole bins of {side} must be some with a point and some without, got {int(holds.sum())} of {len(holds)} with one"
        raise CorpusError(message, place=place, cure="Change [split], or objective.bin")


@dataclass(frozen=True)
class Bins:
    """The whole bins of records, one row each: of records that overlap in a bin it is one.

    Attributes
    ----------
    table
        chrom, start (0-based letter of the chromosome), label (0 or 1), in order of the chromosomes.
    row_of
        (all bins of all records, record after record,) the table's row of each.
    """

    table: pd.DataFrame
    row_of: NDArray[np.int64]

    @classmethod
    def of(cls, records: NDArray[np.object_], size: int) -> Bins:
        """Those of the `Points` of records, of `size` letters from a record's first."""
        counts = [each.length // size for each in records]
        keys = pd.DataFrame(
            {
                "chrom": np.repeat([each.chrom for each in records], counts),
                "start": np.concatenate([each.start + size * np.arange(count) for each, count in zip(records, counts, strict=True)]),
                "label": np.concatenate([each.labels(size).max(axis=1) for each in records]),
            }
        )
        grouped = keys.groupby(["chrom", "start"], sort=True)
        return cls(grouped["label"].max().reset_index(), grouped.ngroup().to_numpy().astype(np.int64))

    def joined(self, of_records: Sequence[Array]) -> Array:
        """The mean over what each record says of its bins, (bins of the record, ...) each -> (rows of the table, ...)."""
        values = np.concatenate(list(of_records))
        sums = np.zeros((len(self.table), *values.shape[1:]))
        np.add.at(sums, self.row_of, values)
        return sums / np.bincount(self.row_of, minlength=len(self.table)).reshape(-1, *[1] * (values.ndim - 1))

    @property
    def labels(self) -> NDArray[np.int64]:
        return self.table["label"].to_numpy()


def chance(log_rates: Array) -> Array:
    """Log rates (..., 2) of both strands -> the chance of a point at least, (...)."""
    return -np.expm1(-np.exp(logsumexp(log_rates, axis=-1)))


def measure_bins(log_rates: Array, labels: NDArray[np.int64]) -> dict[str, float]:
    """loss (nats a bin), auprc and auroc of log rates (n, 2) against labels (n,); NaN where there is one label only."""
    rate = np.exp(logsumexp(log_rates, axis=-1))
    loss = float(np.mean(np.where(labels == 1, -np.log(np.maximum(-np.expm1(-rate), 1e-300)), rate)))
    if len(np.unique(labels)) < 2:
        return {"loss": loss, "auprc": float("nan"), "auroc": float("nan")}
    return {"loss": loss, "auprc": float(average_precision_score(labels, rate)), "auroc": float(roc_auc_score(labels, rate))}
