from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from selfattn_bio import config
from selfattn_bio.config import EvaluationSection
from selfattn_bio.config.derived import NETWORK
from selfattn_bio.errors import ResultsError
from selfattn_bio.evaluation.calibration import Calibration, choose_threshold
from selfattn_bio.evaluation.groups import group_metrics
from selfattn_bio.evaluation.metrics import OF_CALLS
from selfattn_bio.evaluation.summary import Classifier, summarise
from selfattn_bio.evaluation.units import Units
from selfattn_bio.evaluation.verdict import ClassifierSize as Size
from selfattn_bio.evaluation.verdict import caveat, sizes_of, verdict
from selfattn_bio.objectives import objective_of
from selfattn_bio.objectives.base import Examples
from selfattn_bio.study.evaluated import predictions_table

BINARY = objective_of(config.BinaryObjective())
BINS = objective_of(config.BinsObjective(points="p.bed"))
CALIBRATION = Calibration(0.5, 0.1, 0.6)
LABELS = {"valid": np.arange(40) % 2, "test": np.arange(60) % 2}
UNITS = {split: Units.single(len(of)) for split, of in LABELS.items()}
SETTINGS = EvaluationSection(bootstraps=5)


def network(role: str, shift: float, seed: int) -> Classifier:
    rng = np.random.default_rng(seed)
    logits = {split: rng.normal(shift * (2 * y - 1), 1.0) for split, y in LABELS.items()}
    return Classifier.of_logits(role, logits, CALIBRATION)  # type: ignore[arg-type]


def summary_of(classifiers, **sizes) -> dict[str, Any]:
    """Summarise; sizes are numbers of networks and trainings by name."""
    known = {
        name: dict(zip(("networks", "trainings"), of, strict=True)) for name, of in sizes.items()
    }
    return summarise(BINARY, classifiers, LABELS, SETTINGS, UNITS, known)


@pytest.fixture
def classifiers() -> dict[str, Classifier]:
    rng = np.random.default_rng(9)
    p = {split: rng.uniform(size=len(y)) for split, y in LABELS.items()}
    roles = {"model": ("model", 1.5, 0), "cnn": ("baseline", 0.8, 1), "shuffled": ("control", 0, 2)}
    found = {name: network(*of) for name, of in roles.items()}
    return found | {"gc": Classifier("baseline", p, 0.5, chosen={"C": 1.0})}


def test_metrics_json_format(classifiers):
    summary = summary_of(classifiers)
    for split in ("valid", "test"):
        model, baselines, controls = (
            summary[split][name] for name in ("model", "baselines", "controls")
        )
        assert (set(baselines), set(controls)) == ({"cnn", "gc"}, {"shuffled"})
        for entry in (model, *baselines.values(), *controls.values()):
            for metric in OF_CALLS:
                floor = {"floor"} if metric == "ece" else set()
                assert set(entry[metric]) == {"value", "low", "high"} | floor
        line = {"calibration_slope", "calibration_intercept"}
        assert set(model["calibrated"]) == {"brier", "ece"} | line
        assert (summary[split]["unit"], summary[split]["units"]) == ("records", len(LABELS[split]))
        assert "calibrated" not in baselines["gc"]
        assert "members" not in summary[split]
    assert [summary[split]["n"] for split in ("test", "valid")] == [60, 40]
    assert summary["test"]["positives"] == 30
    assert summary["differences"]["best_baseline"] == "cnn"
    assert set(summary["differences"]["baselines"]) == {"cnn", "gc"}
    lead = summary["differences"]["baselines"]["cnn"]["auroc"]
    model, cnn = summary["test"]["model"], summary["test"]["baselines"]["cnn"]
    assert lead["value"] == pytest.approx(model["auroc"]["value"] - cnn["auroc"]["value"])
    table = predictions_table(BINARY, classifiers, EXAMPLES, "test", "cnn", pd.DataFrame())
    names = "id label predicted model cnn shuffled gc model_logit model_calibrated"
    assert " ".join(table) == names
    counts = pd.crosstab(table["label"], table["predicted"])
    right = (counts[0][0] + counts[1][1]) / len(table)
    assert right == pytest.approx(model["accuracy"]["value"])
    outputs = table[["model_logit"]].to_numpy()[None]
    scored = BINARY.columns(outputs, classifiers["model"].calibration, {})
    assert table["predicted"].tolist() == scored["predicted"].tolist()
    assert np.allclose(1 / (1 + np.exp(-table["model_logit"])), table["model"])


EXAMPLES = Examples(pd.DataFrame({"id": range(60), "label": LABELS["test"]}), LABELS["test"])


def test_members_are_averaged_with_their_spread():
    singles = [network("model", 1.0, seed) for seed in (5, 6, 7)]
    outputs = {split: [single.logits[split][:, None] for single in singles] for split in LABELS}
    together = Classifier.of_outputs(BINARY, "model", outputs, LABELS["valid"], CALIBRATION)
    summary = summary_of({"model": together})
    for split, labels in LABELS.items():
        mean = np.mean(outputs[split], axis=0)[:, 0]
        np.testing.assert_allclose(together.predictions[split], 1 / (1 + np.exp(-mean)))
        assert set(summary[split]["members"]) == {"model"}
        found = summary[split]["members"]["model"]
        alone = [sk.roc_auc_score(labels, each[:, 0]) for each in outputs[split]]
        assert found["each"] == pytest.approx(alone)
        bounds = (min(found["each"]), max(found["each"]))
        assert (found["metric"], found["min"], found["max"]) == ("auroc", *bounds)
        assert found["spread"] == pytest.approx(np.std(outputs[split], axis=0, ddof=1).mean())
    table = predictions_table(BINARY, {"model": together}, EXAMPLES, "test", None, pd.DataFrame())
    assert list(table)[-3:] == ["model_logit", "model_calibrated", "model_spread"]


def test_calls_use_the_given_threshold():
    """No split may choose a threshold, although each prefers a lower one."""
    rng = np.random.default_rng(0)
    p = {split: rng.uniform(0.2, 0.4, len(y)) + 0.25 * y for split, y in LABELS.items()}
    classifiers = {"model": Classifier("model", p, 0.6), "other": Classifier("baseline", p, 0.6)}
    summary = summary_of(classifiers)
    given = LABELS["test"], dict.fromkeys(classifiers, (p["test"], 0.6)), UNITS["test"], SETTINGS
    groups = group_metrics(np.full(60, "chr1", dtype=object), *given)["groups"]
    for split, y in LABELS.items():
        assert choose_threshold(p[split], y) < 0.5
        calls = p[split] >= 0.6
        expected = {"mcc": sk.matthews_corrcoef, "accuracy": sk.accuracy_score, "f1": sk.f1_score}
        expected = {name: metric(y, calls) for name, metric in expected.items()}
        entries = [summary[split]["model"], summary[split]["baselines"]["other"]]
        assert [entry["threshold"] for entry in entries] == [0.6, 0.6]
        if split == "test":
            entries += [of[name] for of in groups for name in classifiers]
            assert len(entries) == 4
        for entry in entries:
            assert {name: entry[name]["value"] for name in expected} == pytest.approx(expected)


def test_a_copy_of_the_model_does_not_differ(classifiers):
    """All classifiers are evaluated on the same resamples."""
    both = {"model": classifiers["model"], "copy": replace(classifiers["model"], role="baseline")}
    pairs = {split: Units.of(np.arange(len(y)) // 2, "pairs") for split, y in LABELS.items()}
    for units in (UNITS, pairs):
        summary = summarise(BINARY, both, LABELS, EvaluationSection(bootstraps=20), units)
        for lead in summary["differences"]["baselines"]["copy"].values():
            assert lead == {"value": 0, "low": 0, "high": 0, "p": 1}
    assert (summary["test"]["unit"], summary["test"]["units"]) == ("pairs", 30)


def test_targets_are_compared_on_the_same_resamples():
    rng = np.random.default_rng(0)
    objective = objective_of(config.RegressionObjective(columns=("x",)))
    targets = {split: rng.normal(size=(50, 1)) for split in LABELS}
    better, worse = (
        {split: of + rng.normal(0, noise, of.shape) for split, of in targets.items()}
        for noise in (0.3, 3.0)
    )
    constant = {split: np.zeros_like(of) for split, of in targets.items()}
    others = {"copy": better, "worse": worse, "constant": constant}
    classifiers = {"model": Classifier("model", better)}
    classifiers |= {name: Classifier("baseline", of) for name, of in others.items()}
    settings, units = EvaluationSection(bootstraps=50), dict.fromkeys(targets, Units.single(50))
    summary = summarise(objective, classifiers, targets, settings, units)
    leads = summary["differences"]["baselines"]
    assert all(lead == {"value": 0, "low": 0, "high": 0, "p": 1} for lead in leads["copy"].values())
    assert leads["worse"]["pearson"]["low"] > 0
    assert leads["worse"]["mse"]["high"] < 0
    assert leads["constant"]["pearson"]["value"] is None  # the correlation with a constant
    assert leads["constant"]["mse"]["high"] < 0
    assert summary["differences"]["best_baseline"] == "copy"
    # a single column has the metrics of all columns
    assert summary["outputs"]["model"] == {"x": summary["test"]["model"]}
    assert list(summary["outputs"]) == ["model", "copy"]


def test_outputs_have_their_number_of_known_values():
    targets = np.random.default_rng(0).normal(size=(50, 2))
    targets[:7, 1] = np.nan
    both = {"valid": targets[::-1].copy(), "test": targets}
    both["valid"][0] = np.nan
    summary = summarise(
        objective_of(config.RegressionObjective(columns=("x", "y"), center=(0, 0), scale=(1, 1))),
        {"model": Classifier("model", {split: np.nan_to_num(of) for split, of in both.items()})},
        both,
        EvaluationSection(bootstraps=5),
        dict.fromkeys(both, Units.single(50)),
    )
    assert {name: of["n"] for name, of in summary["outputs"]["model"].items()} == {"x": 50, "y": 43}


def test_predictions_have_the_truth_and_the_best_baseline():
    labels = objective_of(config.LabelsObjective(column="structure", classes="HE"))
    found = {"model": [np.eye(2), np.eye(2)[[1]]], "simple": [np.eye(2)[[0, 0]], np.eye(2)[[0]]]}
    of_both = {name: Classifier("model", {"test": of}) for name, of in found.items()}
    examples = Examples(pd.DataFrame({"id": ["a", "b"]}, index=[7, 3]), np.zeros(2))
    truth = pd.DataFrame({"structure": ["HE", ""]}, index=[7, 3])
    table = predictions_table(labels, of_both, examples, "test", "simple", truth)
    assert table.to_dict("list") == {
        "id": ["a", "b"],
        "predicted": ["HE", "E"],
        "simple.predicted": ["HH", "H"],
        "true.structure": ["HE", ""],
    }


@pytest.mark.parametrize("is_part", [False, True])
def test_truth_of_labels_is_one_and_zero_in_predictions(is_part):
    """Tables may have words, which cannot be compared with a probability."""
    keys = {"kind": "multilabel", "columns": ("heart", "liver.left")}
    section = config.MultilabelObjective(**keys)
    if is_part:
        parts = {"tissues": keys, "more": {"kind": "multilabel", "columns": ("brain",)}}
        section = config.SeveralObjective.model_validate({"parts": parts})
    examples = Examples(pd.DataFrame({"id": ["a", "b", "c"]}), np.zeros(3))
    truth = pd.DataFrame({"heart": ["Yes", "no", np.nan], "liver.left": ["inactive", "1", "0"]})
    model = {"model": Classifier("model", {"test": np.zeros((3, 2 + is_part))})}
    table = predictions_table(objective_of(section), model, examples, "test", None, truth)
    np.testing.assert_array_equal(table["true.heart"], [1, 0, np.nan])
    assert table["true.liver.left"].tolist() == [0, 1, 0]


def log_rates(p: np.ndarray) -> np.ndarray:
    """Return log rates (n, 2) of both strands that give these probabilities together."""
    return np.tile(np.log(-np.log1p(-p) / 2), (2, 1)).T


def summary_of_bins(outputs, labels, block: int, draws: int = 20) -> dict[str, Any]:
    """Summarise bins from probabilities of each member, the same for both splits."""
    classifiers = {}
    for name, each in outputs.items():
        role = "model" if name == "model" else "baseline"
        rates = {split: [log_rates(p) for p in each] for split in labels}
        of = Classifier.of_outputs(BINS, role, rates, labels["valid"], CALIBRATION)
        classifiers[name] = of
    units = {split: Units("blocks", np.arange(len(of)) // block) for split, of in labels.items()}
    sizes = {name: {"networks": len(of), "trainings": len(of)} for name, of in outputs.items()}
    return summarise(BINS, classifiers, labels, EvaluationSection(bootstraps=draws), units, sizes)


def test_block_bootstrap_keeps_neighbours_together():
    """Repeating each bin ten times adds no information; the interval over blocks shows this."""
    rng = np.random.default_rng(0)
    labels = np.repeat(rng.random(60) < 0.3, 10).astype(np.int64)
    p = np.clip(np.repeat(rng.random(60), 10) * 0.7 + labels * 0.3, 0.01, 0.99)
    outputs = {"model": [p, p], "other": [1 - p]}
    both = dict.fromkeys(("valid", "test"), labels)
    wide, narrow = (summary_of_bins(outputs, both, block, 200) for block in (10, 1))
    assert (wide["test"]["units"], narrow["test"]["units"]) == (60, 600)
    outer, inner = (of["test"]["model"]["auprc"] for of in (wide, narrow))
    assert outer["high"] - outer["low"] > 2 * (inner["high"] - inner["low"])
    value, of_other = (sk.average_precision_score(labels, each) for each in (p, 1 - p))
    assert outer["value"] == pytest.approx(value)
    leads = wide["differences"]
    assert leads["best_baseline"] == "other"
    assert leads["baselines"]["other"]["auprc"]["low"] > 0
    assert leads["baselines"]["other"]["auprc"]["value"] == pytest.approx(value - of_other)
    assert wide["test"]["members"]["model"]["each"] == pytest.approx([value] * 2)


def test_thresholds_do_not_depend_on_test_labels():
    rng, labels = np.random.default_rng(0), np.arange(400) % 2
    scores = {name: rng.uniform(0.01, 0.6, 400) + 0.39 * labels for name in ("model", "other")}
    first = scores["model"] ** 2
    outputs = {"model": [first, scores["model"]], "other": [scores["other"]]}
    found = summary_of_bins(outputs, {"valid": labels, "test": 1 - labels}, 10, 2)
    rates = [log_rates(p) for p in outputs["model"]]
    mean = BINS.predictions(np.mean(rates, axis=0))

    def expected(p: np.ndarray) -> tuple[float, float]:
        threshold = choose_threshold(p, labels)
        return threshold, sk.matthews_corrcoef(1 - labels, p >= threshold)

    entries = {"model": found["test"]["model"], **found["test"]["baselines"]}
    for name, p in (("model", mean), ("other", scores["other"])):
        entry = entries[name]
        assert (entry["threshold"], entry["mcc"]["value"]) == pytest.approx(expected(p))
    network = found["differences"]["networks"]["other"]
    assert (network["of"], network["first"]) == ("model", True)
    difference = expected(first)[1] - expected(scores["other"])[1]
    assert network["test"]["mcc"]["value"] == pytest.approx(difference)


@pytest.mark.parametrize("trainings", [1, 2])
def test_like_is_compared_with_like(classifiers, trainings):
    """Stack with stack, network with network, one training with one, and no control."""
    classifiers |= {NETWORK: network("baseline", 5.0, 4), "cnn+stack": network("baseline", 0.9, 5)}
    classifiers["shuffled"] = network("control", 5.0, 3)
    members = [network("baseline", 1.2, seed) for seed in (6, 7)]
    logits = {split: [of.logits[split] for of in members] for split in LABELS}
    classifiers[NETWORK] = replace(classifiers[NETWORK], members=logits)
    sizes = {"model": (trainings, trainings), "cnn": (1, 1), "shuffled": (1, 1)}
    found = summary_of(classifiers, **sizes)["differences"]
    assert set(found["baselines"]) == {"cnn+stack", "gc", NETWORK}
    assert found["best_baseline"] == "cnn+stack"
    assert set(found["networks"]) == {"cnn"}
    compared = found["networks"]["cnn"]
    assert (compared["of"], compared["first"]) == (NETWORK, trainings == 2)
    for split, labels in LABELS.items():
        own = logits[split][0] if trainings == 2 else classifiers[NETWORK].logits[split]
        both = (sk.roc_auc_score(labels, z) for z in (own, classifiers["cnn"].logits[split]))
        assert compared[split]["auroc"]["value"] == pytest.approx(next(both) - next(both))


ABOVE, BELOW = {"low": 0.01, "high": 0.03}, {"low": -0.03, "high": -0.01}
REGRESSION = Size()


ONCE, NETWORKS = "each was trained only once", "the numbers of networks differ"


@pytest.mark.parametrize(
    ("model", "other", "reason"),
    [
        (Size(2, 1), Size(1, 1), f"{NETWORKS} (2 and 1) and {ONCE}"),
        (Size(2, 1), Size(2, 1), ONCE),
        (Size(4, 2), Size(4, 2), "each was trained only twice"),
        (Size(1, 1), REGRESSION, "the comparison is based on only one training"),
        (Size(2, 2), REGRESSION, "the comparison is based on only two trainings"),
        (Size(3, 3), Size(3, 1), "one of them was trained only once"),
        (Size(6, 3), Size(3, 3), f"{NETWORKS} (6 and 3)"),
        (Size(3, 3), Size(3, 3), ""),
        (Size(6, 3), REGRESSION, ""),
    ],
)
def test_better_needs_equal_size_and_three_trainings(model, other, reason):
    assert caveat(model, other) == reason
    found = verdict(ABOVE, "blocks", model, other), verdict(BELOW, "blocks", model, other)
    assert found == (("higher", "lower") if reason else ("better", "worse"))
    for low, high in ((-0.01, 0.03), (0.0, 0.02)):
        lead = {"low": low, "high": high}
        assert verdict(lead, "blocks", model, other) == "not distinguishable"


@pytest.mark.parametrize(
    ("keys", "found"),
    [(np.arange(19), "too few"), (np.arange(20), "better"), (np.arange(40) // 20, "too few")],
)
def test_a_verdict_needs_twenty_units(keys, found):
    """Two clusters are resampled as records, but remain two clusters."""
    unit = Units.of(keys, "clusters").entry()["unit"]
    assert verdict(ABOVE, unit, Size(3, 3)) == found


def test_sizes_are_read_from_metrics():
    sizes = {name: {"networks": 2, "trainings": 1} for name in ("model", "cnn")}
    metrics: dict[str, Any] = {"sizes": sizes, "differences": {"networks": {}}}
    found = sizes_of(metrics, "model", "cnn", "cnn+stack", "gc")
    assert found == [Size(2, 1), Size(2, 1), Size(2, 1), REGRESSION]
    del metrics["differences"]["networks"]
    with pytest.raises(ResultsError, match="lacks a comparison of networks"):
        sizes_of(metrics, "model")
