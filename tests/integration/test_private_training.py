"""Test private training: its budget, resuming, its model folder, and refused settings."""

import json

import numpy as np
import pandas as pd
import pytest
import small_task as st
import torch
from safetensors import safe_open

from selfattn_bio import config
from selfattn_bio.errors import TrainingError
from selfattn_bio.model.checkpoint import TRAINING_RECORDS
from selfattn_bio.scoring.loading import load
from selfattn_bio.scoring.reference import Reference
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.training import private
from selfattn_bio.training.private import check_layers

pytestmark = pytest.mark.usefixtures("fixed_secrets")


@pytest.mark.parametrize(
    ("epsilon", "delta", "steps"), [(8.0, 1e-3, 20), (1.0, 1e-4, 30), (0.2, 1e-3, 3)]
)
def test_early_stop_spends_full_epsilon(private_task, epsilon, delta, steps):
    privacy = config.Privacy(epsilon=epsilon, delta=delta)
    run = st.private_run(training={"max_steps": steps}, privacy=privacy)
    own, spent = st.trainer_of(private_task, run).steps, []
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


def test_private_training_resumes_bit_for_bit(private_task, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO", "selfattn_bio")
    run, cut = st.private_run(dropout=0.2, attention_dropout=0.2), tmp_path / "cut"
    monkeypatch.setattr(private.secrets, "randbits", lambda bits: 42)
    whole = st.fit(private_task, run, tmp_path / "whole")
    with st.crashed(5):
        st.fit(private_task, run, cut)
    monkeypatch.setattr(private.secrets, "randbits", lambda bits: 43)  # the secret of another run
    st.fit(private_task, run, cut)
    assert "resuming from the checkpoint of step 4" in caplog.text
    st.assert_same_weights(whole, cut)
    told = [st.read_json(folder / "provenance.json")["privacy"] for folder in (whole, cut)]
    assert told[0] == told[1]
    assert told[0]["steps"] == 6
    assert 0 < told[0]["epsilon"] <= 8
    # same seed, another secret
    folders = (whole, st.fit(private_task, run, tmp_path / "other"))
    first, other = map(st.weights_of, folders)
    assert not torch.equal(first["embedding.weight"], other["embedding.weight"])


def test_private_folder_omits_training_data(private_task, tmp_path, caplog):
    caplog.set_level("INFO", "selfattn_bio")
    folder = st.fit(private_task, st.private_run(), tmp_path / "model")
    said = caplog.text
    assert "private: epsilon 8 at delta 0.001 after 6 steps" in said
    assert " spent; model in" in said
    assert " loss " not in said
    assert "train_loss" not in pd.read_csv(folder / "history.csv")
    # validation records only
    assert len(pd.read_parquet(folder / TRAINING_RECORDS)) == 12
    provenance = st.read_json(folder / "provenance.json")
    assert "num_positive" not in provenance
    # a fingerprint may also end with 6
    (last,) = (tmp_path / "model.checkpoints").glob("step-000000006.*")
    with safe_open(last, framework="pt") as file:
        secret = json.loads(file.metadata()["state"])["steps"]["secret"]
    assert len(secret) > 50
    files = [path.read_bytes() for path in folder.iterdir() if path.is_file()]
    assert not any(secret.encode() in content for content in files)
    model = load(folder)
    assert np.isfinite(model.logits([np.frombuffer(b"ACGTACGTACGT", np.uint8)])).all()
    valid, train = (st.letters_of(private_task, split) for split in ("valid", "train"))
    alone, both = (Reference.of(DNA, letters, valid, {}) for letters in (valid, train))
    found = model.reference
    assert np.array_equal(found.chain, alone.chain)
    assert np.array_equal(found.limits, alone.limits)
    assert (found.center, found.simplest) == (alone.center, alone.simplest)
    assert not np.array_equal(found.limits, both.limits)


def test_private_language_model(private_task, tmp_path):
    sections = st.private_run().model_dump(include={"model", "training", "privacy"})
    data, objective = config.Data(sequences=("a",)), config.MaskedObjective()
    run = config.RunFile(data=data, objective=objective, **sections)
    model = st.fit(private_task, run, tmp_path / "model")
    assert st.read_json(model / "provenance.json")["privacy"]["steps"] == 6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"privacy": config.Privacy(epsilon=1.0, delta=0.05)}, r"too large: .* records = 0.028"),
        ({"training": {"batch_size": 36}}, r"must be less than .* training records \(36\)"),
    ],
)
def test_weak_delta_and_full_batches_are_refused(private_task, tmp_path, changes, message):
    with pytest.raises(TrainingError, match=message):
        st.fit(private_task, st.private_run(**changes), tmp_path / "model")


def test_private_training_refuses_several_processes(private_task, monkeypatch):
    monkeypatch.setattr("lightning_fabric.Fabric.world_size", 2)
    with pytest.raises(TrainingError, match=r"\[privacy\] needs a single process, but 2 were"):
        st.trainer_of(private_task, st.private_run())


def test_private_training_names_batch_norm():
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    with pytest.raises(TrainingError, match=r"\[privacy\] does not support BatchNorm1d \('1'\),"):
        check_layers(network, "")


def test_trainer_refuses_hidden_batch_norm(private_task):
    stem = config.ConvStemSection(token_dim=4, kernel=5, second_kernel=3)
    # bypasses the check of the run file
    model = config.AttentionModel(**st.TINY | {"stem": stem})
    run = st.private_run().model_copy(update={"model": model})
    with pytest.raises(TrainingError, match=r"does not support BatchNorm \('members.0.stem"):
        st.trainer_of(private_task, run)


def test_private_run_has_no_default_variants():
    assert st.private_run().variants == {}
    assert set(st.private_run(privacy=None).variants) == {"cnn", "shuffled"}
