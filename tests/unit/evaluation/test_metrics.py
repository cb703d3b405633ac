import numpy as np
import pytest
from sklearn import metrics as sk

from selfattn_bio.evaluation.metrics import (
    Bootstrap,
    ResampledMetric,
    calibration_line,
    ece_floor,
    resamples,
)
from selfattn_bio.evaluation.units import Units


def example(n=300, separation=1.0, ties=False):
    """Return labels and probabilities of n records."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.arange(n) % 3 == 0).astype(int)
    p = 1 / (1 + np.exp(-rng.normal(separation * (2 * labels - 1), 1.5)))
    return labels, np.round(p, 1) if ties else p


def expected(labels: np.ndarray, p: np.ndarray, threshold: float) -> dict[str, float]:
    """Return the metrics of scikit-learn."""
    calls = {"mcc": sk.matthews_corrcoef, "accuracy": sk.accuracy_score, "f1": sk.f1_score}
    return {
        "auroc": sk.roc_auc_score(labels, p),
        "auprc": sk.average_precision_score(labels, p),
        "brier": sk.brier_score_loss(labels, p),
        **{name: metric(labels, p >= threshold) for name, metric in calls.items()},
        **{f"{name}_at_half": metric(labels, p >= 0.5) for name, metric in calls.items()},
    }


@pytest.mark.parametrize("ties", [False, True])
def test_values_and_resamples_equal_scikit_learn(ties):
    labels, p = example(n=90, ties=ties)
    found = Bootstrap(labels, draws=3, seed=4).metrics(p, 0.4)
    values = {name: metric.value for name, metric in found.items() if name != "ece"}
    assert values == pytest.approx(expected(labels, p, 0.4))
    assert values["mcc_at_half"] != pytest.approx(values["mcc"])
    weights = np.concatenate(list(resamples(np.arange(90), 3, 4, labels)))
    for i, row in enumerate(weights):
        drawn = np.repeat(np.arange(len(labels)), row.astype(int))
        values = {name: metric.draws[i] for name, metric in found.items() if name != "ece"}
        assert values == pytest.approx(expected(labels[drawn], p[drawn], 0.4))


def test_each_resample_keeps_the_size_of_either_class(monkeypatch):
    labels, p = example(n=90)
    weights = np.concatenate(list(resamples(np.arange(90), 20, 0, labels)))
    assert (weights[:, labels == 1].sum(axis=1) == labels.sum()).all()
    assert (weights[:, labels == 0].sum(axis=1) == (1 - labels).sum()).all()
    monkeypatch.setattr("selfattn_bio.evaluation.metrics.CHUNK", 90 * 7)
    assert Bootstrap(labels, draws=20).metrics(p, 0.5)["auroc"].draws.shape == (20,)


def test_calibration_error_of_a_worked_example():
    # Two bins: two records at .2, one of them positive (.3 off); two positives at .9 (.1 off)
    found = Bootstrap(np.array([1, 0, 1, 1]), draws=2, bins=2).metrics([0.2, 0.2, 0.9, 0.9], 0.5)
    assert found["ece"].value == pytest.approx(0.5 * 0.3 + 0.5 * 0.1)


def test_intervals_have_nominal_coverage():
    # AUROC of two unit normals one apart is Phi(1 / sqrt 2) = .760.
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1], 60)
    held = 0
    for seed in range(200):
        p = 1 / (1 + np.exp(-rng.normal(labels, 1.0)))
        found = Bootstrap(labels, draws=200, seed=seed).metrics(p, 0.5)["auroc"].interval(0.9)
        held += found["low"] <= 0.7602 <= found["high"]
    assert 0.83 <= held / 200 <= 0.96


def test_difference_of_skewed_resamples():
    """The interval is centred on the difference; p is the same in both directions."""
    draws = np.linspace(0, 1, 101) ** 2
    first, second = ResampledMetric(0.5, draws), ResampledMetric(0.2, np.full(101, 0.3))
    low, high = np.quantile(draws, [0.025, 0.975]) - draws.mean()
    expected = {"value": 0.3, "low": 0.3 + low, "high": 0.3 + high, "p": 2 * 47 / 102}
    assert first.minus(second) == pytest.approx(expected)
    mirrored = {"value": -0.3, "low": -0.3 - high, "high": -0.3 - low, "p": 2 * 47 / 102}
    assert second.minus(first) == pytest.approx(mirrored)


@pytest.mark.parametrize("seed", range(8))
def test_one_error_in_few_records_is_no_difference(seed):
    labels, bootstrap = np.arange(45) % 2, Bootstrap(np.arange(45) % 2, 500, seed)
    wrong = labels.astype(float)
    wrong[0] = 1.0
    perfect, other = (bootstrap.metrics(p, 0.5)["mcc"] for p in (labels.astype(float), wrong))
    for difference in (perfect.minus(other), other.minus(perfect)):
        assert difference["p"] > 0.05
        assert difference["low"] <= 0 <= difference["high"]


@pytest.mark.parametrize(
    ("labels", "p", "message"),
    [
        *((each, [], "must contain both 0 and 1 and nothing else") for each in ([1, 1], [0, 2, 1])),
        ([0, 1], [0.1, 1.5], "probability 1.5 is not between 0 and 1"),
        ([0, 1], [0.1, float("nan")], "probability nan is not between 0 and 1"),
    ],
)
def test_labels_and_probabilities_must_fit(labels, p, message):
    with pytest.raises(ValueError, match=message):
        Bootstrap(np.array(labels), draws=2).metrics(p, 0.5)


def test_complete_units_are_resampled():
    units = np.array([0, 0, 1, 2, 2, 2])
    weights = np.concatenate(list(resamples(units, 50, 0)))
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 3:].max(axis=1) == weights[:, 3:].min(axis=1)).all()
    assert (weights[:, [0, 2, 3]].sum(axis=1) == 3).all()
    # with labels, every resample has both
    labels = np.array([1, 1, 0, 0, 0, 0])
    weights = np.concatenate(list(resamples(units, 200, 0, labels)))
    assert (weights[:, labels == 1].sum(axis=1) > 0).all()
    assert (weights[:, labels == 0].sum(axis=1) > 0).all()


def test_few_units_are_kept_and_named():
    note = "(fewer than 20, so intervals are too narrow)"
    many = Units.of(np.repeat(np.arange(25), 2), "clusters")
    few = many.within(np.arange(30))
    assert few.numbers.tolist() == np.repeat(np.arange(15), 2).tolist()
    large = Units.of(["b", "a", "b"] * 10, "clusters")  # two large units are single records
    for units, name, number in (
        (many, "clusters", 25),
        (many.within(np.arange(44)), "clusters", 22),
        (few, f"clusters {note}", 15),
        (few.within(np.arange(6)), f"clusters {note}", 3),
        (Units.single(3), f"records {note}", 3),
        (Units.of(["b", "a"], "clusters"), f"clusters {note}", 2),
        (large, "records (fewer than 3 clusters, so intervals are too narrow)", 30),
    ):
        assert units.entry() == {"unit": name, "units": number}


def test_intervals_over_units_cover_more_often():
    """Eight records of each of 16 loci have nearly the same score."""
    held, loci = {"records": 0, "loci": 0}, 16
    units = Units.of(np.repeat(np.arange(loci), 8), "loci").numbers
    for seed in range(100):
        rng = np.random.default_rng(seed)
        labels = np.repeat(np.arange(loci) % 2, 8)
        z = np.repeat(rng.normal(labels[::8], 1.0), 8) + rng.normal(0, 0.1, 8 * loci)
        p = 1 / (1 + np.exp(-z))
        for name, of in (("records", None), ("loci", units)):
            found = Bootstrap(labels, 200, seed, units=of).metrics(p, 0.5)["auroc"].interval()
            held[name] += found["low"] <= 0.7602 <= found["high"]
    assert held["records"] < 70
    assert held["loci"] > 85


def test_floor_is_the_error_of_a_calibrated_model():
    rng = np.random.default_rng(0)
    p = 1 / (1 + np.exp(-rng.normal(0, 2, 5000)))
    sampled = [(rng.random(5000) < p).astype(int) for _ in range(50)]
    errors = [Bootstrap(labels, 1).metrics(p, 0.5)["ece"].value for labels in sampled]
    assert ece_floor(p, 15) == pytest.approx(np.mean(errors), rel=0.1)
    assert 0.01 < ece_floor(p, 15) < 0.03
    assert ece_floor(np.array([0.0, 1.0, 1.0]), 15) == 0
    found = Bootstrap((rng.random(5000) < p).astype(int), 50).metrics(p, 0.5)
    assert found["ece"].interval()["floor"] == ece_floor(p, 15)
    assert "floor" not in found["ece"].minus(found["ece"])


@pytest.mark.parametrize(
    ("slope", "intercept", "copies"), [(1.0, 0.0, 1), (0.5, -1.0, 4), (2.0, 0.5, 4)]
)
def test_calibration_line_covers_the_truth(slope, intercept, copies):
    """Copies of a record form a unit, so they do not narrow the intervals."""
    held, units = [], Units.of(np.repeat(np.arange(600), copies), "loci")
    for seed in range(100):
        rng = np.random.default_rng(seed)
        z = rng.normal(0, 1.5, 600)
        labels = (rng.random(600) < 1 / (1 + np.exp(-slope * z - intercept))).astype(int)
        p = np.repeat(1 / (1 + np.exp(-z)), copies)
        found = calibration_line(np.repeat(labels, copies), p, units)
        for name, truth in (("slope", slope), ("intercept", intercept)):
            interval = found[f"calibration_{name}"]
            held.append(interval["low"] <= truth <= interval["high"])
    assert 0.91 <= np.mean(held) <= 0.99


def test_few_records_keep_the_calibration_slope():
    """Smoothed labels would give a median of 0.85."""
    n, slopes = 100, []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        p = 1 / (1 + np.exp(-rng.normal(0, 4, n)))
        labels = (rng.random(n) < p).astype(int)
        found = calibration_line(labels, p, Units.single(n))["calibration_slope"]["value"]
        slopes.append(np.inf if found is None else found)
    assert 0.95 <= np.median(slopes) <= 1.15


UNDEFINED = {"value": None, "low": None, "high": None}


def test_degenerate_probabilities_have_no_calibration_line():
    for p in ([0.1, 0.2, 0.2, 0.9], [0.9, 0.8, 0.8, 0.1]):  # separate the labels
        found = calibration_line(np.array([0, 0, 1, 1]), np.array(p), Units.single(4))
        assert found == {"calibration_slope": UNDEFINED, "calibration_intercept": UNDEFINED}
    labels = (np.arange(30) % 3 == 0).astype(int)
    found = calibration_line(labels, np.full(30, 0.5), Units.single(30))
    assert found["calibration_slope"] == {"value": 0, "low": 0, "high": 0}
    assert found["calibration_intercept"]["value"] == pytest.approx(np.log(0.5), abs=0.1)


def test_undefined_resamples_are_left_out():
    draws = np.r_[np.linspace(0.1, 0.3, 19), np.full(80, np.nan)]
    found = ResampledMetric(0.2, draws).minus(ResampledMetric(0.0, np.zeros(99)))
    assert found["p"] == pytest.approx(2 / 20)  # the smallest possible p of 19 resamples
    undefined = ResampledMetric(float("nan"), np.full(5, np.nan))
    assert undefined.interval() == UNDEFINED
    draws = np.array([0.2, np.nan, 0.4])
    assert ResampledMetric(0.3, draws).interval()["low"] == pytest.approx(0.205)


def test_design_effect_of_copies_is_their_number():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 500))
    for copies in (1, 4):
        units = Units.of(np.repeat(np.arange(500), copies), "loci")
        found = units.design_effect(np.repeat(first, copies), np.repeat(second > 1, copies))
        assert found == pytest.approx(copies)
    units = Units.of(np.repeat(np.arange(500), 4), "loci")
    assert units.design_effect(np.repeat(first, 4), rng.normal(size=2000)) < 1.2


def test_design_effect_of_units_of_different_sizes_counts_pairs():
    rng = np.random.default_rng(0)
    units = Units.of(np.repeat(np.arange(20), np.arange(1, 21)), "loci")
    values = rng.normal(size=(2, 20))[:, units.numbers] + rng.normal(size=(2, 210)) + 5
    same = (units.numbers[:, None] == units.numbers) & ~np.eye(210, dtype=bool)
    correlations = [
        (np.outer(x, x)[same]).mean() / x.var() for x in values - values.mean(1)[:, None]
    ]
    expected = 1 + same.sum() / 210 * np.prod(correlations)
    assert units.design_effect(*values) == pytest.approx(expected)
