"""Count the bases of a genome that are covered by intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Positions = NDArray[np.int64]


class Cover:
    """The union of a set of intervals, by chromosome.

    With intervals [2, 5) and [4, 8) of chr1, `bases("chr1", [0, 6], [3, 9])` is 1 and 2.

    Parameters
    ----------
    intervals
        Table with chrom, start, end (0-based half-open), in any order; intervals may overlap.

    Attributes
    ----------
    runs
        Sorted, disjoint starts and ends of the covered runs, by chromosome.
    """

    def __init__(self, intervals: pd.DataFrame) -> None:
        self.runs = {
            str(chrom): _merged(rows) for chrom, rows in intervals.groupby("chrom", sort=False)
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


def _merged(rows: pd.DataFrame) -> tuple[Positions, Positions]:
    rows = rows.sort_values("start", kind="stable")
    starts, reach = (
        rows["start"].to_numpy(np.int64),
        np.maximum.accumulate(rows["end"].to_numpy(np.int64)),
    )
    first = np.concatenate([[True], starts[1:] > reach[:-1]])
    return starts[first], reach[np.concatenate([first[1:], [True]])]
