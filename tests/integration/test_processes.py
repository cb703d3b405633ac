"""Two processes train like one process with the same batches."""

import subprocess

import pandas as pd
import pytest
import small_task as st
from commands import words_of
from fast_python import fast_python
from torch.testing import assert_close

# without a stem, whose batch norm would use the statistics of each process
RUN = """
[training]
max_steps = 24
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
    splits = st.write_task(folder, st.small(RUN), 43, 44)
    # the last batch of an epoch has fewer records than processes
    assert splits.count("train") % 16 == 1
    train(folder)
    return folder


def train(folder, processes=1):
    torchrun = ["-m", "torch.distributed.run", "--no-python", f"--nproc-per-node={processes}"]
    command = [fast_python(), *torchrun] if processes > 1 else []
    command += [fast_python(), "-m", "selfattn_bio.cli.main", *words_of("train . --threads 1")]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    done = subprocess.run(command, cwd=folder, check=False, **streams)
    assert done.returncode == 0, done.stdout
    return done.stdout


def assert_close_models(first, second):
    pd.testing.assert_frame_equal(st.history(first), st.history(second), rtol=1e-4)
    assert_close(st.weights_of(first), st.weights_of(second), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_two_processes_have_losses_of_one(task, tmp_path):
    two = st.copy_task(task, tmp_path / "two")
    said = train(two, processes=2)
    assert "2 processes, each with 1 thread;" in said
    assert said.count("model in model") == 1  # only the first process prints
    assert_close_models(task / "model", two / "model")


@pytest.mark.slow
@pytest.mark.parametrize("otherwise", [{"merged": True}, {"processes": 2}])
def test_gradients_do_not_depend_on_batch_layout(task, otherwise):
    # Weights would not show a constant factor, which AdamW divides out of the gradients.
    assert_same_gradients(task, **otherwise)


def assert_same_gradients(task, **otherwise):
    expected = st.gradients_of(task)
    assert max(float(gradient.abs().max()) for gradient in expected.values()) > 0.01
    assert_close(st.gradients_of(task, **otherwise), expected, rtol=1e-4, atol=1e-6)
