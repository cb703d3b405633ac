"""Check that trees give LightGBM's predictions."""

import lightgbm
import numpy as np
import pytest

from selfattn_bio.baselines.forest import MOST_LEAVES, TILE, Forest


def boosted(leaves=15, x=None, **parameters):
    """Return a booster of 30 trees, and the features it was fitted to."""
    rng = np.random.default_rng(0)
    x = np.round(rng.normal(size=(300, 6)) * 64).astype(np.float32) / 64 if x is None else x
    y = (x[:, 0] * x[:, 1] + np.abs(x[:, 2]) > 0.8).astype(int)
    parameters = {"objective": "binary", "num_leaves": leaves, "verbosity": -1, **parameters}
    return lightgbm.train(parameters, lightgbm.Dataset(x, y, params=parameters), 30), x


@pytest.mark.parametrize("leaves", [2, 15, MOST_LEAVES])
def test_sums_equal_lightgbm(leaves):
    booster, x = boosted(leaves, min_data_in_leaf=3)
    forest = Forest.read(booster.model_to_string())
    assert (forest.num_trees, forest.num_features) == (30, 6)
    assert len(x) % TILE  # the last tile is not full
    np.testing.assert_array_equal(forest.sums(x), booster.predict(x, raw_score=True))
    # at the thresholds, where a record goes left
    at = np.zeros((len(forest.thresholds), 6), np.float32)
    at[np.arange(len(at)), forest.features] = forest.thresholds
    np.testing.assert_array_equal(forest.sums(at), booster.predict(at, raw_score=True))
    above = np.nextafter(at, np.float32(np.inf))
    np.testing.assert_array_equal(forest.sums(above), booster.predict(above, raw_score=True))


def test_trees_of_one_leaf():
    booster, x = boosted(min_data_in_leaf=1000)
    forest = Forest.read(booster.model_to_string())
    assert len(forest.features) == 0
    np.testing.assert_array_equal(forest.sums(x), booster.predict(x, raw_score=True))


def test_unsuitable_trees_are_refused():
    booster, x = boosted(MOST_LEAVES + 1, min_data_in_leaf=1)
    with pytest.raises(ValueError, match=f"a tree with {MOST_LEAVES + 1} leaves"):
        Forest.read(booster.model_to_string())
    x[::7, 2] = np.nan
    with pytest.raises(ValueError, match="missing values"):
        Forest.read(boosted(x=x)[0].model_to_string())
    for text in ("", "tree\nmax_feature_idx=3\n\nTree=0\nnum_leaves=3\n\nend of trees\n"):
        with pytest.raises(ValueError, match="not trees of LightGBM"):
            Forest.read(text)
