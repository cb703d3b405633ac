"""Apply random deletions, insertions, translocations and substitutions to training sequences.

`data.batches` applies new edits to each record in each epoch.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.config import EditsSection

Letters = NDArray[np.uint8]


class Edits(EditsSection):
    """Edit sequences similarly to evolution, keeping their length and label.

    Parameters are those of [training] `edits`.

    References
    ----------
    Lee et al. 2023, EvoAug: improving generalization and interpretability of genomic deep neural
    networks with evolution-inspired data augmentations. New letters are sampled from the record
    here, so that its composition does not change; EvoAug samples them uniformly.
    """

    def apply(self, letters: Letters, rng: np.random.Generator) -> Letters:
        """Return an edited copy of a sequence, (L,) of the same length."""
        kinds: list[Callable[[Letters, np.random.Generator], Letters]] = []
        if self.longest:
            kinds += [self.inserted, self.deleted]
        if self.translocation:
            kinds.append(self.translocated)
        if self.substitution:
            kinds.append(self.substituted)
        for kind in rng.permutation(len(kinds))[: self.per_record].tolist():
            letters = kinds[kind](letters, rng)
        return letters

    def inserted(self, letters: Letters, rng: np.random.Generator) -> Letters:
        """Return the sequence with an insertion; the ends are cut to keep its length."""
        size, at = self._size(letters, rng), int(rng.integers(len(letters) + 1))
        longer = np.concatenate([letters[:at], rng.choice(letters, size), letters[at:]])
        first = int(rng.integers(size + 1))
        return longer[first : first + len(letters)]

    def deleted(self, letters: Letters, rng: np.random.Generator) -> Letters:
        """Return the sequence with a deletion; the ends are extended to keep its length."""
        size = self._size(letters, rng)
        at, left = int(rng.integers(len(letters) - size + 1)), int(rng.integers(size + 1))
        new = rng.choice(letters, size)
        return np.concatenate([new[:left], letters[:at], letters[at + size :], new[left:]])

    def translocated(self, letters: Letters, rng: np.random.Generator) -> Letters:
        """Return the rotated sequence: the part cut off at one end is added at the other."""
        return np.roll(letters, int(rng.integers(-self.translocation, self.translocation + 1)))

    def substituted(self, letters: Letters, rng: np.random.Generator) -> Letters:
        """Return the sequence with some letters replaced by random letters from it."""
        replaced = rng.random(len(letters)) < self.substitution
        return np.where(replaced, rng.choice(letters, len(letters)), letters)

    def _size(self, letters: Letters, rng: np.random.Generator) -> int:
        return int(rng.integers(1, min(self.longest, len(letters)) + 1))
