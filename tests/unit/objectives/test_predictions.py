"""Predictions, targets and metrics of the objectives other than two classes."""

import numpy as np
import pandas as pd
import pytest
from letters import ascii_of
from sklearn import metrics as sk

from selfattn_bio import config
from selfattn_bio.arrays import object_array
from selfattn_bio.config import EvaluationSection
from selfattn_bio.errors import CorpusError
from selfattn_bio.evaluation.calibration import Calibration
from selfattn_bio.evaluation.metrics import intervals
from selfattn_bio.evaluation.summary import resampled_metrics
from selfattn_bio.evaluation.units import Units
from selfattn_bio.objectives import objective_of
from selfattn_bio.objectives.loss import UNKNOWN
from selfattn_bio.objectives.multiclass import confusion, confusion_metrics
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.kmers import KmerTokenizer
from selfattn_bio.study.baselines import language_predictions, markov_nats, unigram_nats

CLASSES = objective_of(config.MulticlassObjective(column="c", classes=("a", "b")))
LABELS = objective_of(config.MultilabelObjective(columns=("x", "y")))
NUMBERS = objective_of(config.RegressionObjective(columns=("x",), center=(10.0,), scale=(2.0,)))
PARTS = {
    "class": config.MulticlassPart(column="c", classes=("a", "b")),
    "mark": config.MultilabelPart(columns=("x", "y")),
    "number": config.RegressionPart(columns=("z",), center=(10.0,), scale=(2.0,), weight=0.5),
}
SEVERAL = objective_of(config.SeveralObjective(parts=PARTS))
COUNTS = objective_of(NUMBERS.section.model_copy(update={"loss": "poisson"}))
LETTERS = objective_of(config.LabelsObjective(column="s", classes="HE"))
TYPES = [("class", int), ("mark", float, (2,)), ("number", float, (1,))]  # of SEVERAL
RECORDS = pd.DataFrame({"id": ["r0", "r1", "r2"], "length": [3, 2, 1]})


def test_targets_of_a_worked_table():
    table = pd.DataFrame({"c": ["b", None, "a"], "x": ["1", None, "0"], "y": ["0", "1", None]})
    table["s"] = ["HE-", None, "H"]
    assert CLASSES.targets(table[["c"]], RECORDS, "t").tolist() == [1, UNKNOWN, 0]
    labels = LABELS.targets(table[["x", "y"]], RECORDS, "t")
    np.testing.assert_array_equal(labels, [[1, 0], [np.nan, 1], [0, np.nan]])
    letters = [row.tolist() for row in LETTERS.targets(table[["s"]], RECORDS, "t")]
    assert letters == [[0, 1, UNKNOWN], [UNKNOWN, UNKNOWN], [0]]
    assert objective_of(config.MaskedObjective()).targets(table, RECORDS, "t").shape == (3, 0)
    incomplete = objective_of(config.MulticlassObjective(column="c"))
    assert incomplete.complete(table, RECORDS, "t") == CLASSES.section


def test_several_objectives_have_metrics_of_each():
    table = pd.DataFrame([["b", "1", "0", "8"], [None, None, "1", "12"], ["a", "0", "0", None]])
    table.columns = list("cxyz")
    number = config.RegressionPart(columns=("z",), weight=0.5)
    parts = PARTS | {"class": config.MulticlassPart(column="c"), "number": number}
    incomplete = objective_of(config.SeveralObjective(parts=parts))
    assert incomplete.complete(table, RECORDS, "t") == SEVERAL.section
    assert SEVERAL.section.target_columns == ("c", "x", "y", "z")
    assert SEVERAL.section.output_names == ("class.a", "class.b", "mark.x", "mark.y", "number.z")
    assert SEVERAL.slices == {"class": slice(0, 2), "mark": slice(2, 4), "number": slice(4, 5)}
    targets = SEVERAL.targets(table, RECORDS, "t")
    assert targets["class"].tolist() == [1, UNKNOWN, 0]
    np.testing.assert_array_equal(targets["mark"], [[1, 0], [np.nan, 1], [0, 0]])
    np.testing.assert_array_equal(targets[[2, 0]]["number"], [[np.nan], [8]])
    outputs = np.random.default_rng(0).normal(size=(3, 5))
    predictions = SEVERAL.predictions(outputs)
    found = SEVERAL.measure(predictions, targets)
    alone = {"class": (CLASSES, "mcc"), "mark": (LABELS, "auroc"), "number": (NUMBERS, "pearson")}
    for name, (objective, _) in alone.items():
        of_part = predictions[:, SEVERAL.slices[name]]
        expected = objective.predictions(outputs[:, SEVERAL.slices[name]])
        np.testing.assert_allclose(of_part, expected)
        for metric, value in objective.measure(of_part, targets[name]).items():
            assert found[f"{name}.{metric}"] == pytest.approx(value, nan_ok=True)
    mean = np.mean([found[f"{name}.{metric}"] for name, (_, metric) in alone.items()])
    assert found["mean"] == pytest.approx(mean)


@pytest.mark.parametrize(
    ("objective", "wanted"),
    [
        (CLASSES, {"predicted": ["b", "a", "a"]}),
        (LABELS, {"predicted": ["y", "none", "x; y"]}),
        (
            SEVERAL,
            {"class.predicted": ["b", "a", "a"], "mark.predicted": ["none", "x; y", "x; y"]},
        ),
        (NUMBERS, {}),
    ],
)
def test_evaluate_and_score_call_the_same(objective, wanted):
    outputs = np.array([[-1.0, 2, -3, -1, 9], [-1, -2, 3, 0, 9], [3, 0, 1, 1, 9]])
    outputs = outputs[:, : len(objective.section.output_names)]
    tables = [
        objective.prediction_columns(objective.predictions(outputs)),
        objective.columns(outputs[None], Calibration(), {}),
    ]
    for columns in tables:
        found = {name: of for name, of in columns.items() if name.endswith("predicted")}
        assert found == wanted


def test_split_needs_known_targets_of_each_part():
    table = pd.DataFrame({"c": ["b", "a"], "x": ["1", None], "y": ["0", "1"], "z": [None, None]})
    targets = SEVERAL.targets(table, RECORDS.iloc[:2], "t")
    message = "t.tsv: no record of the validation split has a value in column z"
    with pytest.raises(CorpusError, match=message):
        SEVERAL.check_split(targets, "valid", "t.tsv", "split.tsv")
    SEVERAL.parts["mark"].check_split(targets["mark"], "valid", "t.tsv", "split.tsv")


@pytest.mark.parametrize(
    ("objective", "known"),
    [
        (CLASSES, {"c": "a"}),
        (LABELS, {"x": "1", "y": "0"}),
        (NUMBERS, {"x": "3"}),
        (LETTERS, {"s": "EEE"}),
    ],
    ids=["class", "labels", "number", "positions"],
)
def test_validation_needs_different_targets(objective, known):
    """With one class, one label or one known number, all steps of a training are equally good."""
    table = pd.DataFrame([known, dict.fromkeys(known)])
    targets = objective.targets(table, RECORDS.iloc[:2], "t")
    objective.check_split(targets, "train", "t.tsv", "split.tsv")
    message = (
        f"t.tsv: the validation split has no two different values in column {' or '.join(known)}"
    )
    with pytest.raises(CorpusError, match=message):
        objective.check_split(targets, "valid", "t.tsv", "split.tsv")


def test_words_for_missing_numbers():
    table = pd.DataFrame({"x": ["1", "NA", " . ", "0"], "y": ["nan", "-", None, "1"]})
    expected = [[1, np.nan], [np.nan, np.nan], [np.nan, np.nan], [0, 1]]
    np.testing.assert_array_equal(LABELS.targets(table, table, "t.tsv"), expected)
    table = pd.DataFrame({"x": ["yes", "NA", " . ", "No"], "y": ["nan", "-", None, " TRUE"]})
    np.testing.assert_array_equal(LABELS.targets(table, table, "t.tsv"), expected)


@pytest.mark.parametrize(
    ("objective", "values", "message"),
    [
        (CLASSES, {"c": ["a", "z"]}, r"unknown class 'z' in column 'c' of record 'r1' \(known"),
        (
            LABELS,
            {"x": ["1", "2"], "y": ["0", "0"]},
            "'2' in column 'x' of record 'r1'; use 0 or 1",
        ),
        (NUMBERS, {"x": ["1.5", "many"]}, "'many' in column 'x' of record 'r1'; use a finite"),
        (NUMBERS, {"x": ["1.5", "-inf"]}, "invalid value '-inf' in column 'x'"),
        (NUMBERS, {"x": ["1.5", "1e308"]}, "'1e308' in column 'x' of record 'r1'"),
        (COUNTS, {"x": ["1", "-1"]}, "'-1' in column 'x' of record 'r1'; use a count of 0 or"),
        (SEVERAL, {"c": ["a"], "x": ["2"], "y": ["1"], "z": ["1"]}, "'2' in column 'x'"),
        (LETTERS, {"s": ["HEQ"]}, "'Q' in column 's' of record 'r0'; the labels are H, E and -"),
        (LETTERS, {"s": ["HEH", "H"]}, "record 'r1' has 2 positions, but labels for 1"),
    ],
)
def test_a_strange_value_is_named(objective, values, message):
    table = pd.DataFrame(values)
    with pytest.raises(CorpusError, match=message):
        objective.targets(table, RECORDS.iloc[: len(table)], "t.tsv")


def test_predictions_are_in_the_units_of_the_targets():
    for objective, outputs, expected in (
        (CLASSES, [0.0, np.log(3)], [0.25, 0.75]),
        (LABELS, [0.0, np.log(3)], [0.5, 0.75]),
        (NUMBERS, [1.5], [13.0]),
        (COUNTS, [0.0], [1.0]),
    ):
        np.testing.assert_allclose(objective.predictions(np.array([outputs])), [expected])


def test_metrics_of_worked_examples():
    predictions = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.5, 0.5]])
    found = CLASSES.measure(predictions, np.array([0, 1, 1, UNKNOWN]))
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["mcc"] == pytest.approx(0.5)
    assert np.isnan(list(CLASSES.measure(np.ones((1, 2)), np.array([UNKNOWN])).values())).all()
    p, truth = [[0.9, 0.5], [0.1, 0.5], [0.5, 0.5]], [[1, np.nan], [0, 1], [np.nan, 1]]
    labels = LABELS.measure(np.array(p), np.array(truth))
    # The second column has one label only and is left out of the mean
    assert labels == {"auroc": 1.0, "auprc": 1.0}
    targets = np.array([[2.0], [4.0], [6.0], [np.nan]])
    numbers = NUMBERS.measure(np.array([[1.0], [2.0], [3.0], [9.0]]), targets)
    assert numbers["pearson"] == pytest.approx(1)
    assert numbers["mse"] == pytest.approx((1 + 4 + 9) / 3)
    assert numbers["r2"] == pytest.approx(1 - 14 / 8)
    assert np.isnan(NUMBERS.measure(np.ones((3, 1)), np.arange(3.0)[:, None])["pearson"])


def test_metrics_of_classes_equal_scikit_learn():
    rng = np.random.default_rng(0)
    predictions, truth = rng.dirichlet(np.ones(4), 200), rng.integers(0, 3, 200)  # never class 3
    called = predictions.argmax(axis=1)
    found = confusion_metrics(confusion(predictions, truth))
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(truth, called))
    assert found["macro_f1"] == pytest.approx(sk.f1_score(truth, called, average="macro"))
    assert found["mcc"] == pytest.approx(sk.matthews_corrcoef(truth, called))
    targets, rows = np.where(truth == 2, UNKNOWN, truth), np.arange(200)[::2]
    found = CLASSES.output_measurer(predictions[:, :2], targets)(rows)
    known = rows[targets[rows] != UNKNOWN]
    called = predictions[known, :2].argmax(axis=1)
    expected = sk.precision_recall_fscore_support(targets[known], called)
    for metric, values in zip(("precision", "recall", "f1"), expected, strict=False):
        assert [found[name, metric] for name in ("a", "b")] == pytest.approx(values)
    alone = CLASSES.output_measurer(np.array([[1.0, 0.0]]), np.array([0]))(np.array([0]))
    assert np.isnan(alone["b", "recall"])


def test_intervals_hold_the_value():
    values, settings = np.random.default_rng(0).normal(size=200), EvaluationSection(bootstraps=300)

    def measured(rows):
        return {"mean": float(values[rows].mean()), "pearson": float("nan")}

    found = intervals(resampled_metrics(measured, Units.single(200), settings))
    low, value, high = (found["mean"][key] for key in ("low", "value", "high"))
    assert low < value < high
    assert high - low == pytest.approx(2 * 1.96 / np.sqrt(200), rel=0.2)
    assert found["pearson"] == {"value": None, "low": None, "high": None}


@pytest.mark.parametrize("name", ["mcc", "activity.macro_f1", ("heart", "f1")])
def test_intervals_stay_in_the_range_of_the_metric(name):
    right = np.arange(40) > 0  # one record is wrong, so that resamples reach 1

    def measured(rows):
        return {name: float(right[rows].mean())}

    found = resampled_metrics(measured, Units.single(40), EvaluationSection(bootstraps=200))
    interval = found[name].interval()
    assert interval["low"] < interval["value"] < interval["high"] == 1


def letters_of(*texts):
    return [ascii_of(text) for text in texts]


def test_markov_chain_predicts_next_token():
    def loss(train, valid, test):
        total, number = markov_nats(DNA, train, valid)(test)
        return total.sum() / number.sum()

    train, other = letters_of("ACGT" * 50, "CGTA" * 50), letters_of("GTAC" * 20)
    assert loss(train, train, other) < 0.1
    # too short for any context
    assert markov_nats(DNA, train, train)(letters_of("ACGT"))[1].tolist() == [0]
    rng = np.random.default_rng(0)
    # The order is chosen on sequences that were not counted
    random = [letters_of("".join(rng.choice(list("ACGT"), 4000))) for _ in range(3)]
    assert loss(*random) == pytest.approx(np.log(4), abs=0.02)


def test_token_frequencies():
    nats = unigram_nats(KmerTokenizer(DNA, 1), letters_of("A" * 300 + "C" * 100))
    total, number = nats(letters_of("AAAC", "AAAA"))
    assert number.tolist() == [4, 4]
    each = [-(3 * np.log(0.75) + np.log(0.25)) / 4, -np.log(0.75)]
    assert (total / 4).tolist() == pytest.approx(each, abs=0.02)


@pytest.mark.parametrize("kind", ["masked", "causal"])
def test_language_baselines_have_the_metrics_of_the_model(kind):
    """Three letters per predicted token, and an unknown number of correct tokens."""
    section = {"masked": config.MaskedObjective, "causal": config.CausalObjective}[kind]()
    objective, rng = objective_of(section), np.random.default_rng(0)
    rows = [letters_of("".join(rng.choice(list("ACGT"), 3000))) for _ in range(3)]
    letters = dict(zip(("train", "valid", "test"), rows, strict=True))
    tokenizer = KmerTokenizer(DNA, 3, 1 if kind == "masked" else 3)
    _, found = language_predictions(objective, tokenizer, letters)
    metrics = objective.measure(found["test"], None)
    assert np.isnan(metrics["accuracy"])
    assert metrics["perplexity"] == pytest.approx(64, rel=0.1)
    bits = {} if kind == "masked" else {"bits_per_letter": pytest.approx(2, abs=0.05)}
    assert {name: metrics[name] for name in list(metrics)[2:]} == bits


def test_metrics_of_each_column_are_those_of_the_column_alone():
    predictions = np.array([[0.1, 0.9], [0.9, 0.2], [0.4, 0.1]])
    targets = np.array([[0.0, 0.0], [1.0, 1.0], [0.0, np.nan]])
    found = LABELS.output_measurer(predictions, targets)(np.arange(3))
    assert found["x", "auroc"] == 1
    assert found["y", "auroc"] == 0
    assert set(found) == {(name, metric) for name in "xy" for metric in ("auroc", "auprc")}


def test_metrics_of_each_label_count_positions():
    predictions = [np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([[0.9, 0.1]])]
    targets = object_array([np.array([0, 0]), np.array([1])])
    found = LETTERS.output_measurer(predictions, targets)(np.array([0, 1]))
    assert (found["H", "recall"], found["H", "precision"], found["E", "f1"]) == (0.5, 0.5, 0)


def test_metrics_of_parts_have_their_names():
    predictions = np.array([[0.9, 0.1, 0.5, 0.5, 11.0], [0.1, 0.9, 0.2, 0.8, 9.0]])
    targets = np.array([(0, [1.0, 0.0], [11.0]), (1, [0.0, 1.0], [9.0])], dtype=TYPES)
    found = SEVERAL.output_measurer(predictions, targets)(np.arange(2))
    assert found["class.a", "f1"] == 1
    assert found["number.z", "mse"] == 0
    assert found["mark.y", "auroc"] == 1
