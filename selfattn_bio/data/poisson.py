"""Sample batches independently, as differentially private training requires.

Whether a record is in a batch does not depend on other records. `PoissonOrder` replaces
`BatchOrder` in private training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

# Separate random streams from the secret, so that noise does not depend on the batches
BATCHES, NOISE = 0, 1


class PoissonEpoch(Sequence[NDArray[np.int64]]):
    """Batches of an epoch, each sampled on access."""

    def __init__(self, order: PoissonOrder, number: int, batches: range) -> None:
        self._order, self._number, self._batches = order, number, batches

    def __len__(self) -> int:
        return len(self._batches)

    @overload
    def __getitem__(self, number: int) -> NDArray[np.int64]: ...

    @overload
    def __getitem__(self, number: slice) -> Sequence[NDArray[np.int64]]: ...

    def __getitem__(self, number: int | slice) -> NDArray[np.int64] | Sequence[NDArray[np.int64]]:
        if isinstance(number, slice):
            return PoissonEpoch(self._order, self._number, self._batches[number])
        return self._order.batch(self._number, self._batches[number])


@dataclass(frozen=True)
class PoissonOrder:
    """Sample batches that contain each record independently with equal probability.

    Batches have `batch_size` records on average; the size varies and may be 0. An epoch has as many
    batches as contain each record once on average; a record may occur twice in it, or not at all.
    Records are processed one at a time, so lengths do not matter.

    Parameters
    ----------
    num_records
        Number of rows to sample from.
    batch_size
        Mean number of records per batch, at most `num_records`.
    secret
        Seed of all random numbers. Whoever knows it can tell which records were in which batch.

    References
    ----------
    Subsampled Gaussian mechanism: Abadi et al. 2016, Mironov et al. 2019.
    """

    num_records: int
    batch_size: int
    secret: int

    @property
    def rate(self) -> float:
        """Return the probability that a record is in a batch."""
        return self.batch_size / self.num_records

    def epoch(self, number: int) -> PoissonEpoch:
        """Return the batches of an epoch as row numbers in ascending order."""
        return PoissonEpoch(self, number, range(-(-self.num_records // self.batch_size)))

    def batch(self, epoch: int, number: int) -> NDArray[np.int64]:
        """Return the row numbers of one batch."""
        rng = np.random.default_rng((self.secret, BATCHES, epoch, number))
        return np.flatnonzero(rng.random(self.num_records) < self.rate)

    def efficiency(self) -> float:
        """Return 1, because records are processed one at a time without padding."""
        return 1.0
