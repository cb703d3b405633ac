"""Train, resume, evaluate, score and explain a network that a user's own code builds."""

import os
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import selfattn_bio as sb
from selfattn_bio.attribution.methods import AttnLRP, Guided, IntegratedGradients, Saturation
from selfattn_bio.cli.main import main
from selfattn_bio.errors import (
    ArgumentError,
    ModelFolderError,
    RunFileError,
    TrainingInterrupted,
    UserModuleError,
)
from selfattn_bio.model.user_module import VARIABLE
from selfattn_bio.training.messages import Messages

WORD, NAME = "GGTCACACTGTA", "users_detector:build"
NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
MODULE = '''
import torch
from torch import nn


class Detector(nn.Module):
    """The strongest response of some detectors, anywhere in the sequence."""

    def __init__(self, vocabulary_size, num_outputs, width):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, 16, padding_idx=0)
        self.detect = nn.Conv1d(16, width, 11, padding=5)
        self.out = nn.Linear(width, num_outputs)

    def embed(self, tokens):
        return self.embedding(tokens)

    def classify(self, embeddings, mask):
        x = (embeddings * mask[..., None]).transpose(1, 2)
        return self.out(self.detect(x).relu().amax(-1))

    def forward(self, tokens, mask):
        return self.classify(self.embed(tokens), mask)


class OutputsOnly(nn.Module):
    def __init__(self, detector):
        super().__init__()
        self.detector = detector

    def forward(self, tokens):
        return self.detector(tokens, tokens != 0)


def build(vocabulary_size, num_outputs, width=32):
    return Detector(vocabulary_size, num_outputs, width)


def build_plain(vocabulary_size, num_outputs):
    return OutputsOnly(Detector(vocabulary_size, num_outputs, 32))


def build_wrong(vocabulary_size, num_outputs):
    return nn.Linear(vocabulary_size, num_outputs).weight


def build_tied(vocabulary_size, num_outputs):
    network = Detector(vocabulary_size, num_outputs, 32)
    network.again = nn.Linear(16, vocabulary_size, bias=False)
    network.again.weight = network.embedding.weight
    return network
'''
RUN_FILE = """
[data]
positives = "p.fa"
negatives = "n.fa"
[split]
kind = "chromosome"
valid = ["c2"]
test = ["c3"]
[model]
kind = "module"
module = "users_detector:build"
settings = { width = 24 }
[training]
max_steps = 120
warmup_steps = 10
evaluate_every = 60
checkpoint_every = 60
batch_size = 32
learning_rate = 0.01
[interpret]
max_sequences = 60
database = "none"
caller = { kind = "clusters" }
[variants]
"""


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """Return the folder of a task with a trained model."""
    folder = tmp_path_factory.mktemp("task")
    rng = np.random.default_rng(0)
    for name, word in (("p", WORD), ("n", "")):
        lines = []
        for i in range(180):
            row, at = "".join(rng.choice(list("ACGT"), 60)), int(rng.integers(5, 40))
            lines.append(
                f">{name}{i} chrom=c{i % 3 + 1}\n{row[:at]}{word}{row[at + len(word) :]}\n"
            )
        (folder / f"{name}.fa").write_text("".join(lines))
    (folder / "users_detector.py").write_text(MODULE)
    (folder / "run.toml").write_text(RUN_FILE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv(VARIABLE, "")
        patch.setattr(sys, "path", [*sys.path])
        run = sb.read_run_file("run.toml")
        corpus = sb.ingest(run, "corpus")
        sb.allow_module(NAME)
        sb.train(run, corpus, sb.split(run, corpus, "split.tsv"), "model", threads=1)
    return folder


@pytest.fixture(autouse=True)
def nothing_is_allowed(monkeypatch, task):
    monkeypatch.chdir(task)
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.setattr(sys, "path", [*sys.path])


@pytest.fixture
def allowed():
    sb.allow_module(NAME)


def inputs():
    return sb.read_run_file("run.toml"), sb.Corpus.open("corpus"), "split.tsv"


def run_file(name, *changes):
    """Write a copy of the run file with some texts replaced, and read it."""
    text = RUN_FILE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    Path(name).write_text(text)
    return sb.read_run_file(name)


def test_module_is_evaluated_and_scored(allowed):
    found = sb.evaluate(*inputs(), "model").metrics["test"]["model"]
    assert found["auroc"]["value"] > 0.95
    table = sb.score_sequences("model", ["ACGT" * 6 + WORD + "ACGT" * 6, "ACGT" * 15])
    assert table["probability"].iloc[0] > 0.5 > table["probability"].iloc[1]
    assert "A network built by `users_detector:build` that reads DNA" in (
        Path("model/README.md").read_text()
    )


def test_motif_of_module_is_supported(allowed):
    explanation = sb.explain_records(*inputs(), "model")
    motifs = sb.find_motifs(*inputs(), "model", explanation)
    assert motifs.table["verdict"].iloc[0] == "supported"
    assert WORD[2:-2] in motifs["motif_01"].consensus


@pytest.mark.parametrize("method", [Saturation(), Guided(), IntegratedGradients()])
def test_methods_find_planted_word(method):
    model = sb.load("model", allow_module=NAME)
    sequence = "ACGT" * 6 + WORD + "ACGT" * 6
    attribution = sb.explain(model, [sequence], method=method).attribution[0]
    assert 24 <= int(attribution.argmax()) < 36


def test_methods_with_rules_for_layers_are_refused():
    model = sb.load("model", allow_module=NAME)
    with pytest.raises(ArgumentError, match="'attnlrp' cannot explain 'users_detector:build'"):
        sb.explain(model, ["ACGT" * 15], method=AttnLRP())
    with pytest.raises(RunFileError, match="'attnlrp' cannot explain model kind 'module'"):
        run_file("lrp.toml", ("[interpret]", '[interpret]\nmethod = { kind = "attnlrp" }'))


def test_module_without_embeddings_is_explained_by_its_outputs():
    run = run_file("plain.toml", ("build", "build_plain"), ("settings = { width = 24 }", ""))
    name = "users_detector:build_plain"
    model = sb.train(run, *inputs()[1:], "plain", threads=1, allow_module=name)
    sequence = ["ACGT" * 6 + WORD + "ACGT" * 6]
    assert 24 <= int(sb.explain(model, sequence).attribution[0].argmax()) < 36
    with pytest.raises(ArgumentError, match="needs the methods embed and classify"):
        sb.explain(model, sequence, method=Guided())
    explanation = sb.explain_records(run, *inputs()[1:], "plain")
    motifs = sb.find_motifs(run, *inputs()[1:], "plain", explanation)
    assert motifs.table["verdict"].iloc[0] == "supported"


def test_resumed_training_writes_the_same_weights(allowed, monkeypatch, caplog):
    run, corpus, split = inputs()

    def stop(self, trainer):
        if trainer.progress.step == 60:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Messages, "progress", stop)
        with pytest.raises(TrainingInterrupted):
            sb.train(run, corpus, split, "resumed", threads=1)
    caplog.set_level("INFO", "selfattn_bio")
    sb.train(run, corpus, split, "resumed", threads=1)
    assert "resuming from the checkpoint of step 60" in caplog.text
    resumed, uninterrupted = (
        load_file(Path(folder) / "model.safetensors") for folder in ("resumed", "model")
    )
    assert all(torch.equal(resumed[name], uninterrupted[name]) for name in uninterrupted)


def test_model_folder_that_names_a_module_is_refused():
    message = (
        "model: this model runs the code of 'users_detector:build', which is not allowed. If you "
        "trust it, use --allow-module users_detector:build, or in Python"
    )
    for read in (sb.load, lambda path: sb.score_sequences(path, ["ACGT" * 15])):
        with pytest.raises(ModelFolderError, match=message):
            read("model")
    with pytest.raises(ModelFolderError, match="not allowed"):
        sb.load("model", allow_module="users_detector:build_plain")


def test_run_file_that_names_a_module_is_refused(capsys):
    imported = Path("users_marker.imported")
    Path("users_marker.py").write_text(f"{MODULE}\nopen({str(imported)!r}, 'w').close()\n")
    section = '[variants.x.model]\nkind = "module"\nmodule = "users_marker:build"\n'
    run_file(
        "marker.toml", ("[variants]", section), ("= 120", "= 20"), ("every = 60", "every = 20")
    )
    line = Path("marker.toml").read_text().splitlines().index('module = "users_marker:build"') + 1
    options = ["--run-file", "marker.toml", "--variant", "x", "--threads", "1"]
    train = ["train", *options, "--corpus", "corpus", "--split", "split.tsv", "--output", "marker"]
    for command in (train, ["plan", *options, "--length", "60"]):
        assert main(command) == 1
        assert (
            f"marker.toml:{line}: this model runs the code of 'users_marker:build', which is not "
            "allowed. If you trust it, use --allow-module users_marker:build, or in Python "
            "selfattn_bio.allow_module('users_marker:build')\n"
        ) in capsys.readouterr().err
        assert not imported.exists()
    assert main([*train, "--allow-module", "users_marker:build"]) == 0
    assert imported.exists()


def test_commands_need_the_name_of_the_module(capsys):
    Path("new.fa").write_text(f">a\n{'ACGT' * 6}{WORD}{'ACGT' * 6}\n")
    command = ["score", "--model", "model", "--fasta", "new.fa", "--output", "scores.tsv"]
    assert main(command) == 1
    assert "which is not allowed. If you trust it, use --allow-module" in capsys.readouterr().err
    assert main([*command, "--allow-module", NAME]) == 0
    assert pd.read_csv("scores.tsv", sep="\t")["probability"].iloc[0] > 0.5


def test_changed_source_is_refused(tmp_path, monkeypatch):
    shutil.copytree("model", tmp_path / "model")
    (tmp_path / "users_detector.py").write_text(MODULE + "\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "users_detector", raising=False)
    with pytest.raises(
        ModelFolderError, match=r"the source of 'users_detector:build' \(\w+\) is not the one of"
    ):
        sb.load("model", allow_module=NAME)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("users_detector:build", "no_such_file:build", "there is no module 'no_such_file'"),
        ("detector:build", "detector:built", "'users_detector' has no function 'built'"),
        ("width", "depth", "cannot be called with vocabulary_size, num_outputs, depth"),
        ("settings = { width = 24 }", "", "returned Parameter; expected an nn.Module"),
        (
            "settings = { width = 24 }",
            "",
            r"weights embedding\.weight and again\.weight are the same tensor",
        ),
    ],
)
def test_unsuitable_modules_are_refused(old, new, message):
    changes = [(old, new)]
    if "Parameter" in message:
        changes.append((":build", ":build_wrong"))
    if "tensor" in message:
        changes.append((":build", ":build_tied"))
    run = run_file("wrong.toml", *changes)
    with pytest.raises(RunFileError, match=message):
        sb.train(run, *inputs()[1:], "wrong", threads=1, allow_module=run.model.module)


def test_wrong_shape_of_outputs_is_refused():
    Path("users_shape.py").write_text(MODULE.replace("amax(-1)", "amax(-1)[:1]"))
    run = run_file("shape.toml", ("users_detector", "users_shape"))
    with pytest.raises(
        RunFileError, match=r"users_shape\.py: .* returned \(1, 1\); expected a tensor of shape"
    ):
        sb.train(run, *inputs()[1:], "shape", threads=1, allow_module=run.model.module)


def test_error_of_forward_stops_the_training(capsys):
    text = MODULE.replace("relu()", "relu_twice()")
    Path("users_error.py").write_text(text)
    run = run_file("error.toml", ("users_detector", "users_error"))
    line = text[: text.index("relu_twice")].count("\n") + 1
    message = (
        f"{Path('users_error.py').resolve()}:{line}: forward of 'users_error:build' failed with "
        "AttributeError: 'Tensor' object has no attribute 'relu_twice'. Correct the code, or "
        "[model] settings"
    )
    with pytest.raises(UserModuleError) as caught:
        sb.train(run, *inputs()[1:], "error", threads=1, allow_module=run.model.module)
    assert str(caught.value) == message
    assert isinstance(caught.value.__cause__, AttributeError)
    command = "train --run-file error.toml --corpus corpus --split split.tsv --output error"
    assert main([*command.split(), "--threads", "1"]) == 1
    assert capsys.readouterr().err == f"selfattn-bio train: error: {message}\n"


def test_classify_without_outputs_is_refused():
    model = sb.load("model", allow_module=NAME)
    network = model.network
    tokens = torch.full((2, 9), 4)
    network.members[0].classify = lambda embeddings, mask: None
    with pytest.raises(
        RunFileError, match=r"returned NoneType; expected a tensor of shape \(2, 1\)"
    ):
        network.classify(network.embed(tokens), tokens != 0)


def test_attention_notebook_runs_an_allowed_module(monkeypatch):
    model = sb.load("model", allow_module=NAME)
    sb.explain(model, ["ACGT" * 15]).save("attribution")
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.setattr("IPython.display.display", lambda shown: None)
    text = (NOTEBOOKS / "attention.py").read_text(encoding="utf-8")
    text = text.replace("run_file = None", 'run_file = "run.toml"')
    with pytest.raises(ModelFolderError, match="which is not allowed"):
        exec(text, {})
    sb.allow_module(NAME)
    variables = {}
    exec(text, variables)
    assert variables["scorer"].run.model.module == "users_detector:build"
    assert variables["readings"] == []
