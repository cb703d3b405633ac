"""Test the compilation of functions."""

import numpy as np

from selfattn_bio.arrays import compiled
from selfattn_bio.baselines.blocks import _squared_changes


def test_compiled_function_is_kept_and_gives_the_same():
    rng = np.random.default_rng(0)
    removed, added = rng.integers(-1, 4, (9, 3)), rng.integers(-1, 4, (9, 3, 4))
    found = compiled(_squared_changes)(removed, added)
    np.testing.assert_array_equal(found, _squared_changes(removed, added))
    assert found.max() > found.min()
    assert compiled(_squared_changes) is compiled(_squared_changes)
