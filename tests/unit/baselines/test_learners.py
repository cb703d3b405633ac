"""Test that linear models and trees learn every kind of target, and trees against LightGBM."""

import re
from dataclasses import replace

import lightgbm
import numpy as np
import pytest
from letters import ascii_of

from selfattn_bio import config
from selfattn_bio.arrays import object_array
from selfattn_bio.baselines import BASELINES, Setup, suitable
from selfattn_bio.baselines.blocks import KmerSlots
from selfattn_bio.baselines.forest import LEAF, MOST_LEAVES, TILE, Forest
from selfattn_bio.baselines.trees import Trees
from selfattn_bio.objectives.base import Answer
from selfattn_bio.objectives.loss import UNKNOWN
from selfattn_bio.sequence.alphabet import DNA, PROTEIN
from selfattn_bio.sequence.policy import SequencePolicy

PARTS = {
    "class": config.MulticlassPart(column="c", classes=("a", "b", "absent", "d")),
    "mark": config.MultilabelPart(columns=("x", "same")),
    "number": config.RegressionPart(columns=("z",), center=(10.0,), scale=(2.0,)),
    "count": config.RegressionPart(columns=("n",), center=(0.0,), scale=(1.0,), loss="poisson"),
    "far": config.RegressionPart(columns=("f",), center=(0.0,), scale=(1.0,), loss="huber"),
}
TYPES = [("class", int), ("mark", float, (2,))]
TYPES += [(name, float, (1,)) for name in ("number", "count", "far")]
LABELS = config.LabelsObjective(column="s", classes="HE")


def setup_of(section, alphabet=DNA):
    return Setup(SequencePolicy(alphabet), threads=1, section=section)


@pytest.fixture(autouse=True)
def few_trees(monkeypatch):
    for kind in BASELINES.values():
        if isinstance(getattr(kind, "learner", None), Trees):
            monkeypatch.setattr(kind, "learner", replace(kind.learner, rounds=60))


def several_targets(number=300):
    """Return records with one of three motifs at a fixed position, and targets that follow it."""
    rng = np.random.default_rng(0)
    letters = [rng.choice(np.frombuffer(b"ACGT", np.uint8), 40) for _ in range(number)]
    motifs = [np.frombuffer(text, np.uint8) for text in (b"TATCGATA", b"GGGCGGGG", b"ACCAACCA")]
    which = rng.integers(3, size=number)
    for row, motif in zip(letters, which, strict=True):
        row[16:24] = motifs[motif]
    targets = np.empty(number, dtype=TYPES)
    targets["class"] = np.array([0, 1, 3])[which]
    targets["mark"] = np.stack([which == 0, np.ones(number)], axis=1)
    targets["number"] = 10 + 2.0 * which[:, None]
    targets["count"] = rng.poisson(np.array([1, 4, 16])[which])[:, None]
    targets["far"] = 3.0 * which[:, None]
    targets["far"][::20] = 30
    for name, unknown in (("class", UNKNOWN), ("mark", np.nan), ("number", np.nan)):
        targets[name][rng.random(number) < 0.2] = unknown  # ignored by fits and metrics
    return letters, targets


@pytest.mark.parametrize("name", ["kmer6_linear", "kmer6_trees", "exact_positions_trees"])
def test_every_kind_of_target_is_learned(name):
    letters, targets = several_targets()
    setup = setup_of(config.SeveralObjective(parts=PARTS))
    baseline, again = (
        BASELINES[name](setup).fit(letters[:180], targets[:180], letters[180:240], targets[180:240])
        for _ in range(2)
    )
    predictions = baseline.predictions(letters[240:])
    assert np.array_equal(predictions, again.predictions(letters[240:]))
    found = setup.objective.measure(predictions, targets[240:])
    assert found["class.accuracy"] > 0.95
    assert found["number.r2"] > 0.8
    assert found["count.pearson"] > 0.8
    if baseline.chosen().keys() & {"trees"}:
        assert found["far.spearman"] > 0.5
    one = baseline.setup.objective.output_measurer(predictions, targets[240:])(np.arange(60))
    assert one["mark.x", "auroc"] > 0.95
    assert predictions[:, 2].max() < 1e-3  # a class that does not occur
    assert predictions[:, 5].min() > 0.99  # a label that all records have
    assert predictions[:, 7].mean() == pytest.approx(targets["count"][240:].mean(), rel=0.3)


def test_constant_predicts_fractions_and_means():
    letters, targets = several_targets(100)
    setup = setup_of(config.SeveralObjective(parts=PARTS))
    constant = BASELINES["constant"](setup).fit(letters, targets, letters, targets)
    (found,) = constant.predictions(letters[:1])
    known = targets["class"][targets["class"] != UNKNOWN]
    means = [np.nanmean(targets[name], axis=0) for name in ("mark", "number", "count", "far")]
    expected = [*(np.mean(known == i) for i in range(4)), *np.concatenate(means)]
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", ["window_logistic", "window_trees"])
def test_labels_follow_their_neighbours(name):
    rng, setup = np.random.default_rng(0), setup_of(LABELS)
    letters = [rng.choice(np.frombuffer(b"ACGT", np.uint8), length) for length in range(20, 60)]
    labels = object_array([np.where(np.roll(row, 1) == ord("G"), 0, 1) for row in letters])
    for row in labels:
        row[0] = UNKNOWN  # its neighbour is outside
    baseline = BASELINES[name](setup).fit(letters[:25], labels[:25], letters[25:30], labels[25:30])
    predictions = baseline.predictions(letters[30:])
    assert [len(rows) for rows in predictions] == [len(row) for row in letters[30:]]
    measured = setup.objective.measurer(predictions, labels[30:])(np.arange(10))
    assert measured["accuracy"] > 0.95


def test_additive_model_finds_effects_of_substitutions():
    rng, residues = np.random.default_rng(0), np.frombuffer(PROTEIN.letters.encode(), np.uint8)
    section = config.RegressionObjective(columns=("fitness",), center=(0.0,), scale=(2.0,))
    setup, wild_type, effects = setup_of(section, PROTEIN), residues, rng.normal(size=(20, 20))
    letters, values = [], []
    for _ in range(900):
        record, at = wild_type.copy(), rng.choice(20, 2, replace=False)
        to = rng.integers(20, size=2)
        record[at] = residues[to]
        letters.append(record)
        values.append([(effects[at, to] * (to != at)).sum()])
    reasons = {kind.name: why for kind, why in suitable(setup, letters)}
    assert not reasons["substitutions_linear"]
    targets = np.array(values)
    additive = BASELINES["substitutions_linear"](setup).fit(
        letters[:800], targets[:800], letters[800:], targets[800:]
    )
    (found,) = additive.substitution_effects([wild_type])
    found *= 2  # in units of the targets
    expected = effects * (1 - np.eye(20))
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.95
    assert found.std() == pytest.approx(expected.std(), rel=0.2)


@pytest.mark.parametrize(
    ("lengths", "reason"),
    [
        ((20, 20), r"records differ in \d+% of their letters from the commonest ones"),
        ((20, 21), "records differ in length, so they are not variants of one sequence"),
    ],
)
def test_other_records_are_no_variants(lengths, reason):
    rng = np.random.default_rng(0)
    letters = [rng.choice(np.frombuffer(b"ACGT", np.uint8), length) for length in lengths * 10]
    setup = setup_of(config.RegressionObjective(columns=("z",), center=(0.0,), scale=(1.0,)))
    found = BASELINES["substitutions_linear"].obstacle(setup, letters)
    assert re.fullmatch(reason, found)


def test_trees_need_few_outputs():
    columns = tuple(f"c{i}" for i in range(21))
    setup = setup_of(config.MultilabelObjective(columns=columns))
    found = {kind.name: why for kind, why in suitable(setup, several_targets(10)[0])}
    assert found["kmer6_trees"] == "the task has 21 outputs, more than 20"
    assert not found["kmer6_linear"]


def test_few_records_have_few_trees():
    x = np.random.default_rng(0).normal(size=(40, 3))
    answer = Answer("label", (x[:, 0] > 0).astype(float))  # separable, so it never stops early
    model, _ = Trees(leaves=2).fit(answer, answer, x, [x], 1)
    ((forest,),) = model.forests
    assert forest.num_trees == 100
    assert np.diff(forest.roots).max() == 3  # nodes of a tree with two leaves


# ------------ trees against LightGBM, and sums of k-mers against counts
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
    assert forest.features.tolist() == [LEAF]
    np.testing.assert_array_equal(forest.sums(x), booster.predict(x, raw_score=True))


def test_changes_equal_lightgbm():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 6)).round(1)  # ties with thresholds
    booster, _ = boosted(7, x)
    (forest,) = Forest.of(booster)
    changed = np.where(rng.random((300, 6)) < 0.4, rng.normal(size=(300, 6)).round(1), x[0])
    logits = booster.predict(np.vstack([x[:1], changed]), raw_score=True)
    found = forest.changes(x[0], changed.T)
    np.testing.assert_allclose(found, logits[1:] - logits[0], atol=1e-12)
    assert np.abs(found).max() > 0.1


def test_changes_of_trees_without_splits_are_0():
    booster, x = boosted(min_data_in_leaf=1000)
    (forest,) = Forest.of(booster)
    np.testing.assert_array_equal(forest.changes(x[0], x[:5].T), np.zeros(5))


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
