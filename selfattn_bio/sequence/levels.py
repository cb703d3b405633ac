"""Quantise numbers to one byte each.

Tracks can then be stored, batched and explained in the same way as sequences.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from selfattn_bio.sequence.alphabet import LEVELS

NUM_LEVELS = len(LEVELS.letters)  # 93: all printable ASCII characters except space and ~


@dataclass(frozen=True)
class Scale:
    """Quantise numbers from `low` to `high` to NUM_LEVELS evenly spaced levels.

    Numbers beyond the range get the lowest or highest level. `Scale(0, 92).letters([0, 1, nan])` is
    the lowest level "!", the next one '"', and "~" for the missing value.
    """

    low: float
    high: float

    def letters(self, numbers: ArrayLike) -> NDArray[np.uint8]:
        """Convert numbers (L,), NaN where missing, to ASCII letters (L,) of the alphabet LEVELS."""
        values = np.asarray(numbers, dtype=np.float64)
        at = np.clip((values - self.low) / (self.high - self.low), 0, 1) * (NUM_LEVELS - 1)
        known = ~np.isnan(values)
        return np.where(
            known, np.rint(np.where(known, at, 0)) + ord(LEVELS.letters[0]), ord(LEVELS.unknown)
        ).astype(np.uint8)

    def numbers(self, letters: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Convert levels to numbers, with NaN for "~".

        For numbers within the range, the error is at most half the distance between levels.
        """
        levels = LEVELS.codes(letters).astype(np.float64)
        return np.where(
            levels < NUM_LEVELS,
            self.low + levels / (NUM_LEVELS - 1) * (self.high - self.low),
            np.nan,
        )
