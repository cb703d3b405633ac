import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.metrics import matthews_corrcoef, roc_auc_score

from selfattn_bio import config
from selfattn_bio.evaluation.calibration import (
    KEPT,
    LEAST_SLOPE,
    Calibration,
    choose_threshold,
    fit_conformal,
    fit_platt,
    platt_line,
    quantiles_of,
    reliability,
)
from selfattn_bio.evaluation.metrics import Bootstrap
from selfattn_bio.objectives import objective_of


@pytest.mark.parametrize(("slope", "intercept"), [(0.4, 0.0), (1.0, 2.0), (3.0, -1.0)])
def test_a_known_line_is_found(slope: float, intercept: float):
    rng = np.random.default_rng(0)
    logits = rng.normal(1, 1, 20_000)
    labels = rng.uniform(size=len(logits)) < 1 / (1 + np.exp(-(slope * logits + intercept)))
    assert fit_platt(logits, labels) == pytest.approx((slope, intercept), rel=0.1, abs=0.05)


def test_uninformative_logits_have_no_slope():
    rng = np.random.default_rng(0)
    labels = (rng.uniform(size=5000) < 0.56).astype(int)
    logits = rng.normal(0.1, 0.04, 5000)
    slope, intercept = fit_platt(logits, labels)
    assert slope < 1.5  # relative to their spread, .06
    assert slope * 0.1 + intercept == pytest.approx(logit(labels.mean()), abs=0.01)
    assert fit_platt(5 * logits, labels)[0] == pytest.approx(slope / 5, rel=1e-3)
    assert fit_platt(-np.where(labels, 1.0, -1.0), labels)[0] == LEAST_SLOPE
    assert fit_platt(np.ones(50), labels[:50])[0] == LEAST_SLOPE


def test_the_slope_of_separated_labels_is_finite():
    labels = np.arange(60) % 2
    assert 1 < fit_platt(np.where(labels, 1.0, -1.0), labels)[0] < 10


def test_calibration_corrects_balanced_class_weights():
    """At 10 % positives, probabilities of balanced training are far too high."""
    rng = np.random.default_rng(0)
    truth = rng.normal(-2.8, 1.5, (2, 20_000))  # of validation and test records
    labels = (rng.uniform(size=truth.shape) < expit(truth)).astype(int)
    logits = truth - logit(labels[0].mean())
    fitted = Calibration.fit(logits[0], labels[0])
    calibrated = fitted.probabilities(logits[1])
    assert fitted.positive_fraction == pytest.approx(0.1, abs=0.02)
    of_test = Bootstrap(labels[1], draws=1)
    assert of_test.metrics(expit(logits[1]), 0.5)["ece"].value > 0.2
    assert of_test.metrics(calibrated, 0.5)["ece"].value < 0.01
    assert roc_auc_score(labels[1], calibrated) == roc_auc_score(labels[1], logits[1])
    # the threshold makes the same calls of uncalibrated probabilities
    called = calibrated >= fitted.threshold
    assert (called == (expit(logits[1]) >= fitted.uncalibrated_threshold)).all()
    # differences between two sequences change by the slope only
    difference = fitted.log_odds(logits[1, :1]) - fitted.log_odds(logits[1, 1:2])
    assert difference == pytest.approx(fitted.slope * (logits[1, 0] - logits[1, 1]))


def test_stored_and_mean_calibration():
    fitted = Calibration(0.9, -2.2, 0.3, 0.1)
    assert Calibration.of({**vars(fitted), "strands": "given"}) == fitted
    # of an earlier version
    earlier = Calibration.of({"temperature": 1.1, "slope": 1, "threshold": 0.3})
    assert earlier == Calibration(1.0, 0.0, 0.3)
    # what an objective does not have changes nothing
    assert Calibration.of({"strands": "given"}) == Calibration()
    first, second = Calibration(1.0, 0.0, 0.4, 0.2), Calibration(2.0, -1.0, 0.6, 0.3)
    assert Calibration.mean([first, second]) == Calibration(1.5, -0.5, 0.5, 0.25)
    assert Calibration.mean([first, Calibration()]).positive_fraction is None


def test_threshold_has_the_highest_expected_correlation():
    """Compare with every cut of a few records, most of them negative."""
    p = np.array([0.02, 0.03, 0.05, 0.08, 0.1, 0.15, 0.2, 0.3, 0.35, 0.5, 0.7, 0.9])
    labels = np.array([0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1])
    slope, intercept = platt_line(logit(p), labels.astype(float))
    chance = expit(slope * logit(p) + intercept)
    correlations = []
    for cut in range(1, 12):  # the first record above the threshold
        tp, fp = chance[cut:].sum(), (1 - chance[cut:]).sum()
        fn, tn = chance[:cut].sum(), (1 - chance[:cut]).sum()
        sizes = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
        correlations.append((tp * tn - fp * fn) / np.sqrt(sizes))
    best = 1 + int(np.argmax(correlations))
    assert choose_threshold(p, labels) == pytest.approx((p[best - 1] + p[best]) / 2)


@pytest.mark.parametrize(
    ("slope", "intercept", "digits"), [(1.0, 0.0, 6), (0.5, 1.5, 1), (2.0, -3.0, 6)]
)
def test_threshold_is_near_the_best_cut_of_many_records(slope, intercept, digits):
    rng = np.random.default_rng(3)
    truth = rng.normal(0, 2, 20_000)
    labels = rng.uniform(size=len(truth)) < 1 / (1 + np.exp(-truth))
    p = np.round(1 / (1 + np.exp(-(slope * truth + intercept))), digits)
    chosen = matthews_corrcoef(labels, p >= choose_threshold(p, labels))
    cuts = np.quantile(np.unique(p)[1:], np.linspace(0, 1, 60))
    best = max(matthews_corrcoef(labels, p >= cut) for cut in cuts)
    assert chosen > best - 0.005
    assert chosen > matthews_corrcoef(labels, p >= 0.5) or intercept == 0


def test_threshold_of_few_records():
    # the middle of the best gap
    assert choose_threshold([0.1, 0.2, 0.6, 0.8], [0, 0, 1, 1]) == pytest.approx(0.4)
    for p, labels in (([0.3, 0.3], [0, 1]), ([0.1, 0.9], [1, 1]), ([0.9, 0.1], [0, 1])):
        assert choose_threshold(p, labels) == 0.5  # no cut is better than chance


def test_reliability_of_a_worked_example():
    found = reliability([0.05, 0.15, 0.95, 1.0], [0, 1, 1, 1])
    assert found["count"].tolist() == [1, 1, 2]
    assert found["predicted"].tolist() == pytest.approx([0.05, 0.15, 0.975])
    assert found["observed"].tolist() == [0, 1, 1]


def test_logits_must_be_finite():
    with pytest.raises(ValueError, match="logits contain nan at index 1"):
        fit_platt([1.0, float("nan")], [1, 0])


CLASSES = objective_of(config.MulticlassObjective(column="c", classes=("x", "y", "z")))
BINARY = objective_of(config.BinaryObjective())
NUMBERS = objective_of(
    config.RegressionObjective(columns=("u", "v"), center=(1.0, 0.0), scale=(2.0, 1.0))
)


def sets_of(objective, fitted, outputs, coverage):
    quantiles = quantiles_of(fitted, objective.coverage_names, coverage)
    return objective.strangeness(outputs) <= quantiles


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
    labels = objective_of(config.MultilabelObjective(columns=("a",)))
    assert fit_conformal(labels, np.zeros((3, 1)), np.zeros((3, 1))) == {}  # no prediction sets


def test_stored_scores_are_few_and_conservative():
    outputs, targets = binary(np.random.default_rng(0), 30_000)
    fitted = fit_conformal(BINARY, outputs, targets)
    assert {len(scores) for scores in fitted.values()} == {KEPT}
    full = np.sort(-outputs[targets == 1, 0])
    assert (fitted["1"] >= np.quantile(full, np.linspace(0, 1, KEPT))).all()
