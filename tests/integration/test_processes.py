"""Two processes that torchrun starts train as one with the same batches would."""

import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file
from torch.testing import assert_close

from selfattn_bio.data.corpus import Rules, build_corpus
from selfattn_bio.errors import TrainingError
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.training.hardware import open_fabric

TIMED = ["seconds", "letters_per_second", "tokens_per_second", "gemm_share", "peak_memory_mb"]  # of the history: no two runs have the same
RUN = """
[data]
positives = "positives.fa"
negatives = "negatives.fa"
[model]
kind = "attention"
embed_dim = 16
num_layers = 1
num_heads = 2
feedforward_dim = 16
dropout = 0.0
stem = { kind = "none" }  # the batch norm of the other one takes the statistics of what a process sees
[training]
max_steps = 24
batch_size = 16
accumulate = 2
evaluate_every = 6
shift = 2
checkpoint_every = 12
"""


TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node=2")


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """A folder with run file, corpus and split, and the model of one process."""
    folder = tmp_path_factory.mktemp("processes")
    rng = np.random.default_rng(0)
    for name, number in (("positives", 43), ("negatives", 44)):
        records = ["".join(rng.choice(list("ACGT"), rng.integers(30, 60))) for _ in range(number)]
        (folder / f"{name}.fa").write_text("".join(f">{name}{i}\n{letters}\n" for i, letters in enumerate(records)))
    (folder / "run.toml").write_text(RUN)
    corpus = build_corpus([(folder / "positives.fa", 1), (folder / "negatives.fa", 0)], folder / "corpus", Rules(DNA))
    sides = ["valid" if i % 4 == 0 else "train" for i in range(len(corpus))]
    assert sides.count("train") % 16 == 1  # the last batch of an epoch has fewer records than there are processes
    pd.DataFrame({"id": corpus.records["id"], "split": sides, "reason": ""}).to_csv(folder / "split.tsv", sep="\t", index=False)
    train(folder, "one")
    return folder


def train(folder, output, *options, launcher=()):
    command = [sys.executable, *launcher, "-m", "selfattn_bio.cli.main", "train", "--run-file", "run.toml", "--corpus", "corpus"]
    command += ["--split", "split.tsv", "--threads", "1", "--output", output, *options]
    done = subprocess.run(command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


def same_model(folder, first, second, **tolerance):
    one, two = (pd.read_csv(folder / name / "history.csv").drop(columns=TIMED) for name in (first, second))
    pd.testing.assert_frame_equal(one, two, rtol=1e-4)
    weights = load_file(folder / second / "model.safetensors")
    for name, weight in load_file(folder / first / "model.safetensors").items():
        assert_close(weights[name], weight, **tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--sharded",)], ids=["whole", "sharded"])
def test_two_processes_have_the_losses_of_one(task, options):
    said = train(task, "two", *options, launcher=TORCHRUN)
    assert "on 2 processes, each cpu with 1 threads" in said
    assert said.count("model in two") == 1  # the second process is silent
    same_model(task, "one", "two", rtol=1e-3, atol=1e-4)
    shutil.rmtree(task / "two")
    max((task / "two.checkpoints").glob("step-*")).unlink()
    assert "going on from the checkpoint of step 12" in train(task, "two", *options, launcher=TORCHRUN)
    same_model(task, "one", "two", rtol=1e-3, atol=1e-4)
    shutil.rmtree(task / "two.checkpoints")


def test_one_process_has_nothing_to_share():
    with pytest.raises(TrainingError, match=r"sharded training must have several processes, got one. Start it by torchrun"):
        open_fabric("32-true", sharded=True)
