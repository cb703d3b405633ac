from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from selfattn_bio.config import EvaluationSection, RegressionObjective
from selfattn_bio.config.derived import NETWORK
from selfattn_bio.evaluation.calibration import Calibration, choose_threshold
from selfattn_bio.evaluation.metrics import RANGES, Units
from selfattn_bio.evaluation.summary import Classifier, predictions_table, summarise
from selfattn_bio.evaluation.targets import summarise_targets, target_predictions
from selfattn_bio.objectives import objective_of

CALIBRATION = Calibration(0.5, 0.1, 0.6)
LABELS = {"valid": np.arange(40) % 2, "test": np.arange(60) % 2}


def network(role: str, shift: float, seed: int) -> Classifier:
    rng = np.random.default_rng(seed)
    logits = {split: rng.normal(shift * (2 * y - 1), 1.0) for split, y in LABELS.items()}
    return Classifier.of_logits(role, logits, CALIBRATION)  # type: ignore[arg-type]


def summary_of(classifiers: dict[str, Classifier]) -> dict[str, Any]:
    return summarise(classifiers, LABELS, {}, EvaluationSection(bootstraps=5))


@pytest.fixture
def classifiers() -> dict[str, Classifier]:
    rng = np.random.default_rng(9)
    p = {split: rng.uniform(size=len(y)) for split, y in LABELS.items()}
    gc = Classifier("baseline", p, 0.5, chosen={"C": 1.0})
    return {
        "model": network("model", 1.5, 0),
        "cnn": network("baseline", 0.8, 1),
        "shuffled": network("control", 0.0, 2),
        "gc": gc,
    }


def test_metrics_json_format(classifiers: dict[str, Classifier]) -> None:
    gc = {"train": np.linspace(0, 1, 50), "test": np.linspace(0, 1, 60)}
    summary = summarise(
        classifiers, LABELS, {"gc": gc}, EvaluationSection(bootstraps=20, gc_slices=3)
    )
    for split in ("valid", "test"):
        model, baselines, controls = (
            summary[split][name] for name in ("model", "baselines", "controls")
        )
        assert (set(baselines), set(controls)) == ({"cnn", "gc"}, {"shuffled"})
        for entry in (model, *baselines.values(), *controls.values()):
            for metric in RANGES:
                floor = {"floor"} if metric == "ece" else set()
                assert set(entry[metric]) == {"value", "low", "high"} | floor
        line = {"calibration_slope", "calibration_intercept"}
        assert set(model["calibrated"]) == {"brier", "ece"} | line
        assert (summary[split]["unit"], summary[split]["units"]) == ("records", len(LABELS[split]))
        assert "calibrated" not in baselines["gc"]
    assert [summary[split]["n"] for split in ("test", "valid")] == [60, 40]
    assert summary["test"]["positives"] == 30
    assert summary["differences"]["best_baseline"] == "cnn"
    assert set(summary["differences"]["baselines"]) == {"cnn", "gc"}
    lead = summary["differences"]["baselines"]["cnn"]["auroc"]
    model, cnn = summary["test"]["model"], summary["test"]["baselines"]["cnn"]
    assert lead["value"] == pytest.approx(model["auroc"]["value"] - cnn["auroc"]["value"])
    assert [entry["n"] for entry in summary["slices"]["gc"]] == [20, 20, 20]
    assert {"model", "cnn"} <= set(summary["slices"]["gc"][0])


def test_members_are_averaged_with_their_spread(classifiers: dict[str, Classifier]) -> None:
    singles = [network("model", 1.0, seed) for seed in (5, 6, 7)]
    members = {split: np.stack([single.logits[split] for single in singles]) for split in LABELS}  # type: ignore[index]
    together = Classifier.of_members("model", members, CALIBRATION)
    summary = summary_of(classifiers | {"model": together})
    means = {split: each.mean(axis=0) for split, each in members.items()}
    mean = Classifier.of_logits("model", means, CALIBRATION)
    for split in LABELS:
        np.testing.assert_array_equal(together.probabilities[split], mean.probabilities[split])
        assert set(summary[split]["members"]) == {"model"}  # the others are single networks
        found = summary[split]["members"]["model"]
        alone = [summary_of({"model": single})[split]["model"]["auroc"] for single in singles]
        assert found["each"] == pytest.approx([entry["value"] for entry in alone])
        bounds = (min(found["each"]), max(found["each"]))
        assert (found["metric"], found["min"], found["max"]) == ("auroc", *bounds)
        assert found["spread"] == pytest.approx(members[split].std(axis=0, ddof=1).mean())
    table = predictions_table(
        [f"r{i}" for i in range(60)], LABELS["test"], {"model": together}, "test"
    )
    assert list(table)[-3:] == ["model_logit", "model_calibrated", "model_spread"]


def test_single_networks_are_summarised_without_members(classifiers: dict[str, Classifier]) -> None:
    summary = summary_of(classifiers)
    assert not any("members" in summary[split] for split in LABELS)


def test_a_control_is_never_the_best_baseline(classifiers: dict[str, Classifier]) -> None:
    classifiers["shuffled"] = network("control", 5.0, 3)
    assert summary_of(classifiers)["differences"]["best_baseline"] == "cnn"


def test_network_alone_is_never_the_best_baseline(classifiers: dict[str, Classifier]) -> None:
    classifiers[NETWORK] = network("baseline", 5.0, 3)
    summary = summary_of(classifiers)
    auroc = {name: of["auroc"]["value"] for name, of in summary["test"]["baselines"].items()}
    assert max(auroc, key=lambda name: auroc[name]) == NETWORK
    assert summary["differences"]["best_baseline"] == "cnn"
    assert set(summary["differences"]["baselines"]) == {"cnn", "gc", NETWORK}


def test_calls_use_the_given_threshold() -> None:
    """No split may choose a threshold, although each prefers a lower one."""
    rng = np.random.default_rng(0)
    p = {split: rng.uniform(0.2, 0.4, len(y)) + 0.25 * y for split, y in LABELS.items()}
    classifiers = {"model": Classifier("model", p, 0.6), "other": Classifier("baseline", p, 0.6)}
    summary = summarise(
        classifiers,
        LABELS,
        {"gc": {"train": np.zeros(9), "test": np.zeros(60)}},
        EvaluationSection(bootstraps=5),
        {"chrom": np.full(60, "chr1", dtype=object)},
    )
    for split, y in LABELS.items():
        assert choose_threshold(p[split], y) < 0.5
        calls = p[split] >= 0.6
        expected = {"mcc": matthews_corrcoef, "accuracy": accuracy_score, "f1": f1_score}
        expected = {name: metric(y, calls) for name, metric in expected.items()}
        entries = [summary[split]["model"], summary[split]["baselines"]["other"]]
        assert [entry["threshold"] for entry in entries] == [0.6, 0.6]
        if split == "test":
            slices = [*summary["slices"]["gc"], *summary["groups"]["chrom"]["groups"]]
            entries += [of[name] for of in slices if of["n"] for name in ("model", "other")]
            assert len(entries) == 6
        for entry in entries:
            assert {name: entry[name]["value"] for name in expected} == pytest.approx(expected)


def test_threshold_makes_same_calls_before_calibration(classifiers: dict[str, Classifier]) -> None:
    model = classifiers["model"]
    calibrated = model.calibrated("test")
    assert calibrated is not None
    assert ((model.probabilities["test"] >= model.threshold) == (calibrated >= 0.6)).all()
    assert (calibrated >= 0.6).any()
    assert not np.allclose(calibrated, model.probabilities["test"])


def test_predictions_table_has_one_column_per_classifier(
    classifiers: dict[str, Classifier],
) -> None:
    table = predictions_table([f"r{i}" for i in range(60)], LABELS["test"], classifiers, "test")
    assert " ".join(table) == "id label model cnn shuffled gc model_logit model_calibrated"
    assert np.allclose(1 / (1 + np.exp(-table["model_logit"])), table["model"])


def test_a_copy_of_the_model_does_not_differ(classifiers: dict[str, Classifier]) -> None:
    """All classifiers are evaluated on the same resamples."""
    copy = replace(classifiers["model"], role="baseline")
    units = {split: Units.of(np.arange(len(y)) // 2, "pairs") for split, y in LABELS.items()}
    both, settings = {"model": classifiers["model"], "copy": copy}, EvaluationSection(bootstraps=20)
    for of_units in ({}, units):
        summary = summarise(both, LABELS, {}, settings, units=of_units)
        for lead in summary["differences"]["baselines"]["copy"].values():
            assert lead == {"value": 0, "low": 0, "high": 0, "p": 1}
    assert (summary["test"]["unit"], summary["test"]["units"]) == ("pairs", 30)


@pytest.mark.parametrize("seed", [0, 1])
def test_targets_are_compared_on_the_same_resamples(seed: int) -> None:
    rng = np.random.default_rng(seed)
    objective = objective_of(RegressionObjective(columns=("x",)))
    targets = {split: rng.normal(size=(50, 1)) for split in LABELS}
    better, worse = (
        {split: of + rng.normal(0, noise, of.shape) for split, of in targets.items()}
        for noise in (0.3, 3.0)
    )
    constant = {split: np.zeros_like(of) for split, of in targets.items()}
    summary = summarise_targets(
        objective,
        {"model": better, "copy": better, "worse": worse, "constant": constant},
        targets,
        EvaluationSection(bootstraps=50),
        dict.fromkeys(targets, Units.single(50)),
    )
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


def test_predictions_have_the_truth_and_the_best_baseline() -> None:
    table = target_predictions(
        ["a", "b"],
        pd.DataFrame({"structure": ["HE", ""]}, index=[7, 3]),
        {"model": [np.eye(2), np.eye(2)[[1]]], "simple": [np.eye(2)[[0, 0]], np.eye(2)[[0]]]},
        "HE",
    )
    assert table.to_dict("list") == {
        "id": ["a", "b"],
        "predicted": ["HE", "E"],
        "simple.predicted": ["HH", "H"],
        "true.structure": ["HE", ""],
    }
