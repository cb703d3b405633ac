"""Tests of batches in which each cell has the same share."""

import numpy as np

from selfattn_bio.data.balanced import BalancedOrder


def test_each_cell_has_the_same_part_of_an_epoch():
    cells = np.repeat([0, 1, 2], [70, 25, 6])
    order = BalancedOrder(np.full(101, 50), 8, seed=3, cells=cells)
    batches = list(order.epoch(5))
    assert [len(rows) for rows in batches].count(8) == 12  # 12 of 8 and one of 5 make 101 records
    drawn = np.bincount(np.concatenate(batches), minlength=101)
    assert np.bincount(cells, drawn).tolist() == [34, 34, 33]
    assert drawn[:70].max() == 1  # no record of a large cell occurs twice
    assert set(drawn[70:95]) == {1, 2}
    assert set(drawn[95:]) == {5, 6}
    again = list(order.epoch(5))
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))
    other = np.bincount(np.concatenate(list(order.epoch(6))), minlength=101)
    assert not np.array_equal(other[:70], drawn[:70])


def test_batches_are_of_similar_length():
    rng = np.random.default_rng(0)
    lengths, cells = rng.integers(50, 500, 2000), (rng.random(2000) < 0.1).astype(int)
    order = BalancedOrder(lengths, 16, seed=0, cells=cells)
    spans = [np.ptp(lengths[rows]) for rows in order.epoch(0)]
    assert np.median(spans) < 30
    assert 0.9 < order.efficiency() <= 1
