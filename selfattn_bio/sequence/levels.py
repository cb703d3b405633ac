"""Numbers as levels, one byte each, so that a track is stored, batched and explained as letters are.

Hides: how many levels there are. `data.partner` writes them, scoring reads numbers by them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from selfattn_bio.sequence.alphabet import LEVELS

NUM_LEVELS = len(LEVELS.letters)  # 93, as many as there are printable bytes but one


@dataclass(frozen=True)
class Scale:
    """Numbers from `low` to `high` in NUM_LEVELS equal steps; those beyond are the lowest or the highest level.

    `Scale(0, 92).letters([0, 1, nan])` is "!", the lowest, the one above, and "~", which says that there is no number.
    """

    low: float
    high: float

    def letters(self, numbers: ArrayLike) -> NDArray[np.uint8]:
        """(L,) numbers, NaN where there is none -> (L,) ASCII letters of the alphabet LEVELS."""
        values = np.asarray(numbers, dtype=np.float64)
        at = np.clip((values - self.low) / (self.high - self.low), 0, 1) * (NUM_LEVELS - 1)
        known = ~np.isnan(values)
        return np.where(known, np.rint(np.where(known, at, 0)) + ord(LEVELS.letters[0]), ord(LEVELS.unknown)).astype(np.uint8)

    def numbers(self, letters: NDArray[np.uint8]) -> NDArray[np.float64]:
        """The number that each level stands for, NaN of "~"; what `letters` made is off by half a step at most."""
        levels = LEVELS.codes(letters).astype(np.float64)
        return np.where(levels < NUM_LEVELS, self.low + levels / (NUM_LEVELS - 1) * (self.high - self.low), np.nan)
