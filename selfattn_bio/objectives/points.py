"""Locate stranded points in long records, label bins and compute their metrics (objective `bins`).

The network predicts two log rates per bin: the logarithm of the expected number of points on each
strand. The probability of at least one point is 1 - exp(-sum of the rates), which combines the
probabilities of both strands (noisy-or). Bins of overlapping records are merged. Training chooses
weights with these metrics on the validation split, and `evaluate` reports them for the test split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import scipy
from numpy.typing import NDArray

from selfattn_bio.errors import CorpusError
from selfattn_bio.log import LOG
from selfattn_bio.objectives.ranking import label_metrics
from selfattn_bio.sequence.genome import matching_name
from selfattn_bio.sequence.intervals import read_intervals
from selfattn_bio.split_names import SPLIT_NAMES

Array = NDArray[np.float64]
LEAST_RATE = 1e-9


@dataclass(frozen=True)
class Points:
    """The points within one record.

    The record has `length` bp and begins at `start` (0-based) of `chrom`, on the forward strand.

    Attributes
    ----------
    at
        Distance from the first base of the record, 0-based, (n,).
    strand
        0 forward, 1 reverse, (n,).
    """

    chrom: str
    start: int
    length: int
    at: NDArray[np.int64]
    strand: NDArray[np.int64]

    def seen(self, first: int, last: int, reverse: bool) -> Points:
        """Return the points in bases [first, last) of the record or its reverse complement.

        `first` and `last` count on the forward strand, 0-based. Positions and strands of the result
        follow the orientation in which the bases are read.
        """
        inside = (self.at >= first) & (self.at < last)
        at, strand, length = self.at[inside] - first, self.strand[inside], last - first
        return Points(
            self.chrom,
            self.start + first,
            length,
            length - 1 - at if reverse else at,
            1 - strand if reverse else strand,
        )

    def labels(self, size: int) -> NDArray[np.int64]:
        """Return whether each bin contains a point of each strand, 0 or 1.

        Bins have `size` bp; an incomplete last bin is left out.

        Returns
        -------
        Shape (bins, 2), forward strand first.
        """
        found = np.zeros((self.length // size, 2), dtype=np.int64)
        inside = self.at < len(found) * size
        found[self.at[inside] // size, self.strand[inside]] = 1
        return found


def points_of(path: str | Path, records: pd.DataFrame) -> NDArray[np.object_]:
    """Return the `Points` of each record, (n,).

    The point of an interval is its first base on its strand. Records must have coordinates on the
    forward strand; they may contain no points. Chromosome names match with and without "chr", as in
    `Genome.resolve`. Points on other chromosomes are left out.

    Raises
    ------
    IntervalError
        If `read_intervals` cannot read the file.
    CorpusError
        If a point has no strand, or a record has no coordinates or is on the reverse strand.
    """
    table = _renamed(read_intervals(path), records["chrom"], path)
    if (bare := table[table["strand"] == "."]).size:
        message = "the point has no strand (column 6 of BED)"
        CorpusError.fail(message, f"{path}:{bare['line'].iloc[0]}")
    reverse = (table["strand"] == "-").to_numpy()
    at = np.where(reverse, table["end"] - 1, table["start"])
    by_chrom: dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
    for chrom, rows in table.reset_index(drop=True).groupby("chrom"):
        order = rows.index.to_numpy()[np.argsort(at[rows.index], kind="stable")]
        by_chrom[str(chrom)] = at[order], reverse[order].astype(np.int64)
    no_points = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    found = np.empty(len(records), dtype=object)
    columns = (records[name] for name in ("id", "chrom", "start", "length", "strand"))
    for row, (name, chrom, start, length, strand) in enumerate(zip(*columns, strict=True)):
        if pd.isna(chrom) or pd.isna(start) or strand == "-":
            problem = "is on the reverse strand" if strand == "-" else "has no coordinates"
            raise CorpusError(
                f"record {name!r} {problem}; objective 'bins' needs coordinates on the forward "
                "strand"
            )
        points, strands = by_chrom.get(str(chrom), no_points)
        inside = slice(*np.searchsorted(points, [start, start + length]))
        found[row] = Points(
            str(chrom), int(start), int(length), points[inside] - int(start), strands[inside]
        )
    return found


def _renamed(points: pd.DataFrame, chroms: pd.Series, path: str | Path) -> pd.DataFrame:
    """Return the table of points with the chromosome names of the records.

    If the names differ, one warning is logged per file.
    """
    known, own = set(chroms.dropna()), points["chrom"].drop_duplicates()
    names = {name: matching_name(name, known) or name for name in own}
    if any(name != of_records for name, of_records in names.items()):
        _warn_renamed(str(path))
    return points.assign(chrom=points["chrom"].map(names))


@cache  # train, valid and test each read the file; report the names once
def _warn_renamed(path: str) -> None:
    LOG.warning(
        f"{path}: chromosome names differ from those of the records; names with and without 'chr' "
        "are treated as equal"
    )


def check_judged(points: NDArray[np.object_], size: int, split: str, place: str) -> None:
    """Check that metrics can be computed for the records of the validation or test split.

    Raises
    ------
    CorpusError
        If a record does not begin at a multiple of `size`, because bins of overlapping records
        would then not match; or if no complete bin, or every one, contains a point.
    """
    if shifted := [f"{each.chrom}:{each.start}" for each in points if each.start % size]:
        message = (
            f"records of the {SPLIT_NAMES[split]} split do not begin at multiples of the bin size "
            f"({size} bp, counted from 0): {len(shifted)}, such as {shifted[0]}"
        )
        hint = "Cut windows at multiples of the bin size, or change objective.bin"
        raise CorpusError(message, place=place, hint=hint)
    has_point = np.concatenate([each.labels(size).any(axis=1) for each in points])
    if len(set(has_point)) < 2:
        message = (
            f"{int(has_point.sum())} of {len(has_point)} complete bins of the {SPLIT_NAMES[split]} "
            "split contain a point; metrics need bins with and without one"
        )
        raise CorpusError(message, place=place, hint="Change [split] or objective.bin")


def without_overlaps(points: NDArray[np.object_]) -> NDArray[np.int64]:
    """Return the rows of records that do not overlap each other, from the first of a chromosome."""
    rows: list[int] = []
    ends: dict[str, int] = {}
    of_rows: list[Points] = list(points)
    for row, each in sorted(enumerate(of_rows), key=lambda pair: pair[1].start):
        if each.start >= ends.get(each.chrom, 0):
            rows.append(row)
            ends[each.chrom] = each.start + each.length
    return np.sort(rows)


@dataclass(frozen=True)
class Bins:
    """The complete bins of records; a bin that several records share has one row.

    Attributes
    ----------
    table
        chrom, start (0-based position on the chromosome), label (0 or 1), sorted by chromosome.
    row_of
        Row of `table` for each bin of each record, record by record.
    """

    table: pd.DataFrame
    row_of: NDArray[np.int64]

    @classmethod
    def of(cls, records: NDArray[np.object_], size: int) -> Bins:
        """Merge the bins of records, each `size` bp long, counted from the record's start."""
        starts = [each.start + size * np.arange(each.length // size) for each in records]
        keys = pd.DataFrame(
            {
                "chrom": np.repeat([each.chrom for each in records], list(map(len, starts))),
                "start": np.concatenate(starts),
                "label": np.concatenate([each.labels(size).max(axis=1) for each in records]),
            }
        )
        grouped = keys.groupby(["chrom", "start"], sort=True)
        return cls(
            grouped["label"].max().reset_index(), grouped.ngroup().to_numpy().astype(np.int64)
        )

    def joined(self, of_records: Sequence[Array]) -> Array:
        """Average the values that overlapping records give to a bin.

        Parameters
        ----------
        of_records
            One array per record, shape (bins of the record, ...).

        Returns
        -------
        Shape (rows of the table, ...).
        """
        values = np.concatenate(list(of_records))
        means = pd.DataFrame(values.reshape(len(values), -1)).groupby(self.row_of).mean()
        return means.to_numpy().reshape(-1, *values.shape[1:])

    @property
    def labels(self) -> NDArray[np.int64]:
        """Return the label of each row of `table`, (n,)."""
        return self.table["label"].to_numpy()


def chance(log_rates: Array) -> Array:
    """Convert log rates of both strands (..., 2) to the probability of a point, (...)."""
    return -np.expm1(-np.exp(scipy.special.logsumexp(log_rates, axis=-1)))


def measure_bins(log_rates: Array, labels: NDArray[np.int64]) -> dict[str, float]:
    """Compute loss (nats per bin), auprc and auroc of log rates (n, 2) for labels (n,).

    auprc and auroc are NaN if there is only one label.
    """
    rate = np.exp(scipy.special.logsumexp(log_rates, axis=-1))
    loss = float(
        np.mean(np.where(labels == 1, -np.log(np.maximum(-np.expm1(-rate), 1e-300)), rate))
    )
    return {"loss": loss, **rank_metrics(rate, labels)}


def rank_metrics(scores: Array, labels: NDArray[np.int64]) -> dict[str, float]:
    """Compute auprc and auroc of scores (n,) for labels (n,); NaN if there is only one label."""
    found = label_metrics(scores, labels)(np.ones(len(labels), dtype=np.float32))
    return {"auprc": found["auprc"], "auroc": found["auroc"]}
