"""Create windows from intervals, check them against chromosome ends, and read them as records.

A table of windows has the columns of `Interval` and `path`, as returned by `read_intervals`.
Windows are defined on the strand of their interval: the same interval on a reverse-complemented
genome gives the same sequence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Literal

import numpy as np
import pandas as pd

from selfattn_bio.arrays import Bools, Integers
from selfattn_bio.errors import GenomeError, IntervalError
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.genome import Genome
from selfattn_bio.sequence.policy import SoftMask
from selfattn_bio.sequence.records import Record

Center = Literal["middle", "summit", "five_prime"]
Origin = Literal["interval", "five_prime"]
AtEnds = Literal["drop", "pad", "error"]
# A chromosome with more than one window per this many bp is read completely, which is faster for
# plain and bgzip files.
_WHOLE = 20_000


def place(intervals: pd.DataFrame, genome: Genome) -> pd.DataFrame:
    """Rename chromosomes to the genome's names and replace a missing strand by "+".

    Raises
    ------
    IntervalError
        If a chromosome is unknown, or an interval extends beyond its end, which means another
        assembly.
    """
    names = {}
    for chrom, rows in intervals.groupby("chrom", sort=False):
        try:
            names[chrom] = genome.resolve(str(chrom))
        except GenomeError as error:
            IntervalError.fail(f"{error.message}: {genome.path}", _place(rows.iloc[0]), error.hint)
        length = genome.lengths[names[chrom]]
        if (off := rows[rows["end"] > length]).size:
            message = (
                f"interval [{off['start'].iloc[0]}, {off['end'].iloc[0]}) ends beyond {chrom} of "
                f"{genome.path} ({length} bp)"
            )
            raise IntervalError(message, place=_place(off.iloc[0]), hint="Is it the same assembly?")
    return intervals.assign(
        chrom=intervals["chrom"].map(names), strand=intervals["strand"].replace(".", "+")
    )


def centered(intervals: pd.DataFrame, width: int, center: Center = "middle") -> pd.DataFrame:
    """Return windows of `width` bp centred on one base of each interval.

    The centre is base `width // 2` of the window on its strand. [10, 21) with `width` 4 gives
    [13, 17) on + and [14, 18) on -, as its middle is base 15.

    Parameters
    ----------
    center
        "middle", "summit" (of narrowPeak) or "five_prime", the first base on the strand.

    Raises
    ------
    IntervalError
        If `center` is "summit" and an interval has no summit.
    """
    start, end, reverse = _columns(intervals)
    if center == "summit":
        if (without := intervals[intervals["summit"] < 0]).size:
            message = "the interval has no summit (column 10 of narrowPeak)"
            IntervalError.fail(message, _place(without.iloc[0]), 'Add it, or set center = "middle"')
        centre = start + intervals["summit"].to_numpy(np.int64)
    elif center == "middle":
        centre = np.where(reverse, (start + end - 1) // 2, (start + end) // 2)
    else:
        centre = np.where(reverse, end - 1, start)
    first = centre - np.where(reverse, width - 1 - width // 2, width // 2)
    return intervals.assign(start=first, end=first + width)


def flanked(
    intervals: pd.DataFrame, upstream: int, downstream: int, of: Origin = "interval"
) -> pd.DataFrame:
    """Extend intervals by `upstream` and `downstream` bp on their strand.

    With `of` "five_prime", return the window from `upstream` to `downstream` bp around the 5' end
    instead. [10, 20) on - with `upstream` 3 and `downstream` 1 gives [9, 23), and with "five_prime"
    [19, 23): base 19 is the first one downstream.
    """
    start, end, reverse = _columns(intervals)
    if of == "five_prime":
        start, end = np.where(reverse, end, start), np.where(reverse, end, start)
    before, after = np.where(reverse, downstream, upstream), np.where(reverse, upstream, downstream)
    return intervals.assign(start=start - before, end=end + after)


def tiled(intervals: pd.DataFrame, width: int, step: int) -> pd.DataFrame:
    """Return windows of `width` bp every `step` bp that fit within each interval.

    [0, 10) with width 4 and step 3 gives [0, 4), [3, 7), [6, 10).
    """
    start, end, _ = _columns(intervals)
    counts = np.maximum((end - start - width) // step + 1, 0)
    rows = np.repeat(np.arange(len(intervals)), counts)
    first = start[rows] + step * pd.Series(rows).groupby(rows).cumcount().to_numpy()
    return intervals.iloc[rows].reset_index(drop=True).assign(start=first, end=first + width)


def within(
    windows: pd.DataFrame, genome: Genome, at_ends: AtEnds, counts: Counter[str]
) -> pd.DataFrame:
    """Remove duplicate windows and handle those that extend past a chromosome end.

    Both are counted in `counts`, also if there are none.

    Parameters
    ----------
    at_ends
        "drop" them, "pad" the missing bases with N when they are read, or raise an "error".

    Raises
    ------
    IntervalError
        If a window extends past the end and `at_ends` is "error", or if no window remains.
    """
    off = (windows["start"] < 0) | (windows["end"] > windows["chrom"].map(genome.lengths))
    if off.any() and at_ends == "error":
        row = windows[off].iloc[0]
        message = (
            f"window [{row['start']}, {row['end']}) extends beyond {row['chrom']} "
            f"({genome.lengths[row['chrom']]} bp)"
        )
        raise IntervalError(message, place=_place(row), hint='Set at_ends = "drop" or "pad"')
    handled = "dropped" if at_ends == "drop" else "padded with N"
    counts[f"windows beyond the end of a chromosome, {handled}"] += int(off.sum())
    kept = windows[~off] if at_ends == "drop" else windows
    duplicates = kept.duplicated(["chrom", "start", "end", "strand"])
    counts["duplicate windows, dropped"] += int(duplicates.sum())
    kept = kept[~duplicates]
    if not len(kept):
        raise IntervalError(
            f"no window is left: all {len(windows)} extend beyond their chromosome"
            if len(windows)
            else "the intervals are shorter than a window",
            place=", ".join(windows["path"].unique()),
        )
    return kept.reset_index(drop=True)


def cut(
    windows: pd.DataFrame, genome: Genome, soft_mask: SoftMask = "ignore"
) -> Iterator[tuple[int, Record]]:
    """Yield the records of windows, by chromosome in the order of the genome.

    Windows on "-" are reverse-complemented.

    Parameters
    ----------
    soft_mask
        How to read lower case; see `SequencePolicy`.

    Returns
    -------
    Row of each window and its record, whose id is from `id_of`. The start is negative if a window
    is padded before base 0.
    """
    genome = genome.with_soft_mask(soft_mask)
    rows_of = windows.groupby("chrom", sort=False).indices
    for chrom in filter(rows_of.__contains__, genome.names):
        rows, length = windows.iloc[rows_of[chrom]], genome.lengths[chrom]
        whole = genome.fetch(chrom) if len(rows) * _WHOLE > length else None
        for row, start, end, strand in rows[["start", "end", "strand"]].itertuples(name=None):
            first, last = min(max(start, 0), length), max(min(end, length), 0)
            letters = genome.fetch(chrom, first, last) if whole is None else whole[first:last]
            if last - first < end - start:
                around = (first - start, end - last)
                letters = np.pad(letters, around, constant_values=ord(DNA.unknown))
            if strand == "-":
                letters = genome.alphabet.reverse_complement(letters)
            locus = chrom, start, end, strand
            yield row, Record(id_of(*locus), letters, *locus)


def id_of(chrom: str, start: int, end: int, strand: str) -> str:
    """Return the id of a window: "chr2L:7-11(-)", 0-based half-open."""
    return f"{chrom}:{start}-{end}({strand})"


def _columns(intervals: pd.DataFrame) -> tuple[Integers, Integers, Bools]:
    return (
        intervals["start"].to_numpy(np.int64),
        intervals["end"].to_numpy(np.int64),
        (intervals["strand"] == "-").to_numpy(),
    )


def _place(row: pd.Series) -> str:
    return f"{row['path']}:{row['line']}"
