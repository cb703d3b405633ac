"""Peaks of a track: the highest places, none near a higher one.

Hides: that places come piece by piece, and that memory is that of one run of high scores.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]
Values = NDArray[np.float64]


class PeakFinder:
    """Greedy non-maximum suppression, from the highest place on: each that is kept suppresses those nearer than `separation`.

    Places 0, 10, 20 and 30 with values 1, 3, 2 and 2, separation 15: 10 is kept and suppresses 0 and 20, then 30 is kept.
    Places below the threshold are passed over; where none above it stands for `separation` letters, what was before is decided.

    Parameters
    ----------
    threshold
        Least value of a peak.
    separation
        Letters; two peaks are at least so far apart.
    """

    def __init__(self, threshold: float, separation: int) -> None:
        self.threshold, self.separation = threshold, separation
        self._places, self._values = np.empty(0, np.int64), np.empty(0)

    def add(self, places: Places, values: Values) -> tuple[Places, Values]:
        """Take the next places, in rising order, NaN where there is no value; the peaks that are decided by now, in rising order."""
        high = values >= self.threshold
        self._places, self._values = np.concatenate((self._places, places[high])), np.concatenate((self._values, values[high]))
        ahead = int(places[-1]) + 1 if len(places) else 0  # the earliest place that may yet come
        cuts: Places = np.flatnonzero(np.diff(self._places, append=ahead) >= self.separation)  # behind each of these there is room
        return self._decide(int(cuts[-1]) + 1 if len(cuts) else 0)

    def finish(self) -> tuple[Places, Values]:
        """The peaks among what is left; the finder is then as new."""
        return self._decide(len(self._places))

    def _decide(self, number: int) -> tuple[Places, Values]:
        places, values = self._places[:number], self._values[:number]
        self._places, self._values = self._places[number:], self._values[number:]
        kept = unsuppressed(places, values, self.separation)
        return places[kept], values[kept]


def unsuppressed(places: Places, values: Values, separation: int) -> NDArray[np.int64]:
    """Which places are kept, as indices in rising order; of equal values the first is the higher."""
    first = np.searchsorted(places, places - separation, side="right")
    last = np.searchsorted(places, places + separation, side="left")
    free, kept = np.ones(len(places), bool), np.zeros(len(places), bool)
    for i in np.argsort(-values, kind="stable").tolist():
        if free[i]:
            kept[i] = True
            free[first[i] : last[i]] = False
    return np.flatnonzero(kept)
