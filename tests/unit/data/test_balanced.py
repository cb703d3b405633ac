"""Test the order of batches in which all cells are equally frequent."""

import numpy as np

from selfattn_bio.data.batches import BalancedOrder


def test_cells_are_equally_frequent_in_an_epoch():
    cells = np.repeat([0, 1, 2], [70, 25, 6])
    order = BalancedOrder(np.full(101, 50), 8, seed=3, cells=cells)
    batches = list(order.epoch(5))
    assert [len(rows) for rows in batches].count(8) == 12  # 12 of 8 and one of 5 make 101 records
    counts = np.bincount(np.concatenate(batches), minlength=101)
    assert np.bincount(cells, counts).tolist() == [34, 34, 33]
    assert counts[:70].max() == 1  # no record of a large cell occurs twice
    assert set(counts[70:95]) == {1, 2}
    assert set(counts[95:]) == {5, 6}
    again = list(order.epoch(5))
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))
    other = np.bincount(np.concatenate(list(order.epoch(6))), minlength=101)
    assert not np.array_equal(other[:70], counts[:70])


def test_batches_contain_records_of_similar_length():
    rng = np.random.default_rng(0)
    lengths, cells = rng.integers(50, 500, 2000), (rng.random(2000) < 0.1).astype(int)
    order = BalancedOrder(lengths, 16, seed=0, cells=cells)
    spans = [np.ptp(lengths[rows]) for rows in order.epoch(0)]
    assert np.median(spans) < 30
    assert 0.9 < order.efficiency() <= 1
