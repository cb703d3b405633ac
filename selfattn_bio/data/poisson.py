"""Batches by independent draws, as differentially private training needs them: whether a record is in one depends on no other record.

Hides: how a batch is drawn from a secret number. It stands where `BatchOrder` does; no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

BATCHES = 0  # of the secret's streams of random numbers the one of the draws; `training.private` has that of the noise


class Drawn(Sequence[NDArray[np.int64]]):
    """Batches of an epoch, each drawn when it is asked for."""

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
            return Drawn(self._order, self._number, self._batches[number])
        return self._order.batch(self._number, self._batches[number])


@dataclass(frozen=True)
class PoissonOrder:
    """The batches of an epoch, each of which holds any record with the same chance: of any size, 0 too, `batch_size` in the mean.

    An epoch is as many batches as hold each record once in the mean; one may come twice in it, or never. A record is taken alone, so its
    length is no matter. Source: the subsampled Gaussian mechanism, Abadi et al. 2016, Mironov et al. 2019.

    Parameters
    ----------
    num_records
        Rows that are drawn from.
    batch_size
        Records of a batch in the mean, at most `num_records`.
    secret
        What all draws come from; who knows it knows who was in which batch.
    """

    num_records: int
    batch_size: int
    secret: int

    @property
    def rate(self) -> float:
        """The chance of a record to be in a batch."""
        return self.batch_size / self.num_records

    def epoch(self, number: int) -> Drawn:
        """Row numbers in rising order, batch by batch."""
        return Drawn(self, number, range(-(-self.num_records // self.batch_size)))

    def batch(self, epoch: int, number: int) -> NDArray[np.int64]:
        """Row numbers of one batch."""
        rng = np.random.default_rng((self.secret, BATCHES, epoch, number))
        return np.flatnonzero(rng.random(self.num_records) < self.rate)

    def efficiency(self) -> float:
        """Records are taken one at a time, without padding."""
        return 1.0
