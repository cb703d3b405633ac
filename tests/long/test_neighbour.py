"""Check that another busy process costs a training with two threads no more than a core."""

import os
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.long, pytest.mark.alone]

# the network is small, so that its threads meet often
STEPS = """
import time
from selfattn_bio.process import cap_threads
cap_threads()
import torch
torch.set_num_threads(2)
network = torch.nn.Sequential(*(torch.nn.Conv1d(64, 64, 9, padding=4) for _ in range(6)))
letters = torch.randn(32, 64, 300)
def step():
    start = time.perf_counter()
    network(letters).sum().backward()
    return time.perf_counter() - start
times = sorted(step() for _ in range(60))
print(times[30])
"""


def median_step() -> float:
    """Return the median clock time of a step in seconds, measured in a new process."""
    return float(subprocess.check_output([sys.executable, "-c", STEPS]))


def test_busy_process_does_not_stop_training_with_two_threads(monkeypatch):
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("two threads need two cores")
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    cores = len(os.sched_getaffinity(0))
    alone = median_step()
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(cores - 1)]
    try:
        with_others = median_step()
    finally:
        for process in busy:
            process.kill()
            process.wait()
    print(f"a step takes {with_others / alone:.2f} times as long next to busy processes")
    assert with_others < 4 * alone
