"""Check sums over the k-mers of records against their counts."""

import numpy as np
import pytest

from selfattn_bio.baselines.blocks import KmerSlots
from selfattn_bio.sequence.alphabet import DNA


@pytest.mark.parametrize(("slots", "align"), [(1, "parts"), (3, "parts"), (9, "start"), (9, "end")])
def test_totals_equal_counts(slots, align):
    rng, block = np.random.default_rng(0), KmerSlots(DNA, 2, slots, align)
    letters = [
        rng.choice(np.frombuffer(b"ACGTN", np.uint8), length, p=[0.24] * 4 + [0.04])
        for length in (30, 1, 2, 12, 50)
    ]
    values, counts = rng.normal(size=block.size), block.counts(letters).toarray()
    totals, squares = block.totals(letters, values)
    np.testing.assert_allclose(totals, counts @ values, atol=1e-9)
    np.testing.assert_array_equal(squares, (counts**2).sum(axis=1))
    assert squares.max() > 1
