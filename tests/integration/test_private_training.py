"""Test private training: its budget, resuming, its model folder, and refused settings."""

import json
import random

import numpy as np
import pandas as pd
import pytest
import torch
from private_task import MODEL, PRIVACY, fit, run_file, trainer_of, write_task_of
from safetensors import safe_open
from safetensors.torch import load_file

from selfattn_bio import config
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.errors import TrainingError
from selfattn_bio.model.checkpoint import TRAINING_RECORDS
from selfattn_bio.scoring.loading import load
from selfattn_bio.scoring.reference import Reference
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.training import private
from selfattn_bio.training.private import check_layers
from selfattn_bio.training.trainer import Trainer


@pytest.fixture(autouse=True)
def fixed_secrets(monkeypatch):
    """Fix the secrets: with random ones, one batch in 460 is too small for the gradient tests."""
    monkeypatch.setattr(private.secrets, "randbits", random.Random(0).getrandbits)


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return write_task_of(tmp_path_factory)


@pytest.mark.parametrize(
    ("epsilon", "delta", "steps"), [(8.0, 1e-3, 100), (1.0, 1e-4, 30), (0.2, 1e-3, 3)]
)
def test_early_stop_spends_full_epsilon(task, epsilon, delta, steps):
    run = run_file(
        training={"max_steps": steps}, privacy=config.Privacy(epsilon=epsilon, delta=delta)
    )
    own, spent = trainer_of(task, run).steps, []
    for step in range(steps):
        own.finish_gradients(None, step)
        if step in (0, steps - 1):
            spent.append(own.provenance()["privacy"]["epsilon"])
    assert 0.97 * epsilon <= spent[0] == spent[-1] <= epsilon
    with private._narrow_orders():
        # for the steps that were taken
        assert own.accountant.get_epsilon(delta) == pytest.approx(spent[-1])
    # The older bound, from Rényi divergences, is slightly above it.
    from opacus.accountants import RDPAccountant

    other = RDPAccountant()
    other.history = own.accountant.history
    with private._narrow_orders():
        assert spent[-1] < other.get_epsilon(delta) * 1.01 + 0.01
        assert other.get_epsilon(delta) < 2 * spent[-1] + 0.5


class Stopped(Exception):
    pass


def test_private_training_resumes_bit_for_bit(task, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO", "selfattn_bio")
    monkeypatch.setattr(private.secrets, "randbits", lambda bits: 42)
    fit(task, tmp_path / "whole", run_file(dropout=0.2, attention_dropout=0.2))
    take_step = Trainer.take_step

    def stopping(self):
        take_step(self)
        if self.history.step == 5:
            raise Stopped

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "take_step", stopping)
        with pytest.raises(Stopped):
            fit(task, tmp_path / "cut", run_file(dropout=0.2, attention_dropout=0.2))
    monkeypatch.setattr(private.secrets, "randbits", lambda bits: 43)  # the secret of another run
    fit(task, tmp_path / "cut", run_file(dropout=0.2, attention_dropout=0.2))
    assert "resuming from the checkpoint of step 4" in caplog.text
    whole, cut = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    told = [
        json.loads((tmp_path / name / "provenance.json").read_text())["privacy"]
        for name in ("whole", "cut")
    ]
    assert told[0] == told[1]
    assert told[0]["steps"] == 6
    assert 0 < told[0]["epsilon"] <= 8
    fit(task, tmp_path / "other", run_file(dropout=0.2, attention_dropout=0.2))
    other = load_file(tmp_path / "other" / "model.safetensors")
    # same seed, another secret
    assert not torch.equal(whole["embedding.weight"], other["embedding.weight"])


def test_private_folder_omits_training_data(task, tmp_path, caplog):
    caplog.set_level("INFO", "selfattn_bio")
    fit(task, tmp_path / "model", run_file())
    said = caplog.text
    assert "private: epsilon 8 at delta 0.001 after 6 steps" in said
    assert " spent; model in" in said
    assert " loss " not in said
    assert "train_loss" not in pd.read_csv(tmp_path / "model" / "history.csv")
    # validation records only
    assert len(pd.read_parquet(tmp_path / "model" / TRAINING_RECORDS)) == 12
    provenance = json.loads((tmp_path / "model" / "provenance.json").read_text())
    assert "num_positive" not in provenance
    with safe_open(
        next((tmp_path / "model.checkpoints").glob("step-*6.*")), framework="pt"
    ) as file:
        secret = json.loads(file.metadata()["state"])["steps"]["secret"]
    assert len(secret) > 50
    assert not any(
        secret.encode() in path.read_bytes()
        for path in (tmp_path / "model").iterdir()
        if path.is_file()
    )
    card = (tmp_path / "model" / "README.md").read_text()
    assert f"epsilon {provenance['privacy']['epsilon']:.3g} at delta 0.001, after 6 steps" in card
    assert "lists the validation records, but no training records" in card
    model = load(tmp_path / "model")
    assert np.isfinite(model.logits([np.frombuffer(b"ACGTACGTACGT", np.uint8)])).all()
    corpus = Corpus.open(task / "corpus")
    valid, train = (
        [corpus.letters(row) for row in range(48) if (row % 4 == 0) is is_valid]
        for is_valid in (True, False)
    )
    alone, both = (Reference.of(DNA, letters, valid, {}) for letters in (valid, train))
    found = model.reference
    assert np.array_equal(found.chain, alone.chain)
    assert np.array_equal(found.limits, alone.limits)
    assert (found.center, found.simplest) == (alone.center, alone.simplest)
    assert not np.array_equal(found.limits, both.limits)


def test_private_language_model(task, tmp_path):
    data = config.Data(sequences=("a",))
    run = config.RunFile(
        data=data,
        objective=config.MaskedObjective(),
        **run_file().model_dump(include={"model", "training", "privacy"}),
    )
    fit(task, tmp_path / "model", run)
    assert json.loads((tmp_path / "model" / "provenance.json").read_text())["privacy"]["steps"] == 6


def test_private_gates_and_exits(task, tmp_path):
    run = run_file(
        training={"max_steps": 2},
        num_layers=2,
        gates=config.HardConcreteGates(),
        exits=config.ConfidenceExitsSection(),
    )
    fit(task, tmp_path / "model", run)
    assert json.loads((tmp_path / "model" / "provenance.json").read_text())["privacy"]["steps"] == 2


def test_weak_delta_and_full_batches_are_refused(task, tmp_path):
    with pytest.raises(
        TrainingError, match=r"privacy.delta = 0.05 is too large: .* records = 0.028"
    ):
        fit(task, tmp_path / "model", run_file(privacy=config.Privacy(epsilon=1.0, delta=0.05)))
    with pytest.raises(
        TrainingError,
        match=r"training.batch_size \(36\) must be less than the number of training records \(36\)",
    ):
        fit(task, tmp_path / "model", run_file(training={"batch_size": 36}))


def test_private_training_refuses_several_processes(task, monkeypatch):
    monkeypatch.setattr("lightning_fabric.Fabric.world_size", 2)
    with pytest.raises(
        TrainingError,
        match=r"\[privacy\] needs a single process, but 2 were started. Start it without torchrun",
    ):
        trainer_of(task, run_file())


def test_private_training_names_batch_norm():
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    with pytest.raises(
        TrainingError,
        match=r"\[privacy\] does not support BatchNorm1d \('1'\), which .*\. Use model.stem",
    ):
        check_layers(network, "")


def test_trainer_refuses_hidden_batch_norm(task):
    stem = config.ConvStemSection(token_dim=4, kernel=5, second_kernel=3)
    # bypasses the check of the run file
    run = run_file().model_copy(update={"model": config.AttentionModel(**MODEL | {"stem": stem})})
    with pytest.raises(
        TrainingError,
        match=r"\[privacy\] does not support BatchNorm \('members.0.stem",
    ):
        trainer_of(task, run)


REFUSED = {
    "model.kind 'cnn' cannot be used with [privacy], because its batch norms": {
        "model": config.CnnModel()
    },
    "model.stem kind 'conv' cannot be used with [privacy], because its batch norm mixes the "
    "records of a batch. Use model.stem = ": {"model": config.AttentionModel()},
    "model.stem kind 'tower' cannot be used": {
        "model": config.AttentionModel(stem=config.TowerStemSection())
    },
    "training.seeds cannot be used with [privacy], because each member would spend epsilon again": {
        "training": config.Training(seeds=2)
    },
    "training.accumulate cannot be used with [privacy]": {
        "training": config.Training(accumulate=4)
    },
    "training.clip_norm cannot be used with [privacy]": {
        "training": config.Training(clip_norm=2.0)
    },
    "training.class_weights cannot be used with [privacy]": {
        "training": config.Training(class_weights="balanced")
    },
    "training.precision '16-mixed' cannot be used with [privacy]": {
        "training": config.Training(precision="16-mixed")
    },
    "transfer.adapt 'gradual' cannot be used with [privacy]": {
        "transfer": config.Transfer(parent="other", adapt="gradual")
    },
    "objective.classes is required with [privacy]": {
        "objective": config.MulticlassObjective(column="c")
    },
    "objective.center is required with [privacy]": {
        "objective": config.RegressionObjective(columns=("c",))
    },
    "training.window cannot be used with [privacy]": {
        "training": config.Training(window=64),
        "objective": config.MaskedObjective(),
    },
}


@pytest.mark.parametrize("words", REFUSED)
def test_private_run_file_refusals(words):
    sections = {
        "model": config.AttentionModel(stem=config.NoStemSection()),
        "privacy": PRIVACY,
    } | REFUSED[words]
    learns = sections.get("objective")
    of = (
        {"sequences": ("a",), "targets": "t.tsv" if learns.target_columns else None}
        if learns
        else {"positives": ("a",), "negatives": ("b",)}
    )
    with pytest.raises(ValueError, match=r"with .privacy.|kind 'tower'") as error:
        config.RunFile(data=config.Data(**of), **sections)
    assert words in str(error.value)


def test_private_run_has_no_default_variants():
    assert run_file().variants == {}
    assert set(run_file(privacy=None).variants) == {"cnn", "shuffled"}
