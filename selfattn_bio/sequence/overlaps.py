"""Find overlapping intervals, merge intervals and count covered positions.

Intervals are 0-based half-open. `Cover` holds the intervals of several chromosomes; the functions
are for arrays of starts and ends on one chromosome or in one sequence.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

Positions = NDArray[np.int64]


def run_numbers(starts: ArrayLike, ends: ArrayLike, gap: int = 0) -> Positions:
    """Number intervals so that those that overlap, also through others, share a number.

    Parameters
    ----------
    starts, ends
        Intervals in any order, shape (n,).
    gap
        Largest distance between two intervals of a run. With 0, intervals that touch share a
        number; with -1, intervals must have a common position.

    Returns
    -------
    Shape (n,): numbers from 0, in the order of the positions. [2, 5), [9, 12) and [4, 8) have the
    numbers 0, 1 and 0.
    """
    starts, ends = np.asarray(starts, np.int64), np.asarray(ends, np.int64)
    order = np.argsort(starts, kind="stable")
    reach = np.maximum.accumulate(ends[order])
    numbers = np.empty(len(starts), np.int64)
    numbers[order[1:]] = np.cumsum(starts[order[1:]] > reach[:-1] + gap)
    numbers[order[:1]] = 0
    return numbers


def merge_intervals(starts: ArrayLike, ends: ArrayLike) -> tuple[Positions, Positions]:
    """Merge intervals that overlap or touch, and return sorted starts and ends.

    [4, 9), [2, 5) and [9, 12) become [2, 12).
    """
    starts, ends = np.asarray(starts, np.int64), np.asarray(ends, np.int64)
    numbers = run_numbers(starts, ends)
    first = np.full(numbers.max(initial=-1) + 1, np.iinfo(np.int64).max)
    last = np.full(len(first), np.iinfo(np.int64).min)
    np.minimum.at(first, numbers, starts)
    np.maximum.at(last, numbers, ends)
    return first, last


def overlapping(starts: Positions, reach: Positions, start: int, end: int) -> slice:
    """Return the range of sorted intervals that contains all that overlap [start, end).

    Parameters
    ----------
    starts
        Sorted starts, shape (n,).
    reach
        Largest end of each interval and those before it, shape (n,). For disjoint intervals, these
        are the ends, and every interval of the range overlaps.
    """
    first = int(np.searchsorted(reach, start, "right"))
    return slice(first, max(first, int(np.searchsorted(starts, end, "left"))))


def counts_before(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return the number of True before each position, shape (L + 1,).

    The difference of two values is the number within a window.
    """
    return np.concatenate([np.zeros(1, np.int32), np.cumsum(mask, dtype=np.int32)])


class Cover:
    """The union of a set of intervals, by chromosome.

    With intervals [2, 5) and [4, 8) of chr1, `bases("chr1", [0, 6], [3, 9])` is 1 and 2.

    Parameters
    ----------
    intervals
        Table with chrom, start, end, in any order; intervals may overlap.

    Attributes
    ----------
    runs
        Sorted, disjoint starts and ends of the covered runs, by chromosome.
    """

    def __init__(self, intervals: pd.DataFrame) -> None:
        self.runs = {
            str(chrom): merge_intervals(rows["start"], rows["end"])
            for chrom, rows in intervals.groupby("chrom", sort=False)
        }

    def bases(self, chrom: str, start: Positions, end: Positions) -> Positions:
        """Count the covered bases of each window, shape (n,)."""
        if chrom not in self.runs:
            return np.zeros(len(start), np.int64)
        starts, ends = self.runs[chrom]
        before = np.concatenate([[0], np.cumsum(ends - starts)])

        def up_to(position: Positions) -> Positions:  # covered bases before each position
            run = np.searchsorted(starts, position, "right") - 1
            return np.where(run < 0, 0, before[run] + np.minimum(position, ends[run]) - starts[run])

        return up_to(np.asarray(end)) - up_to(np.asarray(start))

    def bases_of(self, windows: pd.DataFrame) -> Positions:
        """Count the covered bases of each row (chrom, start, end), shape (n,), in order."""
        found = np.zeros(len(windows), np.int64)
        for chrom, rows in windows.reset_index(drop=True).groupby("chrom", sort=False):
            found[rows.index] = self.bases(
                str(chrom), rows["start"].to_numpy(), rows["end"].to_numpy()
            )
        return found
