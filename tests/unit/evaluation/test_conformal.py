"""Prediction sets and intervals contain the truth of new records at the requested rate."""

import numpy as np
import pytest

from selfattn_bio import config
from selfattn_bio.evaluation.calibration import KEPT, fit_conformal, quantiles_of
from selfattn_bio.objectives import objective_of

CLASSES = objective_of(config.MulticlassObjective(column="c", classes=("x", "y", "z")))
BINARY = objective_of(config.BinaryObjective())
NUMBERS = objective_of(
    config.RegressionObjective(columns=("u", "v"), center=(1.0, 0.0), scale=(2.0, 1.0))
)


def sets_of(objective, fitted, outputs, coverage):
    return objective.in_set(outputs, quantiles_of(fitted, objective.coverage_names, coverage))


def binary(rng, n):
    """Return informative logits and labels; one label is rare."""
    labels = (rng.random(n) < 0.2).astype(np.int64)
    return (rng.normal(0, 1.5, n) + 2 * labels - 1)[:, None], labels


def classes(rng, n):
    targets = rng.choice(3, n, p=[0.6, 0.3, 0.1])
    return rng.normal(0, 1, (n, 3)) + 1.5 * np.eye(3)[targets], targets


@pytest.mark.parametrize(("objective", "draw"), [(BINARY, binary), (CLASSES, classes)])
@pytest.mark.parametrize("coverage", [0.7, 0.9])
def test_prediction_sets_cover_each_class(objective, draw, coverage):
    rng = np.random.default_rng(0)
    fitted = fit_conformal(objective, *draw(rng, 20_000))
    outputs, targets = draw(rng, 20_000)
    inside = sets_of(objective, fitted, outputs, coverage)
    for label in np.unique(targets):
        held = inside[targets == label, label]
        assert held.mean() == pytest.approx(coverage, abs=0.02)
    # Sets do not simply contain all labels
    assert inside.sum(axis=1).mean() < 0.8 * inside.shape[1]


def test_prediction_intervals_cover_the_target():
    rng = np.random.default_rng(0)

    def draw(n):
        outputs = rng.normal(0, 1, (n, 2))
        errors = rng.normal(0, [3, 0.5], (n, 2))
        return outputs, NUMBERS.predictions(outputs) + errors, errors

    outputs, targets, _ = draw(5000)
    targets[:100, 1] = np.nan  # unknown
    widths = quantiles_of(fit_conformal(NUMBERS, outputs, targets), NUMBERS.coverage_names, 0.9)
    np.testing.assert_allclose(widths, 1.645 * np.array([3, 0.5]), rtol=0.06)
    held = np.abs(draw(5000)[2]) <= widths
    assert held.mean(axis=0) == pytest.approx([0.9, 0.9], abs=0.02)


def test_few_records_give_larger_sets():
    fitted = fit_conformal(BINARY, np.array([[-1.0], [2.0]]), np.array([0, 1]))
    # One record per class is too few for 90 % coverage
    assert sets_of(BINARY, fitted, np.array([[-50.0], [50.0]]), 0.9).all()
    assert sets_of(BINARY, fitted, np.array([[-50.0]]), 0.5).tolist() == [[True, False]]
    fitted = fit_conformal(NUMBERS, np.zeros((3, 2)), np.zeros((3, 2)))
    assert quantiles_of(fitted, NUMBERS.coverage_names, 0.9).tolist() == [np.inf, np.inf]


def test_class_without_records_is_in_every_set():
    outputs, targets = classes(np.random.default_rng(0), 500)
    fitted = fit_conformal(CLASSES, outputs[targets != 2], targets[targets != 2])
    assert list(fitted) == ["x", "y"]
    assert sets_of(CLASSES, fitted, outputs, 0.9)[:, 2].all()


def test_stored_scores_are_few_and_conservative():
    outputs, targets = binary(np.random.default_rng(0), 30_000)
    fitted = fit_conformal(BINARY, outputs, targets)
    assert {len(scores) for scores in fitted.values()} == {KEPT}
    full = np.sort(-outputs[targets == 1, 0])
    assert (fitted["1"] >= np.quantile(full, np.linspace(0, 1, KEPT))).all()


def test_other_objectives_have_no_prediction_sets():
    labels = objective_of(config.MultilabelObjective(columns=("a",)))
    assert fit_conformal(labels, np.zeros((3, 1)), np.zeros((3, 1))) == {}
