"""Find peaks in a track that arrives in pieces."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.int64]
Values = NDArray[np.float64]


class PeakFinder:
    """Find peaks by greedy non-maximum suppression.

    The highest position is kept and suppresses all positions nearer than `separation`. This is
    repeated with the next highest. For example, with values 1, 3, 2 and 2 at positions 0, 10, 20
    and 30 and separation 15, position 10 is kept and suppresses 0 and 20, then 30 is kept.

    Positions below the threshold are ignored. A gap of `separation` bp without a position above the
    threshold ends a group, so memory holds one group only.

    Parameters
    ----------
    threshold
        Minimum value of a peak.
    separation
        Minimum distance between two peaks in bp.
    """

    def __init__(self, threshold: float, separation: int) -> None:
        self.threshold, self.separation = threshold, separation
        self._positions, self._values = np.empty(0, np.int64), np.empty(0)

    def add(self, positions: Positions, values: Values) -> tuple[Positions, Values]:
        """Add the next positions and return the peaks that are final.

        Positions are in ascending order, with NaN for missing values. Peaks are in ascending order
        too.
        """
        high = values >= self.threshold
        self._positions, self._values = (
            np.concatenate((self._positions, positions[high])),
            np.concatenate((self._values, values[high])),
        )
        ahead = (
            int(positions[-1]) + 1 if len(positions) else 0
        )  # the earliest position that can follow
        # positions followed by a gap of at least `separation`
        cuts: Positions = np.flatnonzero(np.diff(self._positions, append=ahead) >= self.separation)
        return self._decide(int(cuts[-1]) + 1 if len(cuts) else 0)

    def finish(self) -> tuple[Positions, Values]:
        """Return the remaining peaks and reset the finder."""
        return self._decide(len(self._positions))

    def _decide(self, number: int) -> tuple[Positions, Values]:
        positions, values = self._positions[:number], self._values[:number]
        self._positions, self._values = self._positions[number:], self._values[number:]
        kept = unsuppressed(positions, values, self.separation)
        return positions[kept], values[kept]


def unsuppressed(positions: Positions, values: Values, separation: int) -> NDArray[np.int64]:
    """Return the indices of the positions that are kept, in ascending order.

    If values are equal, the first takes precedence.
    """
    first = np.searchsorted(positions, positions - separation, side="right")
    last = np.searchsorted(positions, positions + separation, side="left")
    free, kept = np.ones(len(positions), bool), np.zeros(len(positions), bool)
    for i in np.argsort(-values, kind="stable").tolist():
        if free[i]:
            kept[i] = True
            free[first[i] : last[i]] = False
    return np.flatnonzero(kept)
