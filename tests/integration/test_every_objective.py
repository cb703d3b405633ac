"""Ingest, split, train, evaluate and score planted data with every objective."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import small_task as st
from commands import run

from selfattn_bio import ingest_files, load

LETTERS = np.array(list("ACGT"))
SEQUENCE = 'model.stem = { kind = "conv", token_dim = 8, kernel = 9, second_kernel = 3 }\n'
TRAINING = """
model.feedforward_dim = 32
training = { batch_size = 32, learning_rate = 5e-3, warmup_steps = 10, evaluate_every = 50 }
"""
AVERAGED = "training = { ema_decay = 0.9, label_smoothing = 0.0 }"


def plant(row, word, rng):
    at = rng.integers(0, len(row) - len(word))
    row[at : at + len(word)] = list(word)


@pytest.fixture
def workshop(here):
    """Return a function that writes a task, runs it and returns metrics.json of the test split."""

    def go(sequences, targets, changes, shift=4, steps=100):
        st.write_fasta("r.fa", ["".join(row) for row in sequences])
        data = 'sequences = "r.fa"'
        if targets is not None:
            write_targets(targets)
            data += ', targets = "t.tsv"'
        own = f"data = {{ {data} }}\ntraining = {{ max_steps = {steps}, shift = {shift} }}\n"
        Path("run.toml").write_text(st.small(TRAINING, AVERAGED, own, changes))
        st.run_steps("ingest split train evaluate")
        saved = [Path("model/provenance.json"), *Path("baselines").glob("*/baseline.json")]
        # only two classes and bins have a slope and a threshold
        assert [path for path in saved if "calibration" in st.read_json(path)] == []
        return st.read_json("metrics.json")["test"]

    return go


def write_targets(targets):
    number = len(next(iter(targets.values())))
    table = pd.DataFrame({"id": [f"r{i}" for i in range(number)], **targets})
    table.to_csv("t.tsv", sep="\t", index=False)


def score(sequences, model="model"):
    st.write_fasta("new.fa", sequences)
    run(f"score --model {model} --fasta new.fa --output scores.tsv")
    return st.read_tsv("scores.tsv")


def random_rows(number, rng, length=60):
    return rng.choice(LETTERS, (number, length))


def holding(words, length=60):
    """Return random bases, from another seed than the task's, with words at their positions."""
    row = np.random.default_rng(9).choice(LETTERS, length)
    for at, word in words.items():
        row[at : at + len(word)] = list(word)
    return "".join(row)


@pytest.mark.slow
def test_multiclass(workshop):
    rng, words = np.random.default_rng(0), {"none": "", "dref": "TATCGATA", "gaga": "GAGAGAGA"}
    rows, classes = random_rows(450, rng), np.array(list(words), dtype=object)[np.arange(450) % 3]
    for row, name in zip(rows, classes, strict=True):
        plant(row[:30], words[name], rng)
        plant(row[30:], words[name], rng)
    classes[::20] = None
    objective = "objective = { kind = 'multiclass', column = 'family' }\n"
    test = workshop(rows, {"family": classes}, objective + SEQUENCE)
    accuracy = test["model"]["accuracy"]["value"]
    assert accuracy > 0.75
    assert accuracy > test["baselines"]["constant"]["accuracy"]["value"] + 0.3
    assert test["baselines"]["kmer6_linear"]["mcc"]["value"] > 0.1
    words = ("TATCGATA", "GAGAGAGA")
    scores = score([holding({12: word, 42: word}) for word in words])
    probabilities = [f"probability_{name}" for name in ("dref", "gaga", "none")]
    assert list(scores) == ["file", "id", "predicted", *probabilities, "out_of_distribution"]
    assert scores["predicted"].tolist() == ["dref", "gaga"]


@pytest.mark.slow
def test_multilabel_with_missing_labels(workshop):
    rng = np.random.default_rng(1)
    rows, labels = random_rows(450, rng), rng.integers(0, 2, (450, 2)).astype(float)
    for row, (first, second) in zip(rows, labels, strict=True):
        if first:
            row[5:13] = list("TATCGATA")
        if second:
            row[30:38] = list("GAGAGAGA")
    labels[rng.random(labels.shape) < 0.2] = np.nan
    objective = "objective = { kind = 'multilabel', columns = ['dref', 'gaga'] }\n"
    test = workshop(rows, {"dref": labels[:, 0], "gaga": labels[:, 1]}, objective + SEQUENCE)
    assert test["model"]["auroc"]["value"] > 0.95
    assert test["baselines"]["constant"]["auroc"]["value"] == 0.5
    scores = score([holding({5: "TATCGATA"})])
    assert scores["predicted"][0] == "dref"
    assert float(scores["probability_dref"][0]) > 0.5 > float(scores["probability_gaga"][0])


@pytest.mark.slow
@pytest.mark.parametrize(  # mse is that of several objectives
    "loss", ["huber", pytest.param("poisson", marks=pytest.mark.long)]
)
def test_regression(workshop, loss):
    rng = np.random.default_rng(2)
    rows, counts = random_rows(450, rng, 80), rng.integers(0, 4, 450)
    for row, count in zip(rows, counts, strict=True):
        for place in range(count):
            row[20 * place + 3 : 20 * place + 11] = list("TATCGATA")
    other = np.where(rng.random(450) < 0.3, np.nan, 100.0 + 50 * counts)
    objective = f"kind = 'regression', columns = ['count', 'other'], loss = '{loss}'"
    changes = f"objective = {{ {objective} }}\n{SEQUENCE}"
    test = workshop(rows, {"count": counts, "other": other}, changes, steps=150)
    assert test["model"]["pearson"]["value"] > 0.85
    assert test["model"]["r2"]["value"] > (0.5 if loss != "poisson" else -1)
    assert test["baselines"]["constant"]["pearson"]["value"] is None
    table = st.read_tsv("predictions/test.tsv")
    assert table["true.count"].between(table["low_count"], table["high_count"]).mean() > 0.75
    scores = score([holding({}, 80), holding(dict.fromkeys((3, 23, 43), "TATCGATA"), 80)])
    assert list(scores) == ["file", "id", "count", "other", "out_of_distribution"]
    assert scores["other"][1] - scores["other"][0] > 50  # in the units of the table


SEVERAL = """
objective.kind = 'several'
objective.parts.activity = { kind = 'regression', columns = ['count'] }
objective.parts.family = { kind = 'multiclass', column = 'family', weight = 0.5 }
"""


def two_truths(number):
    """Simulate 0 to 3 GAGAGAGA, worth 50 each, and TATCGATA in half; many targets are missing."""
    rng = np.random.default_rng(6)
    rows = random_rows(number, rng, 80)
    counts, families = rng.integers(0, 4, number), rng.integers(0, 2, number)
    for row, count, family in zip(rows, counts, families, strict=True):
        for place in range(count):
            row[20 * place + 3 : 20 * place + 11] = list("GAGAGAGA")
        if family:
            row[68:76] = list("TATCGATA")
    counts = np.where(rng.random(number) < 0.3, np.nan, 100.0 + 50 * counts)
    names = np.array(["other", "dref"], dtype=object)[families]
    return rows, {"count": counts, "family": np.where(rng.random(number) < 0.5, None, names)}


@pytest.mark.slow
def test_several_objectives(workshop):
    test = workshop(*two_truths(450), SEVERAL + SEQUENCE)
    model, baselines = test["model"], test["baselines"]
    assert model["activity.pearson"]["value"] > 0.85
    assert model["family.mcc"]["value"] > 0.85
    both = [model[name]["value"] for name in ("activity.pearson", "family.mcc")]
    assert model["mean"]["value"] == pytest.approx(np.mean(both))
    assert baselines["constant"]["family.mcc"]["value"] == 0
    assert baselines["constant"]["activity.pearson"]["value"] is None
    assert baselines["kmer6_linear"]["activity.pearson"]["value"] > 0.3
    assert baselines["kmer6_linear"]["family.mcc"]["value"] > 0.3
    table = st.read_tsv("predictions/test.tsv")
    outputs = ["activity.count", "family.dref", "family.other"]
    best = st.read_json("metrics.json")["differences"]["best_baseline"]
    of_baseline = [f"{best}.{name}" for name in outputs]
    names = ["id", "family.predicted", *outputs, f"{best}.family.predicted", *of_baseline]
    assert list(table) == [*names, "true.count", "true.family"]
    assert {"valid_mean", "valid_activity.pearson", "valid_family.mcc"} < set(
        pd.read_csv("model/history.csv")
    )
    words = dict.fromkeys((3, 23, 43), "GAGAGAGA") | {68: "TATCGATA"}
    for scored in ("model", "baselines/exact_positions_linear"):
        scores = score([holding({}, 80), holding(words, 80)], scored)
        assert scores["family.predicted"].tolist() == ["other", "dref"]
        # in the units of the table
        assert scores["activity.count"][1] - scores["activity.count"][0] > 50


def test_accumulated_batches_of_several_parts_are_exact(here):
    # Each step sees all training records: as one batch, or as four batches of unequal size with
    # different fractions of known targets.
    rows, targets = two_truths(48)
    st.write_fasta("r.fa", ["".join(row) for row in rows])
    write_targets(targets)
    ingest_files("r.fa", "corpus", "dna", targets="t.tsv")
    st.write_split(".", np.where(np.arange(48) % 4 == 0, "valid", "train"))
    training = "max_steps = 4, evaluate_every = 1, learning_rate = 5e-3, warmup_steps = 1"
    data, found = 'data = { sequences = "r.fa", targets = "t.tsv" }\n', []
    for cut in ("batch_size = 36", "batch_size = 10, accumulate = 4"):
        training_of = f"training = {{ {training}, precision = '32-true', {cut} }}\n"
        model = st.fit(".", st.small_run(data + SEVERAL + training_of), f"model-{len(found)}")
        found.append(pd.read_csv(model / "history.csv")["train_loss"])
    one, four = found
    assert one[3] < one[0]
    assert list(one) == pytest.approx(list(four), rel=1e-4)


@pytest.mark.slow
def test_labels_per_base(workshop):
    rng = np.random.default_rng(3)
    rows = random_rows(300, rng)
    # the base two positions before
    labels = ["--" + "".join("i" if before == "G" else "o" for before in row[:-2]) for row in rows]
    labels[::10] = [None] * len(labels[::10])
    changes = "tokens.k = 1\nobjective = { kind = 'labels', column = 'inside', classes = 'io' }\n"
    changes += "stack.parts = ['window_trees']\n"
    test = workshop(rows, {"inside": labels}, changes, shift=0, steps=400)
    assert test["model"]["mcc"]["value"] > 0.9
    assert test["baselines"]["window_logistic"]["mcc"]["value"] > 0.9
    assert test["baselines"]["network"]["mcc"]["value"] > 0.9
    assert test["baselines"]["constant"]["mcc"]["value"] == 0
    assert load("model").stack.parts[0].name == "window_trees"
    row = holding({})
    expected = ["i" if before == "G" else "o" for before in row[:-2]]
    for scored in ("model", "baselines/window_trees"):
        predicted = score([row], scored)["predicted"][0]
        assert len(predicted) == 60
        assert np.mean(np.array(list(predicted[2:])) == expected) > 0.9


@pytest.mark.slow
def test_masked_language_model(workshop):
    rng = np.random.default_rng(4)
    rows = np.array([np.roll(np.tile(list("ACGGTC"), 10), rng.integers(6)) for _ in range(300)])
    noise = rng.random(rows.shape) < 0.05
    rows[noise] = rng.choice(LETTERS, int(noise.sum()))
    test = workshop(rows, None, "objective.kind = 'masked'\ntokens.k = 2\n", steps=250)
    unigram = test["baselines"]["unigram"]["perplexity"]["value"]
    assert test["model"]["perplexity"]["value"] < 0.6 * unigram
    assert test["model"]["accuracy"]["value"] > 0.5


@pytest.mark.slow
def test_causal_language_model(workshop):
    # 0.811 bits per base
    rng, follows = np.random.default_rng(5), {"A": "CCCG", "C": "GGGT", "G": "TTTA", "T": "AAAC"}
    rows = np.empty((300, 60), dtype="<U1")
    for row in rows:
        row[0] = rng.choice(LETTERS)
        for i in range(1, 60):
            row[i] = rng.choice(list(follows[row[i - 1]]))
    pattern = "model.pattern = { kind = 'full', causal = true }\n"
    test = workshop(rows, None, "objective.kind = 'causal'\ntokens.k = 1\n" + pattern)
    assert test["model"]["bits_per_letter"]["value"] == pytest.approx(0.811, abs=0.1)
    assert test["baselines"]["markov"]["bits_per_letter"]["value"] == pytest.approx(0.811, abs=0.05)
