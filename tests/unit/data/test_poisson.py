"""Tests of batches sampled independently."""

import numpy as np
import pytest

from selfattn_bio.data.batches import PoissonOrder

ORDER = PoissonOrder(num_records=200, batch_size=20, secret=12345)


def test_records_are_sampled_independently():
    batches = [rows for number in range(300) for rows in ORDER.epoch(number)]
    assert len(batches) == 3000  # 10 per epoch
    drawn = np.zeros((len(batches), 200))
    for row, batch in zip(drawn, batches, strict=True):
        assert (np.diff(batch) > 0).all()
        row[batch] = 1
    # 4 standard deviations of 600,000 samples are .0015
    assert drawn.mean() == pytest.approx(0.1, abs=0.002)
    assert np.abs(drawn.mean(axis=0) - 0.1).max() < 0.028  # 5 standard deviations of 3,000 samples
    sizes = drawn.sum(axis=1)
    # Binomial; batches of one size would have 0
    assert sizes.var() == pytest.approx(200 * 0.1 * 0.9, rel=0.15)
    pairs = np.corrcoef(drawn.T)[np.triu_indices(200, 1)]
    # Some would be higher without replacement, or if sorted by length
    assert np.abs(pairs).max() < 0.1


def test_batches_depend_only_on_secret_and_index():
    again = PoissonOrder(200, 20, 12345)
    assert all(np.array_equal(a, b) for a, b in zip(ORDER.epoch(7), again.epoch(7), strict=True))
    assert np.array_equal(ORDER.epoch(7)[3], list(ORDER.epoch(7))[3])
    assert np.array_equal(ORDER.epoch(7)[2:5][1], ORDER.epoch(7)[3])
    other = PoissonOrder(200, 20, 54321)
    assert not np.array_equal(ORDER.epoch(7)[3], other.epoch(7)[3])
    assert not np.array_equal(ORDER.epoch(7)[3], ORDER.epoch(8)[3])
    with pytest.raises(IndexError):
        ORDER.epoch(0)[10]


def test_a_batch_may_be_empty():
    assert any(
        len(batch) == 0 for number in range(50) for batch in PoissonOrder(4, 1, 0).epoch(number)
    )
