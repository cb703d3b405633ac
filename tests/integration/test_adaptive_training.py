"""Train, resume, evaluate, prune, explain and fine-tune models with gates and exits."""

import json
import os
import signal

import numpy as np
import pandas as pd
import pytest
import torch
from torch.testing import assert_close

import selfattn_bio
from selfattn_bio import config, load
from selfattn_bio.cli.main import main
from selfattn_bio.errors import RunFileError, TrainingError, TrainingInterrupted
from selfattn_bio.model.build import build_network
from selfattn_bio.model.checkpoint import load_model
from selfattn_bio.model.gates import HardConcrete
from selfattn_bio.training.hardware import open_fabric
from selfattn_bio.training.loop import train
from selfattn_bio.training.trainer import Trainer
from selfattn_bio.training.transfer import start_from

RUN = """
[data]
positives = "p.fa"
negatives = "n.fa"
[split]
kind = "random"
valid_fraction = 0.3
test_fraction = 0.3
[model]
kind = "attention"
members = 2
embed_dim = 16
num_layers = 3
num_heads = 2
feedforward_dim = 16
dropout = 0.0
gates = { kind = "hard_concrete", penalty = 0.2 }
exits = { kind = "confidence", drop = 0.05 }
[model.stem]
kind = "conv"
token_dim = 8
kernel = 9
second_kernel = 3
[training]
max_steps = 60
batch_size = 32
learning_rate = 1e-2
warmup_steps = 5
evaluate_every = 60
schedule = "constant"
checkpoint_every = 30
ema_decay = 0.8
[evaluation]
bootstraps = 20
"""


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """Train, evaluate and prune a model of positives with a word that negatives lack."""
    folder, before = tmp_path_factory.mktemp("adaptive"), os.getcwd()
    os.chdir(folder)
    rng = np.random.default_rng(0)
    for name, word in (("p", "TATAATTT"), ("n", "GACCAGCA")):
        rows = ["".join(rng.choice(list("ACGT"), 40)) for _ in range(80)]
        (folder / f"{name}.fa").write_text(
            "".join(f">{name}{i}\n{row[:20]}{word}{row[20:]}\n" for i, row in enumerate(rows))
        )
    (folder / "run.toml").write_text(RUN)
    shared = ["--run-file", "run.toml", "--corpus", "corpus"]
    assert (
        main(
            [
                "ingest",
                "--fasta",
                "p.fa",
                "n.fa",
                "--label",
                "1",
                "0",
                "--alphabet",
                "dna",
                "--output",
                "corpus",
            ]
        )
        == 0
    )
    assert main(["split", *shared, "--output", "split.tsv"]) == 0
    assert (
        main(["train", *shared, "--split", "split.tsv", "--threads", "1", "--output", "model"]) == 0
    )
    assert main(["prune", "--model", "model", "--output", "pruned"]) == 0
    yield folder
    os.chdir(before)


def corpus_of(task):
    from selfattn_bio.data.corpus import Corpus

    return Corpus.open(task / "corpus")


def test_adaptive_training_closes_gates_and_exits_early(task):
    said = load_model(task / "model")[2]["exits"]
    assert said["worth"] >= said["worth_of_all_layers"] - 0.05
    scorer = load(task / "model")
    assert (
        scorer.network.members[0].exits.threshold
        == scorer.network.members[1].exits.threshold
        == pytest.approx(said["threshold"])
    )
    valid = [
        corpus_of(task).letters(i)
        for i in np.flatnonzero(pd.read_csv(task / "split.tsv", sep="\t")["split"] == "valid")
    ]
    assert scorer.depths(valid).mean() == pytest.approx(said["mean_layers"])
    assert said["mean_layers"] < 3
    values = torch.cat(
        [
            gates.values().detach()
            for gates in scorer.network.modules()
            if isinstance(gates, HardConcrete)
        ]
    )
    assert int((values == 0).sum()) > 0
    assert (
        "A record leaves the encoder as soon as its prediction is confident"
        in (task / "model" / "README.md").read_text()
    )


def test_evaluate_and_explain_gated_and_pruned_models(task):
    shared = ["--run-file", "run.toml", "--corpus", "corpus", "--split", "split.tsv"]
    found = []
    for name in ("model", "pruned"):
        assert main(["evaluate", *shared, "--model", name, "--output", f"judged_{name}"]) == 0
        explained = f"judged_{name}/attribution"
        assert main(["explain", *shared, "--model", name, "--output", explained]) == 0
        metrics = json.loads((task / f"judged_{name}" / "metrics.json").read_text())
        found.append(
            (
                metrics["test"]["model"]["auroc"]["value"],
                np.load(task / explained / "attribution.npz")["hypothetical"],
            )
        )
        assert 0 <= metrics["test"]["layers"]["mean"] <= metrics["test"]["layers"]["of"] <= 3
    assert found[0][0] == found[1][0] > 0.9
    assert found[0][1] == pytest.approx(found[1][1], abs=1e-5)


def test_adaptive_training_resumes_bit_for_bit(task, monkeypatch):
    run, whole = config.read_run_file(task / "run.toml"), Trainer.take_step

    def stopped(trainer):
        whole(trainer)
        if trainer.history.step == 30:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Trainer, "take_step", stopped)
    arguments = (run, corpus_of(task), task / "split.tsv", task / "again")
    with pytest.raises(TrainingInterrupted, match="stopped by SIGTERM at step 30"):
        selfattn_bio.train(*arguments, threads=1)
    monkeypatch.setattr(Trainer, "take_step", whole)
    selfattn_bio.train(*arguments, threads=1)
    for name, weight in load_model(task / "again")[1].state_dict().items():
        assert torch.equal(weight, load_model(task / "model")[1].state_dict()[name]), name


@pytest.mark.parametrize("sections", [{}, {"accumulate": 3}, {"batch_size": 7}])
def test_gate_penalty_counts_once_per_step(task, sections):
    """The gradient of the penalty does not depend on the records and batches of a step."""
    run, found = config.read_run_file(task / "run.toml"), []
    for penalty in (0.0, 0.5):
        gates = config.HardConcreteGates(penalty=penalty)
        changed = run.model_copy(
            update={
                "model": run.model.model_copy(update={"gates": gates}),
                "training": run.training.model_copy(update=sections | {"matmul": "highest"}),
            }
        )
        trainer = Trainer(
            open_fabric("32-true"),
            changed,
            corpus_of(task),
            task / "split.tsv",
            task / "none",
            "model",
        )
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
    without = run.model_copy(
        update={"model": run.model.model_copy(update={"exits": config.NoExits()})}
    )
    start_from(build_network(without), without, transfer, "child")


def test_sharded_training_refuses_gates(task):
    with pytest.raises(TrainingError, match="sharded training does not support gates"):
        train(
            config.read_run_file(task / "run.toml"),
            corpus_of(task),
            task / "split.tsv",
            task / "none",
            threads=1,
            sharded=True,
        )
