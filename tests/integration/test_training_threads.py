"""Tests of the threads of a training: measuring changes nothing, and a resumed run keeps them."""

import json

import pytest
import torch
from safetensors.torch import load_file
from small_task import write_task

from selfattn_bio.config import read_run_file
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.errors import TrainingInterrupted
from selfattn_bio.training import loop, threads

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
[training]
max_steps = 4
batch_size = 8
evaluate_every = 2
checkpoint_every = 2
matmul = "highest"
"""


@pytest.fixture
def task(tmp_path):
    write_task(tmp_path, RUN)
    run, corpus = read_run_file(tmp_path / "run.toml"), Corpus.open(tmp_path / "corpus")
    before = torch.get_num_threads()
    yield lambda name, **asked: loop.train(
        run, corpus, tmp_path / "split.tsv", tmp_path / name, **asked
    )
    torch.set_num_threads(before)


def threads_of(folder):
    return json.loads((folder / "provenance.json").read_text())["threads"]


def test_measuring_threads_does_not_change_the_training(task, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO", "selfattn_bio")
    task("one", threads=1)
    monkeypatch.setattr(
        threads, "MIN_EFFICIENCY", 100.0
    )  # never reached, so that one thread is chosen
    caplog.clear()
    task("measured", threads=2)
    assert threads_of(tmp_path / "measured") == 1
    assert ", 1 thread;" in caplog.text
    one, measured = (
        load_file(tmp_path / name / "model.safetensors") for name in ("one", "measured")
    )
    assert all(torch.equal(weight, measured[name]) for name, weight in one.items())


def test_a_resumed_run_keeps_the_threads_of_its_first_start(task, tmp_path, monkeypatch):
    monkeypatch.setattr(threads, "MIN_EFFICIENCY", 0.0)  # always reached
    step = loop.Trainer.take_step

    def stopped_at_3(trainer):
        if trainer.progress.step == 2:
            trainer.signals.received = 15
        step(trainer)

    monkeypatch.setattr(loop.Trainer, "take_step", stopped_at_3)
    with pytest.raises(TrainingInterrupted):
        task("model", threads=2)
    monkeypatch.setattr(loop.Trainer, "take_step", step)
    task("model", threads=1)
    assert threads_of(tmp_path / "model") == 2
