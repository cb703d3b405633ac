"""Score long files in the memory of a few thousand sequences, and train next to a busy process."""

import gzip
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from commands import run_measured

from selfattn_bio.config import read_run_file
from selfattn_bio.model.build import build_network
from selfattn_bio.model.checkpoint import save_model

pytestmark = pytest.mark.long
TINY = """
data = { positives = "p.fa", negatives = "n.fa" }
tokens.k = 1
model = { kind = "attention", embed_dim = 8, num_layers = 1, num_heads = 2, feedforward_dim = 8 }
"""


def write(path: Path, number: int, length: int, id_length: int) -> Path:
    """Write random records as FASTA or CSV, compressed if the name ends with .gz."""
    rng, bases = np.random.default_rng(0), np.frombuffer(b"ACGT", np.uint8)
    is_table = ".csv" in path.suffixes
    name = b"x" * id_length
    before, after = (name + b",", b"\n") if is_table else (b">" + name + b"\n", b"\n")
    with gzip.open(path, "wb", 1) if path.suffix == ".gz" else path.open("wb") as file:
        file.write(b"id,sequence\n" * is_table)
        for start in range(0, number, 10_000):
            rows = rng.choice(bases, (min(10_000, number - start), length))
            file.write(b"".join(before + row.tobytes() + after for row in rows))
    return path


@pytest.mark.parametrize("command", ["score", "embed"])
def test_memory_does_not_grow_with_the_file(tmp_path, command):
    """Ten times the records need at most 15 MB more.

    The ids alone are 18 MB more; as a table, the rows are 40 MB (score) or 60 MB (embed).
    """
    out = tmp_path / ("out.tsv" if command == "score" else "out.parquet")
    peaks = []
    for number in (10_000, 100_000):
        fasta = write(tmp_path / f"{number}.fa", number, length=40, id_length=200)
        asked = f"{command} --model promoter --fasta {fasta} --output {out}"
        peaks.append(run_measured(asked)[1])
    print(f"{command}: peak {peaks[0]:.0f} MB for 10,000 records, {peaks[1]:.0f} MB for 100,000")
    assert peaks[1] < peaks[0] + 15
    table = pd.read_csv(out, sep="\t") if command == "score" else pd.read_parquet(out)
    assert len(table) == 100_000
    assert not list(tmp_path.glob(".out*"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    """Write a tiny model with random weights."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "run.toml").write_text(TINY)
    run = read_run_file(folder / "run.toml")
    torch.manual_seed(0)
    (folder / "model").mkdir()
    weights = build_network(run).state_dict()
    save_model(folder / "model", run, weights, {"calibration": {"slope": 1.0, "threshold": 0.5}})
    return folder / "model"


@pytest.mark.parametrize("ending", [".fa", ".fa.gz", ".csv"])
def test_memory_does_not_grow_with_any_format(tmp_path, tiny, ending):
    """Ten times the records need at most 8 MB more: their letters alone are 11 MB."""
    peaks, out = {}, tmp_path / "out.tsv"
    for number in (20_000, 200_000):
        file = write(tmp_path / f"{number}{ending}", number, length=60, id_length=10)
        begun = time.monotonic()
        peaks[number] = run_measured(f"score --model {tiny} --fasta {file} --output {out}")[1]
        seconds = time.monotonic() - begun
        print(f"{ending}: {number:,} records: peak {peaks[number]:.0f} MB in {seconds:.0f} s")
    assert len(pd.read_csv(out, sep="\t", usecols=["logit"])) == 200_000
    assert peaks[200_000] < peaks[20_000] + 8


# ------------ a busy process
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


@pytest.mark.alone
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
