"""Evaluate trees on changes of one record, compared with LightGBM."""

import lightgbm
import numpy as np

from selfattn_bio.baselines.trees import Trees


def test_changes_equal_lightgbm():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 8)).round(1)  # ties with thresholds
    y = (x[:, 1] * x[:, 2] + x[:, 5] > 0).astype(int)
    parameters = {"objective": "binary", "num_leaves": 7, "verbosity": -1, "num_threads": 1}
    boosters = [
        lightgbm.train(parameters | {"seed": seed}, lightgbm.Dataset(x, y), 20) for seed in (0, 1)
    ]
    trees = Trees.of(boosters)
    changed = np.where(rng.random((300, 8)) < 0.4, rng.normal(size=(300, 8)).round(1), x[0])
    logits = sum(
        booster.predict(np.vstack([x[:1], changed]), raw_score=True, num_threads=1)
        for booster in boosters
    )
    found = trees.changes(x[0, trees.features], changed[:, trees.features].T)
    np.testing.assert_allclose(found, logits[1:] - logits[0], atol=1e-12)
    assert np.abs(found).max() > 0.1


def test_trees_without_splits_change_nothing():
    x = np.zeros((40, 3))
    booster = lightgbm.train(
        {"objective": "binary", "verbosity": -1, "num_threads": 1},
        lightgbm.Dataset(x, np.arange(40) % 2),
        2,
    )
    trees = Trees.of([booster])
    assert len(trees.features) == 0
    np.testing.assert_array_equal(trees.changes(np.empty(0), np.empty((0, 5))), np.zeros(5))
