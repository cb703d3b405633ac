"""Dry runs measure a training with its longest records, and leave no trace."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import exit_code, run, run_measured
from small_task import assert_same_weights, copy_task, corpus_of, small, write_task

from selfattn_bio import Study
from selfattn_bio.model.build import build_network
from selfattn_bio.training.trainer import Trainer

RUN = """
training = { seeds = 3, max_steps = 6, batch_size = 8, accumulate = 2 }
[model]
members = 2
feedforward_dim = 32
stem = { kind = "conv", token_dim = 8, kernel = 9, second_kernel = 3 }
[variants.cnn]
model.kind = "cnn"
"""
COMMAND = "train . --threads 1"
PRINTED = r"""
.*; [\d,]+ parameters; .*
model: dry run: peak memory [\d.]+ GB; \S+ s per step; 4 steps per epoch
model: at most \d+ s for 3 trainings of 6 steps and 3 evaluations
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Write the task to the current folder; 60 of 80 records are for training."""
    monkeypatch.chdir(tmp_path)
    write_task(tmp_path, small(RUN))
    return tmp_path


def test_command_prints_and_writes_nothing(here, capsys):
    before = sorted(here.rglob("*"))
    run(f"{COMMAND} --dry-run")
    assert sorted(here.rglob("*")) == before
    lines = capsys.readouterr().out.splitlines()
    for line, pattern in zip(lines[:3], PRINTED.splitlines()[1:], strict=True):
        assert re.fullmatch(pattern, line), line


def test_dry_run_agrees_with_the_training(here):
    study, after = Study("."), Study(copy_task(here, here.with_name("after")))
    study.train(threads=1)
    found = study.member(2).dry_run(threads=1)
    after.train(threads=1)
    assert_same_weights(study.files.model, after.files.model)
    network = build_network(study.run)
    assert found.parameters == sum(weight.numel() for weight in network.parameters())
    last = pd.read_csv("model/history.csv").iloc[-1]
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
    study = Study(".")
    found = study.variant("cnn").dry_run(threads=1)
    assert found.parameters != study.dry_run(threads=1).parameters
    lengths = corpus_of(here).records.set_index("id")["length"]
    trained = lengths[np.arange(len(lengths)) % 4 > 0].sort_values(ascending=False)
    assert lengths[ids[:48]].tolist() == trained[:48].tolist()  # three steps of 16 records


@pytest.mark.parametrize(
    ("batch_size", "hint"),
    [(15, "Try training.batch_size = 6 and training.accumulate = 5"), (1, "Use shorter records")],
)
def test_out_of_memory_has_a_hint(here, monkeypatch, capsys, batch_size, hint):
    def exhausted(trainer):
        raise MemoryError

    monkeypatch.setattr(Trainer, "take_step", exhausted)
    Path("run.toml").write_text(small(RUN, f"training.batch_size = {batch_size}"))
    assert exit_code(f"{COMMAND} --dry-run") == 1
    message = f"out of memory at training.batch_size = {batch_size}: MemoryError. {hint}"
    assert message in capsys.readouterr().err


@pytest.mark.long
def test_measured_memory_is_that_of_the_training(here):
    large = "model.embed_dim = 1024\ntraining.seeds = 1"
    Path("run.toml").write_text(small(RUN, large))
    said, _ = run_measured(f"{COMMAND} --dry-run")
    _, trained = run_measured(COMMAND)
    measured = 1000 * float(re.search(r"peak memory (\S+) GB", said)[1])
    assert trained > 700  # otherwise mostly the size of the program would be compared
    assert measured == pytest.approx(trained, rel=0.25)
