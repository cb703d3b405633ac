"""Dry runs leave no trace; a first start chooses settings that a resumed run keeps."""

import contextlib
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import small_task as st
import torch
from commands import exit_code, run, run_measured

from selfattn_bio import Study
from selfattn_bio.config import read_run_file
from selfattn_bio.model.build import build_network
from selfattn_bio.training import dry_run, hardware
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
    st.write_task(tmp_path, st.small(RUN))
    return tmp_path


def test_command_prints_and_writes_nothing(here, capsys):
    before = sorted(here.rglob("*"))
    run(f"{COMMAND} --dry-run")
    assert sorted(here.rglob("*")) == before
    lines = capsys.readouterr().out.splitlines()
    for line, pattern in zip(lines[:3], PRINTED.splitlines()[1:], strict=True):
        assert re.fullmatch(pattern, line), line


def test_dry_run_agrees_with_the_training(here):
    study, after = Study("."), Study(st.copy_task(here, here.with_name("after")))
    study.train(threads=1)
    found = study.member(2).dry_run(threads=1)
    after.train(threads=1)
    st.assert_same_weights(study.files.model, after.files.model)
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
    lengths = st.corpus_of(here).records.set_index("id")["length"]
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
    Path("run.toml").write_text(st.small(RUN, f"training.batch_size = {batch_size}"))
    assert exit_code(f"{COMMAND} --dry-run") == 1
    message = f"out of memory at training.batch_size = {batch_size}: MemoryError. {hint}"
    assert message in capsys.readouterr().err


@pytest.mark.long
def test_measured_memory_is_that_of_the_training(here):
    large = "model.embed_dim = 1024\ntraining.seeds = 1"
    Path("run.toml").write_text(st.small(RUN, large))
    said, _ = run_measured(f"{COMMAND} --dry-run")
    _, trained = run_measured(COMMAND)
    measured = 1000 * float(re.search(r"peak memory (\S+) GB", said)[1])
    assert trained > 700  # otherwise mostly the size of the program would be compared
    assert measured == pytest.approx(trained, rel=0.25)


START = """
model = { dropout = 0.2, attention_dropout = 0.2 }
training = { batch_size = 8, matmul = "highest" }
"""


@pytest.fixture
def train(tmp_path):
    """Return a function that trains into a folder with at most the given threads."""
    st.write_task(tmp_path, "")
    before = torch.get_num_threads()
    yield lambda name, most=1: st.fit(tmp_path, st.small_run(START), name, threads=most)
    torch.set_num_threads(before)


def threads_of(folder):
    return st.read_json(folder / "provenance.json")["threads"]


def test_measuring_threads_does_not_change_the_training(train, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO", "selfattn_bio")
    train("one")
    # never reached, so that one thread is chosen
    monkeypatch.setattr(dry_run, "MIN_EFFICIENCY", 100.0)
    caplog.clear()
    train("measured", 2)
    assert threads_of(tmp_path / "measured") == 1
    assert ", 1 thread;" in caplog.text
    st.assert_same_weights(tmp_path / "one", tmp_path / "measured")


def test_a_resumed_run_keeps_its_threads(train, tmp_path, monkeypatch):
    monkeypatch.setattr(dry_run, "MIN_EFFICIENCY", 0.0)  # always reached
    with st.stopped(2):
        train("model", 2)
    train("model", 1)
    assert threads_of(tmp_path / "model") == 2


def test_a_resumed_run_keeps_its_precision(train, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO", "selfattn_bio")
    for precision in ("bf16-mixed", "32-true"):
        monkeypatch.setattr(hardware, "fast_precision", lambda precision=precision: precision)
        with st.stopped(2) if precision == "bf16-mixed" else contextlib.nullcontext():
            train("model")
    run_file = read_run_file(tmp_path / "model/run.toml")
    assert run_file.training.precision == "bf16-mixed"
    assert caplog.text.count("precision bf16-mixed on ") == 2
    assert "resuming from the checkpoint of step 2" in caplog.text
