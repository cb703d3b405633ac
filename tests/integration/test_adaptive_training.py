"""Train, resume, evaluate, prune, explain and fine-tune models with gates."""

import os
from pathlib import Path

import numpy as np
import pytest
import small_task as st
import torch
from commands import run
from torch.testing import assert_close

from selfattn_bio import Study, config, load
from selfattn_bio.errors import RunFileError, TrainingError
from selfattn_bio.model.build import build_network
from selfattn_bio.model.checkpoint import load_model
from selfattn_bio.model.gates import HardConcrete
from selfattn_bio.training.transfer import start_from

RUN = """
split = { kind = "random", valid_fraction = 0.3, test_fraction = 0.3 }
[model]
members = 2
num_layers = 3
gates = { kind = "hard_concrete", penalty = 0.2 }
stem = { kind = "conv", token_dim = 8, kernel = 9, second_kernel = 3 }
[training]
max_steps = 60
batch_size = 32
learning_rate = 1e-2
warmup_steps = 5
evaluate_every = 60
schedule = "constant"
checkpoint_every = 30
ema_decay = 0.8
"""


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """Train and prune a model of positives with a word that negatives lack."""
    folder, before = tmp_path_factory.mktemp("adaptive"), os.getcwd()
    os.chdir(folder)
    rng = np.random.default_rng(0)
    for name, word in (("positives", "TATAATTT"), ("negatives", "GACCAGCA")):
        texts = st.random_texts(rng, 80, 40)
        st.write_fasta(f"{name}.fa", [text[:20] + word + text[20:] for text in texts])
    Path("run.toml").write_text(st.small(RUN))
    st.run_steps("ingest split train")
    run("prune --model model --output pruned")
    yield folder
    os.chdir(before)


@pytest.fixture
def run_file(task):
    return config.read_run_file(task / "run.toml")


def test_adaptive_training_closes_gates(task):
    scorer = load(task / "model")
    gates = [each for each in scorer.network.modules() if isinstance(each, HardConcrete)]
    assert any(bool((each.values() == 0).any()) for each in gates)


def test_evaluate_and_explain_gated_and_pruned_models(task, tmp_path):
    found = []
    for name in ("model", "pruned"):
        folder = st.copy_task(task, tmp_path / name, task / name)
        st.run_steps("evaluate explain", folder)
        test = st.read_json(folder / "metrics.json")["test"]
        hypothetical = np.load(folder / "attribution/attribution.npz")["hypothetical"]
        found.append((test["model"]["auroc"]["value"], hypothetical))
    assert found[0][0] == found[1][0] > 0.9
    assert found[0][1] == pytest.approx(found[1][1], abs=1e-5)


def test_adaptive_training_resumes_bit_for_bit(task, tmp_path):
    again = Study(st.copy_task(task, tmp_path / "again"))
    with st.stopped(30):
        again.train(threads=1)
    again.train(threads=1)
    st.assert_same_weights(again.files.model, task / "model")


@pytest.mark.parametrize("sections", [{}, {"accumulate": 3}, {"batch_size": 7}])
def test_gate_penalty_counts_once_per_step(task, run_file, sections):
    """The gradient of the penalty does not depend on the records and batches of a step."""
    found = []
    training = run_file.training.model_copy(update=sections | {"matmul": "highest"})
    for penalty in (0.0, 0.5):
        gates = config.HardConcreteGates(penalty=penalty)
        model = run_file.model.model_copy(update={"gates": gates})
        changed = run_file.model_copy(update={"model": model, "training": training})
        trainer = st.trainer_of(task, changed)
        torch.manual_seed(0)
        trainer.steps.add_gradients(0)
        weights = [
            gates.weight for gates in trainer.bare.modules() if isinstance(gates, HardConcrete)
        ]
        found.append([weight.grad for weight in weights])
    wanted = torch.autograd.grad(trainer.bare.penalty(), weights)
    for without, with_it, each in zip(*found, wanted, strict=True):
        assert_close(with_it - without, each, rtol=1e-3, atol=1e-6)


def test_fine_tuning_starts_from_pruned_model(task):
    run, parent, _ = load_model(task / "pruned")
    transfer = config.Transfer(parent=str(task / "pruned"))
    torch.manual_seed(5)
    child = build_network(run)
    start_from(child, run, transfer, "child")
    assert_close(child.members[1].stem.state_dict(), parent.members[1].stem.state_dict())
    assert [len(member.encoder.blocks) for member in child.members] == [
        len(member.encoder.blocks) for member in parent.members
    ]
    for gates in (config.NoGates(), config.HardConcreteGates()):
        other = run.model_copy(update={"model": run.model.model_copy(update={"gates": gates})})
        with pytest.raises(RunFileError, match=r"model\.gates is .*, but the parent has "):
            start_from(build_network(other), other, transfer, "child")


def test_sharded_training_refuses_gates(task, run_file):
    with pytest.raises(TrainingError, match="sharded training does not support gates"):
        st.fit(task, run_file, "none", sharded=True)
