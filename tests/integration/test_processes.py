"""Two processes started by torchrun train like one process with the same batches."""

import shutil
import subprocess

import pandas as pd
import pytest
from fast_python import fast_python
from safetensors.torch import load_file
from small_task import gradients_of, history, write_task
from torch.testing import assert_close

from selfattn_bio.errors import TrainingError
from selfattn_bio.training.hardware import open_fabric

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
stem = { kind = "none" }  # batch norm would use the statistics of each process
[training]
max_steps = 24
batch_size = 16
accumulate = 2
evaluate_every = 6
shift = 2
checkpoint_every = 12
precision = "32-true"
"""


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """Create a run file, a corpus and a split, and train with one process."""
    folder = tmp_path_factory.mktemp("processes")
    splits = write_task(folder, RUN, 43, 44)
    # the last batch of an epoch has fewer records than processes
    assert splits.count("train") % 16 == 1
    train(folder, "one")
    return folder


def train(folder, output, *options, processes=1):
    torchrun = [fast_python(), "-m", "torch.distributed.run", "--no-python"]
    command = [
        *([] if processes == 1 else [*torchrun, f"--nproc-per-node={processes}"]),
        fast_python(),
        "-m",
        "selfattn_bio.cli.main",
        "train",
        "--run-file",
        "run.toml",
        "--corpus",
        "corpus",
    ]
    command += ["--split", "split.tsv", "--threads", "1", "--output", output, *options]
    done = subprocess.run(
        command,
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def same_model(folder, first, second, **tolerance):
    pd.testing.assert_frame_equal(history(folder / first), history(folder / second), rtol=1e-4)
    weights = load_file(folder / second / "model.safetensors")
    for name, weight in load_file(folder / first / "model.safetensors").items():
        assert_close(weights[name], weight, **tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--sharded",)], ids=["whole", "sharded"])
def test_two_processes_have_losses_of_one(task, options):
    said = train(task, "two", *options, processes=2)
    assert "2 processes, each with 1 thread;" in said
    assert said.count("model in two") == 1  # only the first process prints
    same_model(task, "one", "two", rtol=1e-3, atol=1e-4)
    shutil.rmtree(task / "two")
    max((task / "two.checkpoints").glob("step-*")).unlink()
    assert "resuming from the checkpoint of step 12" in train(task, "two", *options, processes=2)
    same_model(task, "one", "two", rtol=1e-3, atol=1e-4)
    shutil.rmtree(task / "two.checkpoints")


@pytest.mark.slow
@pytest.mark.parametrize(
    "otherwise",
    [{"merged": True}, {"processes": 2}, {"processes": 2, "sharded": True}],
    ids=["one batch, not two", "two processes", "sharded"],
)
def test_gradients_do_not_depend_on_batch_layout(task, otherwise):
    # Weights would not show a constant factor, which AdamW divides out of the gradients.
    expected = gradients_of(task)
    assert max(float(gradient.abs().max()) for gradient in expected.values()) > 0.01
    assert_close(gradients_of(task, **otherwise), expected, rtol=1e-4, atol=1e-6)


def test_sharding_needs_several_processes():
    with pytest.raises(
        TrainingError,
        match=r"sharded training needs several processes. Start it with torchrun",
    ):
        open_fabric("32-true", sharded=True)
