"""Dry runs measure a training with its longest records, and leave no trace."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_task import write_task

import selfattn_bio as sb
from selfattn_bio.cli.main import main
from selfattn_bio.model.build import build_network
from selfattn_bio.training.trainer import Trainer

RUN = """
[data]
positives = "positives.fa"
negatives = "negatives.fa"
[model]
kind = "attention"
members = 2
embed_dim = 16
num_layers = 1
num_heads = 2
feedforward_dim = 32
stem = { kind = "conv", token_dim = 8, kernel = 9, second_kernel = 3 }
[training]
seeds = 3
max_steps = 6
batch_size = 8
accumulate = 2
evaluate_every = 2
"""
# The process prints its own peak: getrusage may return that of its parent.
TRAIN = """
import sys
from selfattn_bio.cli.main import main
code = main(sys.argv[1:])
print("VmHWM", open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
sys.exit(code)
"""
COMMAND = "train --run-file run.toml --corpus corpus --split split.tsv --threads 1 --output model"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Write the task to the current folder; 60 of 80 records are for training."""
    monkeypatch.chdir(tmp_path)
    write_task(tmp_path, RUN)
    return tmp_path


def inputs():
    return sb.read_run_file("run.toml"), sb.Corpus.open("corpus"), "split.tsv"


def test_command_prints_and_writes_nothing(here, capsys):
    before = sorted(here.rglob("*"))
    assert main([*COMMAND.split(), "--dry-run"]) == 0
    assert sorted(here.rglob("*")) == before
    lines = capsys.readouterr().out.splitlines()
    assert re.search(r"; [\d,]+ parameters; ", lines[0])
    assert re.fullmatch(
        r"model: dry run: peak memory [\d.]+ GB; \S+ s per step; 4 steps per epoch", lines[1]
    )
    assert re.fullmatch(
        r"model: at most \d+ s for 3 trainings of 6 steps and 3 evaluations", lines[2]
    )


def test_dry_run_agrees_with_the_training(here):
    sb.train(*inputs(), "before", threads=1)
    found = sb.dry_run(*inputs(), member=2, threads=1)
    sb.train(*inputs(), "after", threads=1)
    before, after = (Path(name, "model.safetensors").read_bytes() for name in ("before", "after"))
    assert before == after
    network = build_network(sb.read_run_file("run.toml"))
    assert found.parameters == sum(weight.numel() for weight in network.parameters())
    last = pd.read_csv("before/history.csv").iloc[-1]
    assert last["step"] / last["epoch"] == pytest.approx(found.steps_per_epoch)
    assert found.peak_memory_mb > 100
    assert 0 < found.seconds_per_step < 10
    of_one = 6 * found.seconds_per_step + 3 * found.seconds_per_evaluation
    assert found.seconds == pytest.approx(3 * of_one)


def test_dry_run_of_a_variant_takes_longest_records(here, monkeypatch):
    ids, take_step = [], Trainer.take_step

    def recorded(trainer):
        ids.extend(trainer.steps.stream.ids(trainer.history.step))
        take_step(trainer)

    monkeypatch.setattr(Trainer, "take_step", recorded)
    task, corpus, split = inputs()
    found = sb.dry_run(task, corpus, split, variant="cnn", threads=1)
    assert found.parameters != sb.dry_run(task, corpus, split, threads=1).parameters
    lengths = corpus.records.set_index("id")["length"]
    trained = lengths[np.arange(len(lengths)) % 4 > 0].sort_values(ascending=False)
    assert lengths[ids[:48]].tolist() == trained[:48].tolist()  # three steps of 16 records


@pytest.mark.parametrize(
    ("batch_size", "hint"),
    [
        (15, "Try training.batch_size = 6 and training.accumulate = 5, which keep"),
        (1, "Use shorter records (data.max_length) or a smaller network"),
    ],
)
def test_out_of_memory_has_a_hint(here, monkeypatch, capsys, batch_size, hint):
    def exhausted(trainer):
        raise MemoryError

    monkeypatch.setattr(Trainer, "take_step", exhausted)
    Path("run.toml").write_text(RUN.replace("batch_size = 8", f"batch_size = {batch_size}"))
    assert main([*COMMAND.split(), "--dry-run"]) == 1
    message = f"out of memory at training.batch_size = {batch_size}: MemoryError. {hint}"
    assert message in capsys.readouterr().err


@pytest.mark.long
def test_measured_memory_is_that_of_the_training(here):
    large = RUN.replace("embed_dim = 16", "embed_dim = 1024").replace("seeds = 3", "seeds = 1")
    Path("run.toml").write_text(large)
    command = [sys.executable, "-c", TRAIN, *COMMAND.split()]
    runs = [
        subprocess.run(each, capture_output=True, text=True, check=True).stdout
        for each in ([*command, "--dry-run"], command)
    ]
    measured = 1000 * float(re.search(r"peak memory (\S+) GB", runs[0])[1])
    trained = int(runs[1].rpartition("VmHWM")[2]) * 1024 / 1e6
    assert trained > 700  # otherwise mostly the size of the program would be compared
    assert measured == pytest.approx(trained, rel=0.25)
