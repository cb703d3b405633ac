"""Tests of precision = "auto": it is recorded, and a resumed run keeps that of its first start."""

import pytest
from small_task import write_task

from selfattn_bio.config import read_run_file
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.errors import TrainingInterrupted
from selfattn_bio.training import loop, precision

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
[training]
max_steps = 3
batch_size = 8
matmul = "highest"
"""


@pytest.fixture
def task(tmp_path, monkeypatch):
    write_task(tmp_path, RUN)
    run, corpus = read_run_file(tmp_path / "run.toml"), Corpus.open(tmp_path / "corpus")

    def train(fast):
        monkeypatch.setattr(precision, "fast_precision", lambda: fast)
        loop.train(run, corpus, tmp_path / "split.tsv", tmp_path / "model", threads=1)
        return read_run_file(tmp_path / "model" / "run.toml").training.precision

    return train


def test_the_chosen_precision_is_printed_and_recorded(task, caplog):
    caplog.set_level("INFO", "selfattn_bio")
    assert task("bf16-mixed") == "bf16-mixed"
    assert "precision bf16-mixed on " in caplog.text


def test_a_resumed_run_keeps_the_precision_of_its_first_start(task, monkeypatch, caplog):
    caplog.set_level("INFO", "selfattn_bio")
    step = loop.Trainer.take_step

    def stopped_at_2(trainer):
        trainer.signals.received = 15 * (trainer.progress.step == 1)
        step(trainer)

    monkeypatch.setattr(loop.Trainer, "take_step", stopped_at_2)
    with pytest.raises(TrainingInterrupted):
        task("bf16-mixed")
    monkeypatch.setattr(loop.Trainer, "take_step", step)
    assert task("32-true") == "bf16-mixed"
    assert "resuming from the checkpoint of step 2" in caplog.text
