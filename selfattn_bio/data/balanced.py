"""Order of batches for balanced training, in which all cells of records are equally frequent.

A cell is a combination of group and label (`training.steps`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.data.batches import BatchOrder


@dataclass(frozen=True)
class BalancedOrder(BatchOrder):
    """Sample equally many records from each cell in each epoch.

    An epoch has as many records as the training split. Records of small cells are repeated. From
    large cells, a new random sample is taken each epoch. With cells 0 0 0 0 0 0 1 1, an epoch has
    four of the six records of cell 0, and each record of cell 1 twice. Batches contain records of
    similar length, as in `BatchOrder`, so cells are equally frequent in an epoch but not in each
    batch.

    Parameters
    ----------
    lengths, batch_size, seed
        As in `BatchOrder`.
    cells
        Cell number of each record, (n,). Numbers start at 0 and each must occur.
    """

    cells: NDArray[np.int64]

    def sampled(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return the rows of an epoch, (n,), in random order; some repeat, others are missing."""
        num_records, num_cells = len(self.cells), int(self.cells.max()) + 1
        sampled = []
        for cell in range(num_cells):
            rows = np.flatnonzero(self.cells == cell)
            wanted = num_records // num_cells + (cell < num_records % num_cells)
            rounds = -(-wanted // len(rows))
            shuffled = [rng.permutation(rows) for _ in range(rounds)]
            sampled.append(np.concatenate(shuffled)[:wanted])
        return rng.permutation(np.concatenate(sampled))
