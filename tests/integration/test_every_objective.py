"""Ingest, split, train, evaluate and score planted data with every objective."""

import json
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from selfattn_bio import config
from selfattn_bio.cli.main import main
from selfattn_bio.data.ingest import build_corpus
from selfattn_bio.data.writer import RecordRules
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.training.loop import train

LETTERS = np.array(list("ACGT"))
MODEL = """
[model]
kind = "attention"
embed_dim = 16
num_layers = 1
num_heads = 2
feedforward_dim = 32
dropout = 0.0
members = 1
"""
SEQUENCE = "[model.stem]\nkind = 'conv'\ntoken_dim = 8\nkernel = 9\nsecond_kernel = 3\n"
TOKEN = "[model.stem]\nkind = 'none'\n"
TRAINING = """
[training]
max_steps = {steps}
batch_size = 32
learning_rate = 5e-3
warmup_steps = 10
evaluate_every = 50
ema_decay = 0.9
label_smoothing = 0.0
shift = {shift}
[evaluation]
bootstraps = 20
"""


def plant(row, word, rng):
    at = rng.integers(0, len(row) - len(word))
    row[at : at + len(word)] = list(word)
    return at


@pytest.fixture
def workshop(tmp_path, monkeypatch, capsys):
    """Return a function that writes a task, runs it and returns metrics.json and the output."""
    monkeypatch.chdir(tmp_path)

    def go(sequences, targets, run_file, shift=4, steps=150):
        (tmp_path / "s.fa").write_text(
            "".join(f">r{i}\n{''.join(row)}\n" for i, row in enumerate(sequences))
        )
        ingest = ["ingest", "--fasta", "s.fa", "--alphabet", "dna", "--output", "corpus"]
        data = '[data]\nsequences = "s.fa"\n'
        if targets is not None:
            pd.DataFrame({"id": [f"r{i}" for i in range(len(sequences))], **targets}).to_csv(
                "t.tsv", sep="\t", index=False
            )
            ingest += ["--targets", "t.tsv"]
            data += 'targets = "t.tsv"\n'
        (tmp_path / "run.toml").write_text(
            data + run_file + TRAINING.format(shift=shift, steps=steps)
        )
        common = ["--run-file", "run.toml", "--corpus", "corpus"]
        assert main(ingest) == 0
        assert main(["split", *common, "--output", "split.tsv"]) == 0
        assert (
            main(["train", *common, "--split", "split.tsv", "--threads", "1", "--output", "model"])
            == 0
        )
        assert (
            main(["evaluate", *common, "--split", "split.tsv", "--model", "model", "--output", "."])
            == 0
        )
        print(capsys.readouterr().out)
        return json.loads((tmp_path / "metrics.json").read_text())["test"]

    return go


def score(sequences):
    Path("new.fa").write_text("".join(f">n{i}\n{row}\n" for i, row in enumerate(sequences)))
    assert main(["score", "--model", "model", "--fasta", "new.fa", "--output", "scores.tsv"]) == 0
    return pd.read_csv("scores.tsv", sep="\t")


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
    test = workshop(
        rows,
        {"family": classes},
        "[objective]\nkind = 'multiclass'\ncolumn = 'family'\n" + MODEL + SEQUENCE,
    )
    assert test["model"]["accuracy"]["value"] > 0.75
    assert (
        test["model"]["accuracy"]["value"]
        > test["baselines"]["constant"]["accuracy"]["value"] + 0.3
    )
    assert test["baselines"]["kmer6_linear"]["mcc"]["value"] > 0.1
    scores = score(
        [holding({12: "TATCGATA", 42: "TATCGATA"}), holding({12: "GAGAGAGA", 42: "GAGAGAGA"})]
    )
    assert list(scores) == [
        "file",
        "id",
        "predicted",
        "probability_dref",
        "probability_gaga",
        "probability_none",
        "unlike",
    ]
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
    objective = "[objective]\nkind = 'multilabel'\ncolumns = ['dref', 'gaga']\n"
    test = workshop(
        rows, {"dref": labels[:, 0], "gaga": labels[:, 1]}, objective + MODEL + SEQUENCE
    )
    assert test["model"]["auroc"]["value"] > 0.95
    assert test["baselines"]["constant"]["auroc"]["value"] == 0.5
    scores = score([holding({5: "TATCGATA"})])
    assert float(scores["probability_dref"][0]) > 0.5 > float(scores["probability_gaga"][0])


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["mse", "huber", "poisson"])
def test_regression(workshop, loss):
    rng = np.random.default_rng(2)
    rows, counts = random_rows(450, rng, 80), rng.integers(0, 4, 450)
    for row, count in zip(rows, counts, strict=True):
        for place in range(count):
            row[20 * place + 3 : 20 * place + 11] = list("TATCGATA")
    other = np.where(rng.random(450) < 0.3, np.nan, 100.0 + 50 * counts)
    objective = f"[objective]\nkind = 'regression'\ncolumns = ['count', 'other']\nloss = '{loss}'\n"
    test = workshop(rows, {"count": counts, "other": other}, objective + MODEL + SEQUENCE)
    assert test["model"]["pearson"]["value"] > 0.85
    assert test["model"]["r2"]["value"] > (0.5 if loss != "poisson" else -1)
    assert test["baselines"]["constant"]["pearson"]["value"] is None
    scores = score([holding({}, 80), holding(dict.fromkeys((3, 23, 43), "TATCGATA"), 80)])
    assert list(scores) == ["file", "id", "count", "other", "unlike"]
    assert scores["other"][1] - scores["other"][0] > 50  # in the units of the table


SEVERAL = """
[objective]
kind = 'several'
[objective.parts.activity]
kind = 'regression'
columns = ['count']
[objective.parts.family]
kind = 'multiclass'
column = 'family'
weight = 0.5
"""


def two_truths(number):
    """Simulate 0 to 3 GAGAGAGA, worth 50 each, and TATCGATA in half; many targets are missing."""
    rng = np.random.default_rng(6)
    rows, counts, families = (
        random_rows(number, rng, 80),
        rng.integers(0, 4, number),
        rng.integers(0, 2, number),
    )
    for row, count, family in zip(rows, counts, families, strict=True):
        for place in range(count):
            row[20 * place + 3 : 20 * place + 11] = list("GAGAGAGA")
        if family:
            row[68:76] = list("TATCGATA")
    counts = np.where(rng.random(number) < 0.3, np.nan, 100.0 + 50 * counts)
    names = np.where(
        rng.random(number) < 0.5, None, np.array(["other", "dref"], dtype=object)[families]
    )
    return rows, {"count": counts, "family": names}


@pytest.mark.slow
def test_several_objectives(workshop):
    test = workshop(*two_truths(450), SEVERAL + MODEL + SEQUENCE)
    model, baselines = test["model"], test["baselines"]
    assert model["activity.pearson"]["value"] > 0.85
    assert model["family.mcc"]["value"] > 0.85
    assert model["mean"]["value"] == pytest.approx(
        (model["activity.pearson"]["value"] + model["family.mcc"]["value"]) / 2
    )
    assert baselines["constant"]["family.mcc"]["value"] == 0
    assert baselines["constant"]["activity.pearson"]["value"] is None
    assert baselines["kmer6_linear"]["activity.pearson"]["value"] > 0.3
    assert baselines["kmer6_linear"]["family.mcc"]["value"] > 0.3
    table = pd.read_csv("predictions/test.tsv", sep="\t")
    outputs = ["activity.count", "family.dref", "family.other"]
    of_baseline = [f"kmer6_linear.{name}" for name in outputs]
    assert list(table) == ["id", *outputs, *of_baseline, "true.count", "true.family"]
    assert {"valid_mean", "valid_activity.pearson", "valid_family.mcc"} < set(
        pd.read_csv("model/history.csv")
    )
    scores = score(
        [holding({}, 80), holding(dict.fromkeys((3, 23, 43), "GAGAGAGA") | {68: "TATCGATA"}, 80)]
    )
    assert scores["family.predicted"].tolist() == ["other", "dref"]
    assert (
        scores["activity.count"][1] - scores["activity.count"][0] > 50
    )  # in the units of the table


def test_accumulated_batches_of_several_parts_are_exact(tmp_path):
    # Each step sees all training records: as one batch, or as four batches of unequal size with
    # different fractions of known targets.
    rows, targets = two_truths(48)
    names = [f"r{i}" for i in range(48)]
    (tmp_path / "s.fa").write_text(
        "".join(f">{name}\n{''.join(row)}\n" for name, row in zip(names, rows, strict=True))
    )
    pd.DataFrame({"id": names, **targets}).to_csv(tmp_path / "t.tsv", sep="\t", index=False)
    corpus = build_corpus(
        [(tmp_path / "s.fa", None)], tmp_path / "corpus", RecordRules(DNA), tmp_path / "t.tsv"
    )
    splits = np.where(np.arange(48) % 4 == 0, "valid", "train")
    pd.DataFrame({"id": names, "split": splits, "reason": ""}).to_csv(
        tmp_path / "split.tsv", sep="\t", index=False
    )
    found = []
    for cut in ("batch_size = 36", "batch_size = 10\naccumulate = 4"):
        training = (
            "[training]\nmax_steps = 4\nevaluate_every = 1\nlearning_rate = "
            f"5e-3\nwarmup_steps = 1\nprecision = '32-true'\n{cut}\n"
        )
        data = "[data]\nsequences = 's.fa'\ntargets = 't.tsv'\n"
        run = config.RunFile.model_validate(
            tomllib.loads(data + SEVERAL + MODEL + TOKEN + training)
        )
        train(run, corpus, tmp_path / "split.tsv", tmp_path / f"model-{len(found)}", threads=1)
        found.append(pd.read_csv(tmp_path / f"model-{len(found)}" / "history.csv")["train_loss"])
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
    objective = "[objective]\nkind = 'labels'\ncolumn = 'inside'\nclasses = 'io'\n[tokens]\nk = 1\n"
    test = workshop(rows, {"inside": labels}, objective + MODEL + TOKEN, shift=0, steps=400)
    assert test["model"]["mcc"]["value"] > 0.9
    assert test["baselines"]["window_logistic"]["mcc"]["value"] > 0.9
    assert test["baselines"]["constant"]["mcc"]["value"] == 0
    row = holding({})
    predicted = score([row])["predicted"][0]
    assert len(predicted) == 60
    assert (
        np.mean(
            [
                label == ("i" if before == "G" else "o")
                for label, before in zip(predicted[2:], row, strict=False)
            ]
        )
        > 0.9
    )


@pytest.mark.slow
def test_masked_language_model(workshop):
    rng = np.random.default_rng(4)
    rows = np.array([np.roll(np.tile(list("ACGGTC"), 10), rng.integers(6)) for _ in range(300)])
    noise = rng.random(rows.shape) < 0.05
    rows[noise] = rng.choice(LETTERS, int(noise.sum()))
    test = workshop(
        rows, None, "[objective]\nkind = 'masked'\n[tokens]\nk = 2\n" + MODEL + TOKEN, steps=400
    )
    assert (
        test["model"]["perplexity"]["value"]
        < 0.6 * test["baselines"]["unigram"]["perplexity"]["value"]
    )
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
    objective = (
        "[objective]\nkind = 'causal'\n[tokens]\nk = 1\n[model.pattern]\nkind = "
        "'full'\ncausal = true\n"
    )
    test = workshop(rows, None, objective + MODEL + TOKEN)
    assert test["model"]["bits_per_letter"]["value"] == pytest.approx(0.811, abs=0.1)
    assert test["baselines"]["markov"]["bits_per_letter"]["value"] == pytest.approx(0.811, abs=0.05)
