"""Sample batches independently, as differentially private training requires.

Whether a record is in a batch does not depend on other records. `PoissonOrder` replaces
`BatchOrder` in private training.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.data.batches import Epoch

# Separate random streams from the secret, so that noise does not depend on the batches
STREAM_BATCHES, STREAM_NOISE = 0, 1


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

    def epoch(self, number: int) -> Epoch:
        """Return the batches of an epoch as row numbers in ascending order."""
        return Epoch(partial(self.batch, number), range(-(-self.num_records // self.batch_size)))

    def batch(self, epoch: int, number: int) -> NDArray[np.int64]:
        """Return the row numbers of one batch."""
        rng = np.random.default_rng((self.secret, STREAM_BATCHES, epoch, number))
        return np.flatnonzero(rng.random(self.num_records) < self.rate)

    def efficiency(self) -> float:
        """Return 1, because records are processed one at a time without padding."""
        return 1.0
