"""Sample random records and words, for simulations without a signal."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.sequence.alphabet import DNA

Letters = NDArray[np.uint8]
BASES = np.frombuffer(b"ACGT", dtype=np.uint8)


def records(
    rng: np.random.Generator, num: int, length: int = 200, gc: float | NDArray[np.float64] = 0.45
) -> list[Letters]:
    """Sample random records with one GC content for all or one per record."""
    return [
        np.where(
            rng.random(length) < p,
            rng.choice(BASES[1:3], length),
            rng.choice(BASES[[0, 3]], length),
        )
        for p in np.broadcast_to(gc, num)
    ]


def words(rng: np.random.Generator, num: int, width: int = 8) -> list[Letters]:
    """Sample random words that differ from their reverse complements."""
    found: list[Letters] = []
    while len(found) < num:
        word = rng.choice(BASES, width)
        if (word != DNA.reverse_complement(word)).mean() > 0.6:
            found.append(word)
    return found


def ppm(word: Letters, sure: float = 1.0) -> NDArray[np.float64]:
    """Return a matrix (width, 4) that gives the base of the word this probability."""
    return np.where(word[:, None] == BASES, sure, (1 - sure) / 3)
