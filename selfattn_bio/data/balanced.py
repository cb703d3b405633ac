"""Batches in which each cell of records has the same share, however many records it has.

Hides: how a small cell comes again and a large one by turns. It stands where `BatchOrder` does; no torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.data.batches import BatchOrder


@dataclass(frozen=True)
class BalancedOrder(BatchOrder):
    """As many records an epoch as there are, of each cell as many: of a small one all, and again; of a large one some, drawn each epoch.

    With cells 0 0 0 0 0 0 1 1, an epoch has four of the six records of cell 0, and each of cell 1 twice. Batches are of similar length, as
    those of `BatchOrder`, so that their shares are even in the mean and not in each.

    Parameters
    ----------
    cells
        Number of each record's cell, from 0, (n,); each number occurs.
    """

    cells: NDArray[np.int64]

    def drawn(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Row numbers of an epoch in random order; a row may come again, or not at all."""
        total, number = len(self.cells), int(self.cells.max()) + 1
        parts = []
        for cell in range(number):
            members = np.flatnonzero(self.cells == cell)
            wanted = total // number + (cell < total % number)
            rounds = [rng.permutation(members) for _ in range(-(-wanted // len(members)))]
            parts.append(np.concatenate(rounds)[:wanted])
        return rng.permutation(np.concatenate(parts))
