"""Train, resume, evaluate, score and explain a network that a user's own code builds."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import small_task as st
import torch
from commands import exit_code, run

import selfattn_bio as sb
from selfattn_bio.attribution.methods import AttnLRP, Guided, IntegratedGradients, Saturation
from selfattn_bio.errors import ArgumentError, ModelFolderError, RunFileError, UserModuleError
from selfattn_bio.model.user_module import VARIABLE

WORD, NAME = "GGTCACACTGTA", "users_detector:build"
SETTINGS = (", settings = { width = 24 }", "")
SEQUENCES = ["ACGT" * 6 + WORD + "ACGT" * 6, "ACGT" * 15]
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
data = { positives = "p.fa", negatives = "n.fa" }
split = { kind = "chromosome", valid = ["c2"], test = ["c3"] }
interpret = { max_sequences = 60, database = "none", caller = { kind = "clusters" } }
model = { kind = "module", module = "users_detector:build", settings = { width = 24 } }
[training]
max_steps = 120
warmup_steps = 10
evaluate_every = 60
checkpoint_every = 60
batch_size = 32
learning_rate = 0.01
[variants]
"""


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """Return the folder of a task with a trained model."""
    folder = tmp_path_factory.mktemp("task")
    rng = np.random.default_rng(0)
    classes = {"p": st.planted_texts(rng, 180, 60, WORD), "n": st.random_texts(rng, 180, 60)}
    for name, texts in classes.items():
        lines = (f">{name}{i} chrom=c{i % 3 + 1}\n{text}\n" for i, text in enumerate(texts))
        (folder / f"{name}.fa").write_text("".join(lines))
    (folder / "users_detector.py").write_text(MODULE)
    (folder / "run.toml").write_text(RUN_FILE)
    with pytest.MonkeyPatch.context() as patch:
        enter(patch, folder)
        sb.allow_module(NAME)
        st.run_steps("ingest split train")
    return folder


@pytest.fixture(autouse=True)
def nothing_is_allowed(monkeypatch, task):
    enter(monkeypatch, task)


def enter(patch, folder):
    """Go to a folder, and allow no module."""
    patch.chdir(folder)
    patch.setenv(VARIABLE, "")
    patch.setattr(sys, "path", [*sys.path])


@pytest.fixture
def allowed():
    sb.allow_module(NAME)


@pytest.fixture
def other(tmp_path):
    """Return a function that copies the task without a model, with changes of its run file."""

    def other(*changes):
        text = RUN_FILE
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        folder = st.copy_task(Path(), tmp_path / "other")
        for module in folder.glob("*.py"):  # that of the current folder is used
            module.unlink()
        (folder / "run.toml").write_text(text)
        return sb.Study(folder)

    return other


def test_module_is_evaluated_and_scored(allowed):
    found = sb.Study(".").evaluate().metrics["test"]["model"]
    assert found["auroc"]["value"] > 0.95
    table = sb.score_sequences("model", SEQUENCES)
    assert table["probability"].iloc[0] > 0.5 > table["probability"].iloc[1]
    card = Path("model/README.md").read_text()
    assert 'module = "users_detector:build"' in card


def test_motif_of_module_is_supported(allowed):
    study = sb.Study(".")
    study.explain()
    motifs = study.find_motifs()
    assert motifs.table["verdict"].iloc[0] == "supported"
    assert WORD[2:-2] in motifs["motif_01"].consensus


@pytest.mark.parametrize("method", [Saturation(), Guided(), IntegratedGradients()])
def test_methods_find_planted_word(method):
    model = sb.load("model", allow_module=NAME)
    attribution = sb.explain(model, SEQUENCES[:1], method=method).attribution[0]
    assert 24 <= int(attribution.argmax()) < 36


def test_methods_with_rules_for_layers_are_refused(other):
    model = sb.load("model", allow_module=NAME)
    with pytest.raises(ArgumentError, match="'attnlrp' cannot explain 'users_detector:build'"):
        sb.explain(model, SEQUENCES, method=AttnLRP())
    with pytest.raises(RunFileError, match="'attnlrp' cannot explain model kind 'module'"):
        other(("max_sequences = 60", 'method = { kind = "attnlrp" }'))


def test_module_without_embeddings_is_explained_by_its_outputs(other):
    study = other(("build", "build_plain"), SETTINGS)
    sb.allow_module("users_detector:build_plain")
    model = study.train(threads=1)
    assert 24 <= int(sb.explain(model, SEQUENCES[:1]).attribution[0].argmax()) < 36
    with pytest.raises(ArgumentError, match="without the methods embed and classify"):
        sb.explain(model, SEQUENCES[:1], method=Guided())
    study.explain()
    assert study.find_motifs().table["verdict"].iloc[0] == "supported"


def test_resumed_training_writes_the_same_weights(allowed, other, caplog):
    study = other()
    with st.stopped(60):
        study.train(threads=1)
    caplog.set_level("INFO", "selfattn_bio")
    study.train(threads=1)
    assert "resuming from the checkpoint of step 60" in caplog.text
    st.assert_same_weights(study.files.model, "model")


def test_model_folder_that_names_a_module_is_refused():
    message = f"model: this model runs the code of '{NAME}', which is not allowed. If you trust it"
    for read in (sb.load, lambda path: sb.score_sequences(path, SEQUENCES)):
        with pytest.raises(ModelFolderError, match=message):
            read("model")
    with pytest.raises(ModelFolderError, match="not allowed"):
        sb.load("model", allow_module="users_detector:build_plain")


def test_run_file_that_names_a_module_is_refused(other, capsys):
    imported = Path("users_marker.imported")
    Path("users_marker.py").write_text(f"{MODULE}\nopen({str(imported)!r}, 'w').close()\n")
    section = '[variants.x.model]\nkind = "module"\nmodule = "users_marker:build"\n'
    study = other(("[variants]", section), ("= 120", "= 20"), ("every = 60", "every = 20"))
    file = study.root.folder / "run.toml"
    line = file.read_text().splitlines().index('module = "users_marker:build"') + 1
    train = f"train {study.root.folder}/variants/x --threads 1"
    for command in (train, f"{train} --dry-run"):
        assert exit_code(command) == 1
        name = "users_marker:build"
        message = f"{file}:{line}: this model runs the code of '{name}', which is not allowed. If"
        error, python = capsys.readouterr().err, f"selfattn_bio.allow_module('{name}')"
        assert message in error
        assert f"use --allow-module {name}, or in Python {python}" in error
        assert not imported.exists()
    run(f"{train} --allow-module users_marker:build")
    assert imported.exists()


def test_commands_need_the_name_of_the_module():
    Path("new.fa").write_text(f">a\n{SEQUENCES[0]}\n")
    command = "score --model model --fasta new.fa --output scores.tsv"
    assert exit_code(command) == 1
    run(f"{command} --allow-module {NAME}")
    assert st.read_tsv("scores.tsv")["probability"].iloc[0] > 0.5


def test_changed_source_is_refused(tmp_path, monkeypatch):
    shutil.copytree("model", tmp_path / "model")
    (tmp_path / "users_detector.py").write_text(MODULE + "\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "users_detector", raising=False)
    with pytest.raises(ModelFolderError, match=f"the source of '{NAME}' .* is not the one of"):
        sb.load("model", allow_module=NAME)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([(NAME, "no_such_file:build")], "there is no module 'no_such_file'"),
        ([("detector:build", "detector:built")], "'users_detector' has no plain function 'built'"),
        ([("width", "depth")], "cannot be called with vocabulary_size, num_outputs, depth"),
        ([SETTINGS, (":build", ":build_wrong")], "returned Parameter; expected an nn.Module"),
        ([SETTINGS, (":build", ":build_tied")], r"and again\.weight are the same tensor"),
        ([("users_detector", "users_shape")], r"users_shape\.py: .* returned \(1, 1\); expected"),
    ],
)
def test_unsuitable_modules_are_refused(other, changes, message):
    Path("users_shape.py").write_text(MODULE.replace("amax(-1)", "amax(-1)[:1]"))
    study = other(*changes)
    sb.allow_module(study.run.model.module)
    with pytest.raises(RunFileError, match=message):
        study.train(threads=1)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("outputs.register_hook(lambda _: 1 / 0)", "training of {} failed with ZeroDivisionError"),
        ("self.requires_grad_(False)", "the module of {} returned a tensor without a gradient"),
        ("self.more = nn.Linear(1, 1)", "the module of {} returned outputs of 7 weights, but had"),
    ],
)
def test_errors_of_training_name_the_module(other, code, error):
    name, forward = "users_failure:build_plain", "self.detector(tokens, tokens != 0)"
    lines = f"outputs = {forward}\n        {code}\n        return outputs"
    Path("users_failure.py").write_text(MODULE.replace(f"return {forward}", lines))
    sys.modules.pop("users_failure", None)
    study = other((NAME, name), SETTINGS, ("= 120", "= 20"), ("every = 60", "every = 20"))
    sb.allow_module(name)
    message = rf"users_failure\.py(:\d+)?: {error.format(repr(name))}"
    with pytest.raises((RunFileError, UserModuleError), match=message):
        study.train(threads=1)


def test_classify_without_outputs_is_refused():
    model = sb.load("model", allow_module=NAME)
    network = model.network
    tokens = torch.full((2, 9), 4)
    network.members[0].classify = lambda embeddings, mask: None
    with pytest.raises(RunFileError, match=r"returned NoneType; expected a tensor of shape"):
        network.classify(network.embed(tokens), tokens != 0)
