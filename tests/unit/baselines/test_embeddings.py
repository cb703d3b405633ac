"""Test the linear model of the vectors of a frozen pretrained model."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from letters import ascii_of
from pretrained_folders import make_dnabert2, make_folder

from selfattn_bio import config, load
from selfattn_bio.baselines import BASELINES, Setup, embeddings, load_baseline, suitable
from selfattn_bio.baselines.embeddings import Embeddings, EmbeddingState
from selfattn_bio.errors import ModelFolderError
from selfattn_bio.model.pretrained.backbone import Backbone
from selfattn_bio.scoring.stack import Stack, load_stack
from selfattn_bio.sequence.alphabet import DNA, PROTEIN, RNA
from selfattn_bio.sequence.policy import SequencePolicy

NAME, POLICY = "pretrained_linear", SequencePolicy(PROTEIN)
SECTIONS = {
    "binary": config.BinaryObjective(),
    "regression": config.RegressionObjective(columns=("y",), center=(1.0,), scale=(2.0,)),
    "multiclass": config.MulticlassObjective(column="y", classes=("a", "b", "absent")),
    "multilabel": config.MultilabelObjective(columns=("a", "b")),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("esm") / "esm2", "esm2")


def records(number=160):
    """Return proteins and their labels; those with label 1 have a basic pattern."""
    rng, labels = np.random.default_rng(0), np.arange(number) % 2
    letters = [rng.choice(ascii_of(PROTEIN.letters), rng.integers(24, 40)) for _ in labels]
    for record in letters[1::2]:
        record[5:12] = ascii_of("PKKKRKV")
    return letters, labels


def fit(folder, section=None, targets=None):
    letters, labels = records()
    labels = labels if targets is None else targets
    setup = Setup(POLICY, section=section or SECTIONS["binary"], pretrained=str(folder))
    return BASELINES[NAME](setup).fit(letters[:80], labels[:80], letters[80:120], labels[80:120])


@pytest.mark.parametrize("kind", SECTIONS)
def test_planted_truth_of_each_objective_is_learned(folder, kind):
    letters, labels = records()
    targets = labels
    if kind == "regression":
        targets = np.where(labels, 5.0, 1.0)[:, None]
    elif kind == "multilabel":
        targets = np.stack([labels, 1.0 - labels], axis=1)
        targets[::9, 0] = np.nan
    baseline, again = (fit(folder, SECTIONS[kind], targets) for _ in range(2))
    predictions = baseline.predictions(letters[120:])
    assert np.array_equal(predictions, again.predictions(letters[120:]))
    found = baseline.setup.objective.measure(predictions, targets[120:])
    metric = {"regression": "pearson", "multiclass": "accuracy"}.get(kind, "auroc")
    assert found[metric] > 0.75
    assert baseline.chosen().keys() == {"C", "records"}


def test_the_pretrained_model_uses_the_given_device(folder, tmp_path, monkeypatch):
    baseline, moved = fit(folder), []
    baseline.save(tmp_path / "part")
    Stack((baseline,), np.ones((2, 1)), np.zeros(1)).save(tmp_path, "abc")
    sections = {"model": config.PretrainedModel(folder=str(folder)), "stack": {"parts": (NAME,)}}
    data = config.Data(alphabet="protein", positives=("a",), negatives=("b",))
    stack = load_stack(tmp_path, config.RunFile(data=data, **sections), "abc", "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(Backbone, "to", lambda self, device: moved.append(device))
    embeddings._opened_once.cache_clear()
    assert load(tmp_path / "part", device="cpu").outputs(records()[0][:2]).shape == (2, 1)
    assert load_baseline(tmp_path / "part").outputs(records()[0][:2]).shape == (2, 1)
    embeddings._opened_once.cache_clear()
    assert stack.outputs(np.zeros((2, 1)), records()[0][:2]).shape == (2, 1)
    embeddings._opened_once.cache_clear()
    assert moved == ["cpu", "cuda", "cpu"]


def test_the_default_device_is_no_other_model(folder, tmp_path):
    """`evaluate` fits on the default device, after it loaded the stack of a model on "cpu"."""
    baseline = fit(folder)
    baseline.save(tmp_path / "part")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    loaded = load_baseline(tmp_path / "part", device=device)
    assert loaded.fitted.model is baseline.fitted.model


def test_each_record_is_read_once(folder, monkeypatch):
    read, encode = [], Backbone.forward

    def counted(self, pieces, vectors=None):
        read.append(len(pieces.ids))
        return encode(self, pieces, vectors)

    copy = folder.parent / "copy"  # which no other test has opened
    shutil.copytree(folder, copy)
    monkeypatch.setattr(Backbone, "forward", counted)
    fit(copy, SECTIONS["multilabel"], np.stack([records()[1]] * 2, axis=1).astype(float))
    fit(copy)
    assert sum(read) == 120


def test_saved_form_refers_to_the_folder(folder, tmp_path):
    copy, (letters, _) = shutil.copytree(folder, tmp_path / "esm2"), records()
    baseline = fit(copy)
    baseline.save(tmp_path / "b")
    assert sum(path.stat().st_size for path in (tmp_path / "b").iterdir()) < 3_000
    expected = baseline.logits(letters)
    loaded = load_baseline(tmp_path / "b")
    assert np.array_equal(loaded.logits(letters), expected)
    assert loaded.fitted_as(baseline.setup)
    assert not loaded.fitted_as(replace(baseline.setup, pretrained="other"))
    (copy / "vocab.txt").write_text((copy / "vocab.txt").read_text() + "\n<new>")
    for problem in ("differs from that of the fit", "is missing"):
        with pytest.raises(ModelFolderError, match=f"model of the embeddings {problem}"):
            load_baseline(tmp_path / "b").logits(letters)
        shutil.rmtree(copy, ignore_errors=True)
    ((_, obstacle),) = [each for each in suitable(baseline.setup, letters) if each[0].name == NAME]
    assert obstacle == f"the pretrained model {str(copy)!r} is missing"
    assert NAME not in {kind.name for kind, _ in suitable(Setup(POLICY), letters)}


@pytest.mark.parametrize("family", ["dnabert", "nucleotide_transformer", "dnabert2"])
def test_best_substitutions_are_measured(tmp_path, family):
    """Byte-pair tokens have no gradients at letters, so that all substitutions are measured."""
    make = make_dnabert2 if family == "dnabert2" else lambda path: make_folder(path, family)
    rng, labels = np.random.default_rng(0), np.arange(60) % 2
    letters = [rng.choice(ascii_of("AGGT" if label else "ACCT"), 30) for label in labels]
    setup = Setup(SequencePolicy(DNA), "both", pretrained=str(make(tmp_path / family)))
    baseline = BASELINES[NAME](setup).fit(letters[:40], labels[:40], letters[40:], labels[40:])
    effects = baseline._effects(letters[:1], 0, None)[0]
    exact = baseline._rescored(letters[0], 0, np.arange(30))
    same = np.isclose(effects, exact, atol=1e-4 * np.abs(exact).max()).all(axis=1)
    number = len(same) if family == "dnabert2" else round(Embeddings.measured * len(same))
    assert same.sum() >= number
    fitted, weights = baseline.fitted, rng.normal(size=baseline.fitted.size)
    state = EmbeddingState(**vars(fitted.state) | {"scale": 2 * fitted.state.scale})
    given = (fitted, weights), (Embeddings(setup, state), 2 * weights)
    one, other = (each.weighted_effects(letters[0], of) for each, of in given)
    assert one is other is None if family == "dnabert2" else np.allclose(one, other)
    assert np.corrcoef(effects.ravel(), exact.ravel())[0, 1] > 0.5


def test_rna_is_read_by_a_model_of_dna(tmp_path):
    folder = make_folder(tmp_path / "nt", "nucleotide_transformer")
    rows = []
    for alphabet, texts in ((DNA, ("ACGTNACGTTT", "TTA")), (RNA, ("ACGUNACGUUU", "UUA"))):
        setup = Setup(SequencePolicy(alphabet), pretrained=str(folder))
        ((_, x),) = BASELINES[NAME].features.candidates(setup, [*map(ascii_of, texts)], True)
        rows.append(x)
    assert np.array_equal(*rows)
    assert rows[0].any()
