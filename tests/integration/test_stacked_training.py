"""Train, evaluate, score and explain a stacked model as one model."""

import json
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from selfattn_bio import load, score_sequences
from selfattn_bio.attribution.explanation import Explanation
from selfattn_bio.baselines import BASELINES, Setup
from selfattn_bio.cli.main import main
from selfattn_bio.config import read_run_file
from selfattn_bio.evaluation.calibration import Calibration
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.scoring.stack import fitted_parts
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.policy import SequencePolicy
from selfattn_bio.study.evaluators import binary
from selfattn_bio.study.evaluators.candidates import Candidate
from selfattn_bio.training import finalize

RUN = """
split = { kind = "random", valid_fraction = 0.3, test_fraction = 0.3 }
tokens = { k = 1 }
stack = { parts = ["kmer6_logistic", "exact_positions"] }
evaluation = { bootstraps = 20 }
interpret = { max_sequences = 8, method = { kind = "gradient" } }
variants = {}

[data]
positives = "p.fa"
negatives = "n.fa"

[model]
kind = "attention"
members = 2
embed_dim = 8
num_layers = 1
num_heads = 2
feedforward_dim = 8
stem = { kind = "none" }

[training]
max_steps = 4
evaluate_every = 2
batch_size = 16
shift = 0
"""
NUMBER, LENGTH = 150, 24


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """Train and evaluate a task in a folder; positives have TATA at position 10."""
    folder = tmp_path_factory.mktemp("stacked")
    rng = np.random.default_rng(0)
    for name in "pn":
        rows = [list(rng.choice(list("ACGT"), LENGTH)) for _ in range(NUMBER)]
        for row in rows:
            row[10:14] = "TATA" if name == "p" else row[10:14]
        text = "".join(f">{name}{i}\n{''.join(row)}\n" for i, row in enumerate(rows))
        (folder / f"{name}.fa").write_text(text)
    (folder / "run.toml").write_text(RUN)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        shared = ["--run-file", "run.toml", "--corpus", "corpus", "--split", "split.tsv"]
        commands = [
            ["ingest", "--run-file", "run.toml", "--output", "corpus"],
            ["split", "--run-file", "run.toml", "--corpus", "corpus", "--output", "split.tsv"],
            ["train", *shared, "--threads", "1", "--output", "model"],
            ["evaluate", *shared, "--model", "model", "--output", "."],
            ["explain", *shared, "--model", "model", "--output", "attribution"],
        ]
        assert [main(each) for each in commands] == [0] * len(commands)
    return folder


def test_stack_beats_untrained_network(task):
    test = json.loads((task / "metrics.json").read_text())["test"]
    stack, network = (
        entry["auroc"]["value"] for entry in (test["model"], test["baselines"]["network"])
    )
    assert stack > 0.95
    assert network < stack


def test_evaluate_saves_stack_parts_as_baselines(task):
    part, baseline = (
        json.loads((task / folder / "baseline.json").read_text())
        for folder in ("model/stack/exact_positions", "baselines/exact_positions")
    )
    assert part["arrays_sha256"] == baseline["arrays_sha256"]


def test_score_uses_the_stack(task):
    model = load(task / "model")
    sequences = ["ACGTACGTACTATAGCGCATTACG", "ACGTACGTACGCGCGCGCATTACG"]
    table = score_sequences(model, sequences)
    letters = [np.frombuffer(text.encode(), np.uint8) for text in sequences]
    np.testing.assert_allclose(table["logit"], model.logits(letters), rtol=1e-6)
    assert table["logit"].iloc[0] > table["logit"].iloc[1]
    assert model.stack is not None


def test_predictions_use_the_stack(task):
    model = load(task / "model")
    table = pd.read_csv(task / "predictions" / "test.tsv", sep="\t").set_index("id")
    texts = dict(
        zip(*[iter((task / "p.fa").read_text().replace(">", "").split())] * 2, strict=True)
    )
    names = [name for name in table.index if name in texts]
    letters = [np.frombuffer(texts[name].encode(), np.uint8) for name in names]
    np.testing.assert_allclose(table.loc[names, "model_logit"], model.logits(letters), rtol=1e-4)


def test_parts_are_fitted_to_training_records(task):
    number = json.loads((task / "model" / "provenance.json").read_text())["num_train"]
    assert {part.records for part in fitted_parts(task / "model").values()} == {number}


def test_explain_includes_stack_parts(task):
    found = Explanation.load(task / "attribution")
    attribution = np.stack(found.attribution)
    planted = attribution[:, 10:14].mean()
    assert planted > 3 * np.delete(attribution, np.s_[10:14], axis=1).mean()


def test_pruned_models_keep_the_stack(task, tmp_path):
    """Prune a gated model together with its stack."""
    text = (
        (task / "run.toml")
        .read_text()
        .replace("members = 2", 'members = 1\ngates = { kind = "hard_concrete" }')
    )
    (task / "gated.toml").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(task)
        shared = ["--run-file", "gated.toml", "--corpus", "corpus", "--split", "split.tsv"]
        assert main(["train", *shared, "--threads", "1", "--output", str(tmp_path / "gated")]) == 0
    assert (
        main(["prune", "--model", str(tmp_path / "gated"), "--output", str(tmp_path / "small")])
        == 0
    )
    letters = [np.frombuffer(b"ACGTACGTACTATAGCGCATTACG", np.uint8)]
    assert fitted_parts(tmp_path / "small").keys() == fitted_parts(tmp_path / "gated").keys()
    before, after = (load(tmp_path / name).logits(letters) for name in ("gated", "small"))
    np.testing.assert_allclose(after, before, rtol=1e-4)


def test_stop_between_parts_keeps_checkpoint(task, tmp_path, monkeypatch):
    fitted = []

    def fit_and_stop(setup, name, *rest, fit=finalize.fit_part):
        fitted.append(name)
        if len(fitted) == 1:
            signal.raise_signal(signal.SIGTERM)
        return fit(setup, name, *rest)

    monkeypatch.setattr(finalize, "fit_part", fit_and_stop)
    monkeypatch.chdir(task)
    shared = ["--run-file", "run.toml", "--corpus", "corpus", "--split", "split.tsv"]
    command = ["train", *shared, "--threads", "1", "--output", str(tmp_path / "model")]
    assert main(command) == 128 + signal.SIGTERM
    assert fitted == ["kmer6_logistic"]
    assert not (tmp_path / "model").exists()
    assert main(command) == 0
    assert fitted[1:] == ["kmer6_logistic", "exact_positions"]
    again, first = (
        json.loads((folder / "provenance.json").read_text())["calibration"]
        for folder in (tmp_path / "model", task / "model")
    )
    assert again == first
    assert again["strands"] == "given"


def test_evaluate_runs_the_network_once(task, tmp_path, monkeypatch):
    asked = []

    def network_outputs(self, letters, batch_size=None, outputs=Scorer.network_outputs):
        asked.append(len(letters))
        return outputs(self, letters, batch_size)

    monkeypatch.setattr(Scorer, "network_outputs", network_outputs)
    monkeypatch.chdir(task)
    shared = ["--run-file", "run.toml", "--corpus", "corpus", "--split", "split.tsv"]
    assert main(["evaluate", *shared, "--model", "model", "--output", str(tmp_path / "out")]) == 0
    assert len(asked) == 2  # validation and test
    again, first = (
        json.loads((folder / "metrics.json").read_text())["test"]
        for folder in (tmp_path / "out", task)
    )
    assert again["model"] == first["model"]
    assert again["baselines"]["network"] == first["baselines"]["network"]


def test_network_alone_is_that_of_the_model(monkeypatch):
    """A stacked variant does not replace it."""
    run, model, rows = SimpleNamespace(is_control=lambda: False), np.arange(6.0), np.arange(6)

    def scorer(outputs):
        return SimpleNamespace(
            run=run,
            stack=True,
            calibration=Calibration(),
            network_outputs=lambda inputs: outputs[:, None, None],
            stacked=lambda network, inputs: network,
        )

    monkeypatch.setattr(binary, "inputs_by_split", lambda *_: {"valid": rows, "test": rows})
    labels = {"valid": np.array([0, 0, 1, 0, 1, 1]), "test": np.array([1, 1, 0, 1, 0, 0])}
    found = {}
    for name, outputs in (("model", model), ("other", -model)):
        candidate = SimpleNamespace(members=lambda outputs=outputs: [scorer(outputs)])
        found |= binary.score_networks(name, candidate, None, labels)
    assert found.keys() == {"model", "network", "other"}
    assert np.array_equal(found["network"].logits["test"], model)
    fitted = Calibration.fit(model, labels["valid"])
    assert found["network"].calibration == fitted
    assert found["network"].chosen["calibrated_threshold"] == fitted.threshold


@pytest.mark.parametrize("name", ["model", "network", "gc", "partner_composition"])
def test_variant_with_a_reserved_name_is_refused(task, name, monkeypatch, capsys):
    monkeypatch.chdir(task)
    shared = ["--run-file", "run.toml", "--corpus", "corpus", "--split", "split.tsv"]
    variant = ["--variant", f"{name}=model"]
    assert main(["evaluate", *shared, "--model", "model", *variant, "--output", "o"]) == 1
    assert f"'{name}' is the name of the model or of a baseline" in capsys.readouterr().err


def test_model_of_other_strands_is_refused(task, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(task)
    text = (task / "run.toml").read_text().replace(', "exact_positions"', "")
    Path("both.toml").write_text(text.replace("bootstraps", 'strands = "both", bootstraps'))
    shared = ["--run-file", "both.toml", "--corpus", "corpus", "--split", "split.tsv"]
    assert main(["evaluate", *shared, "--model", "model", "--output", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert "model: the model scores the given strand, but the run file both strands" in error


def test_part_with_other_settings_is_fitted_again(task):
    run = read_run_file(task / "run.toml")
    rng = np.random.default_rng(0)
    letters = {
        split: list(rng.choice(np.frombuffer(b"ACGT", np.uint8), (40, 24)))
        for split in ("train", "valid", "test")
    }
    labels = {split: np.arange(40) % 2 for split in letters}
    given, both = (
        BASELINES["kmer6_logistic"](Setup(SequencePolicy(DNA), strands)).fit(
            letters["train"], labels["train"], letters["valid"], labels["valid"]
        )
        for strands in ("given", "both")
    )
    for part in (given, both):
        fitted = binary.fit_baselines(DNA, letters, labels, run, {"kmer6_logistic": part})
        found = fitted["kmer6_logistic"].baseline
        assert found.setup.strands == "given"
        np.testing.assert_allclose(
            found.logits(letters["test"]), given.logits(letters["test"]), rtol=1e-6
        )


def test_sizes_count_parts_in_use(task, tmp_path):
    assert Candidate.of(task / "model").size() == {"networks": 2, "trainings": 1, "parts": 2}
    shutil.copytree(task / "model", tmp_path / "model")
    path = tmp_path / "model" / "stack" / "weights.json"
    stored = json.loads(path.read_text())
    stored["weights"] = {"network": stored["weights"]["network"]}
    path.write_text(json.dumps(stored))
    assert Candidate.of(tmp_path / "model").size() == {"networks": 2, "trainings": 1}
    assert load(tmp_path / "model").stack.parts == ()


@pytest.fixture
def train_second(task, tmp_path, monkeypatch):
    """Train the second of two members with the parts of the model; change the run file first."""
    monkeypatch.chdir(task)

    def train(*change):
        text = (
            (task / "run.toml")
            .read_text()
            .replace("max_steps", "seeds = 2\nmax_steps")
            .replace(*change)
        )
        (task / "second.toml").write_text(text)
        shared = [
            "--run-file",
            "second.toml",
            "--corpus",
            "corpus",
            "--split",
            "split.tsv",
            "--threads",
            "1",
        ]
        return main(
            [
                "train",
                *shared,
                "--member",
                "2",
                "--parts",
                "model",
                "--output",
                str(tmp_path / "second"),
            ]
        )

    return train


def test_second_member_reuses_parts_of_first(task, tmp_path, train_second, monkeypatch, capsys):
    monkeypatch.setattr(finalize, "fit_part", None)  # a call would fail
    assert train_second("", "") == 0
    assert (
        "stack: reusing logistic regression on exact positions of another member"
        in capsys.readouterr().out
    )
    first, second = (fitted_parts(folder) for folder in (task / "model", tmp_path / "second"))
    letters = [np.frombuffer(b"ACGTACGTACTATAGCGCATTACG", np.uint8)]
    assert first.keys() == second.keys() == {"kmer6_logistic", "exact_positions"}
    assert all(first[name].logits(letters) == second[name].logits(letters) for name in first)
    networks = {
        json.loads((folder / "provenance.json").read_text())["weights_sha256"]
        for folder in (task / "model", tmp_path / "second")
    }
    assert len(networks) == 2


def test_settings_that_parts_ignore_may_differ(train_second, tmp_path, monkeypatch):
    """Calibration uses held-out logits."""
    fits = []

    def record(network, parts, letters, labels, fit=finalize.fit_stack):
        fits.append((labels, fit(network, parts, letters, labels)[1]))
        return fit(network, parts, letters, labels)

    monkeypatch.setattr(finalize, "fit_stack", record)
    monkeypatch.setattr(finalize, "fit_part", None)  # a call would fail
    assert train_second("bootstraps = 20", "bootstraps = 30") == 0
    [(labels, held_out)] = fits
    stored = json.loads((tmp_path / "second" / "provenance.json").read_text())["calibration"]
    assert stored == {**vars(Calibration.fit(held_out, labels)), "strands": "given"}


def test_parts_of_another_run_are_refused(task, train_second, monkeypatch, capsys):
    assert train_second("max_steps", 'labels = "shuffled"\nmax_steps') == 1
    assert "fitted with another value of training.labels" in capsys.readouterr().err
    assert train_second('"exact_positions"', '"kmer6_positional_logistic"') == 1
    assert "its stack has no part 'kmer6_positional_logistic'" in capsys.readouterr().err
    both = 'parts = ["kmer6_logistic"] }\nevaluation = { strands = "both", bootstraps = 20 }'
    parts = 'parts = ["kmer6_logistic", "exact_positions"] }\nevaluation = { bootstraps = 20 }'
    assert train_second(parts, both) == 1
    assert (
        "part 'kmer6_logistic' of its stack was fitted with other strands"
        in capsys.readouterr().err
    )
    assert train_second('["kmer6_logistic", "exact_positions"]', "[]") == 1
    assert (
        "parts of another member need [stack] parts, which this run does not have"
        in capsys.readouterr().err
    )
