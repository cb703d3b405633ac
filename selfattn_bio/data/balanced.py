"""Sample batches so that all cells of records are equally frequent, whatever their size.

`BalancedOrder` replaces `BatchOrder` in balanced training.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.data.batches import BatchOrder


@dataclass(frozen=True)
class BalancedOrder(BatchOrder):
    """Sample equally many records from each cell in each epoch.

    An epoch has as many records in total as the data. Records of small cells are repeated. From
    large cells, a new random sample is taken each epoch. With cells 0 0 0 0 0 0 1 1, an epoch has
    four of the six records of cell 0, and each record of cell 1 twice. Batches contain records of
    similar length, as in `BatchOrder`, so cells are equally frequent on average but
    not in each batch.

    Parameters
    ----------
    cells
        Cell number of each record, (n,). Numbers start at 0 and each must occur.
    """

    cells: NDArray[np.int64]

    def sampled(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return the row numbers of an epoch in random order; rows may be repeated or missing."""
        total, number = len(self.cells), int(self.cells.max()) + 1
        parts = []
        for cell in range(number):
            members = np.flatnonzero(self.cells == cell)
            wanted = total // number + (cell < total % number)
            rounds = [rng.permutation(members) for _ in range(-(-wanted // len(members)))]
            parts.append(np.concatenate(rounds)[:wanted])
        return rng.permutation(np.concatenate(parts))
