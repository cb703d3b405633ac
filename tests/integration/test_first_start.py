"""Test which settings the first start of a training chooses, and that a resumed run keeps them."""

import contextlib

import pytest
import torch
from small_task import assert_same_weights, fit, read_json, small_run, stopped, write_task

from selfattn_bio.config import read_run_file
from selfattn_bio.training import dry_run, hardware

RUN = """
model = { dropout = 0.2, attention_dropout = 0.2 }
training = { batch_size = 8, matmul = "highest" }
"""


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Return a function that trains into a folder with at most the given threads."""
    write_task(tmp_path, "")
    before = torch.get_num_threads()
    yield lambda name, most=1: fit(tmp_path, small_run(RUN), name, threads=most)
    torch.set_num_threads(before)


def threads_of(folder):
    return read_json(folder / "provenance.json")["threads"]


def test_measuring_threads_does_not_change_the_training(train, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO", "selfattn_bio")
    train("one")
    # never reached, so that one thread is chosen
    monkeypatch.setattr(dry_run, "MIN_EFFICIENCY", 100.0)
    caplog.clear()
    train("measured", 2)
    assert threads_of(tmp_path / "measured") == 1
    assert ", 1 thread;" in caplog.text
    assert_same_weights(tmp_path / "one", tmp_path / "measured")


def test_a_resumed_run_keeps_its_threads(train, tmp_path, monkeypatch):
    monkeypatch.setattr(dry_run, "MIN_EFFICIENCY", 0.0)  # always reached
    with stopped(2):
        train("model", 2)
    train("model", 1)
    assert threads_of(tmp_path / "model") == 2


def test_a_resumed_run_keeps_its_precision(train, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO", "selfattn_bio")
    for precision in ("bf16-mixed", "32-true"):
        monkeypatch.setattr(hardware, "fast_precision", lambda precision=precision: precision)
        with stopped(2) if precision == "bf16-mixed" else contextlib.nullcontext():
            train("model")
    run_file = read_run_file(tmp_path / "model/run.toml")
    assert run_file.training.precision == "bf16-mixed"
    assert caplog.text.count("precision bf16-mixed on ") == 2
    assert "resuming from the checkpoint of step 2" in caplog.text
