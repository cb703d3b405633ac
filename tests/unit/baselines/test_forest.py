"""Check trees against LightGBM, also for changed records, and sums of k-mers against counts."""

import lightgbm
import numpy as np
import pytest
from letters import ascii_of

from selfattn_bio.baselines.blocks import KmerSlots
from selfattn_bio.baselines.forest import LEAF, MOST_LEAVES, TILE, Forest
from selfattn_bio.sequence.alphabet import DNA


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
    (forest,) = Forest.of(booster)
    assert (forest.num_trees, forest.num_features) == (30, 6)
    assert len(x) % TILE  # the last tile is not full
    np.testing.assert_array_equal(forest.sums(x), booster.predict(x, raw_score=True))
    # at the thresholds, where a record goes left
    splits = forest.features != LEAF
    thresholds = forest.values[splits]
    at = np.zeros((len(thresholds), 6))
    at[np.arange(len(at)), forest.features[splits]] = thresholds
    at = at.astype(np.float32)
    at = np.where(at > thresholds[:, None], np.nextafter(at, np.float32(-np.inf)), at)
    np.testing.assert_array_equal(forest.sums(at), booster.predict(at, raw_score=True))
    above = np.nextafter(at, np.float32(np.inf))
    np.testing.assert_array_equal(forest.sums(above), booster.predict(above, raw_score=True))


def test_trees_of_one_leaf():
    booster, x = boosted(min_data_in_leaf=1000)
    (forest,) = Forest.of(booster)
    assert len(forest.used) == 0
    np.testing.assert_array_equal(forest.sums(x), booster.predict(x, raw_score=True))


def test_changes_equal_lightgbm():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 6)).round(1)  # ties with thresholds
    booster, _ = boosted(7, x)
    (forest,) = Forest.of(booster)
    changed = np.where(rng.random((300, 6)) < 0.4, rng.normal(size=(300, 6)).round(1), x[0])
    logits = booster.predict(np.vstack([x[:1], changed]), raw_score=True)
    found = forest.changes(x[0, forest.used], changed[:, forest.used].T)
    np.testing.assert_allclose(found, logits[1:] - logits[0], atol=1e-12)
    assert np.abs(found).max() > 0.1


def test_changes_of_trees_without_splits_are_0():
    (forest,) = Forest.of(boosted(min_data_in_leaf=1000)[0])
    np.testing.assert_array_equal(forest.changes(np.empty(0), np.empty((0, 5))), np.zeros(5))


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ([0, 1, LEAF, LEAF], "ends within a tree"),
        ([LEAF, 0], "ends within a tree"),
        ([0, 2, LEAF, LEAF, LEAF], "features has 2, but there are 2 features"),
        ([0, LEAF] * MOST_LEAVES + [LEAF], "a tree with 33 leaves, more than 32"),
    ],
)
def test_wrong_trees_are_refused(features, message):
    with pytest.raises(ValueError, match=message):
        Forest(2, np.array(features), np.zeros(len(features)))


@pytest.mark.parametrize(("slots", "align"), [(1, "parts"), (3, "parts"), (9, "start"), (9, "end")])
def test_totals_equal_counts(slots, align):
    rng, block = np.random.default_rng(0), KmerSlots(DNA, 2, slots, align)
    bases = ascii_of("ACGT" * 6 + "N")
    letters = [rng.choice(bases, length) for length in (30, 1, 2, 12, 50)]
    values, counts = rng.normal(size=block.size), block.counts(letters).toarray()
    totals, squares = block.totals(letters, values)
    np.testing.assert_allclose(totals, counts @ values, atol=1e-9)
    np.testing.assert_array_equal(squares, (counts**2).sum(axis=1))
    assert squares.max() > 1
