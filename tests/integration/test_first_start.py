"""Test which settings the first start of a training chooses, and that a resumed run keeps them."""

import json

import pytest
import torch
from safetensors.torch import load_file
from small_task import write_task

from selfattn_bio.config import read_run_file
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.errors import TrainingInterrupted
from selfattn_bio.training import loop, precision, threads

RUN = """
[data]
positives = "positives.fa"
negatives = "negatives.fa"
[split]
kind = "random"
[model]
kind = "attention"
embed_dim = 8
num_layers = 1
dropout = 0.2
attention_dropout = 0.2
[training]
max_steps = 4
batch_size = 8
evaluate_every = 2
matmul = "highest"
"""


@pytest.fixture
def train(tmp_path):
    """Return a function that trains into a folder with at most the given threads."""
    write_task(tmp_path, RUN)
    run, corpus = read_run_file(tmp_path / "run.toml"), Corpus.open(tmp_path / "corpus")
    before = torch.get_num_threads()
    yield lambda name, most=1: loop.train(
        run, corpus, tmp_path / "split.tsv", tmp_path / name, threads=most
    )
    torch.set_num_threads(before)


@pytest.fixture
def interrupted(train):
    """Return a function that starts a training and stops it after two steps."""

    def start(name, most=1):
        step = loop.Trainer.take_step

        def stopped(trainer):
            trainer.signals.received = 15 * (trainer.history.step == 1)
            step(trainer)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(loop.Trainer, "take_step", stopped)
            with pytest.raises(TrainingInterrupted):
                train(name, most)

    return start


def threads_of(folder):
    return json.loads((folder / "provenance.json").read_text())["threads"]


def precision_of(folder):
    return read_run_file(folder / "run.toml").training.precision


def test_measuring_threads_does_not_change_the_training(train, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO", "selfattn_bio")
    train("one")
    # never reached, so that one thread is chosen
    monkeypatch.setattr(threads, "MIN_EFFICIENCY", 100.0)
    caplog.clear()
    train("measured", 2)
    assert threads_of(tmp_path / "measured") == 1
    assert ", 1 thread;" in caplog.text
    one, measured = (
        load_file(tmp_path / name / "model.safetensors") for name in ("one", "measured")
    )
    assert all(torch.equal(weight, measured[name]) for name, weight in one.items())


def test_a_resumed_run_keeps_its_threads(train, interrupted, tmp_path, monkeypatch):
    monkeypatch.setattr(threads, "MIN_EFFICIENCY", 0.0)  # always reached
    interrupted("model", 2)
    train("model", 1)
    assert threads_of(tmp_path / "model") == 2


def test_the_chosen_precision_is_printed_and_recorded(train, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO", "selfattn_bio")
    monkeypatch.setattr(precision, "fast_precision", lambda: "bf16-mixed")
    train("model")
    assert precision_of(tmp_path / "model") == "bf16-mixed"
    assert "precision bf16-mixed on " in caplog.text


def test_a_resumed_run_keeps_its_precision(train, interrupted, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO", "selfattn_bio")
    monkeypatch.setattr(precision, "fast_precision", lambda: "bf16-mixed")
    interrupted("model")
    monkeypatch.setattr(precision, "fast_precision", lambda: "32-true")
    train("model")
    assert precision_of(tmp_path / "model") == "bf16-mixed"
    assert "resuming from the checkpoint of step 2" in caplog.text
