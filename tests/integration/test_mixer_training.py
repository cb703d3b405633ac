"""Resume the training of mixers other than softmax, and split it over two processes."""

import os
import signal

import pytest
import torch
from small_task import gradients_of, write_task
from torch.testing import assert_close

from selfattn_bio.config import read_run_file
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.errors import TrainingInterrupted
from selfattn_bio.model.checkpoint import load_model
from selfattn_bio.training.loop import train
from selfattn_bio.training.trainer import Trainer

RUN = """
[data]
positives = "positives.fa"
negatives = "negatives.fa"
[model]
kind = "attention"
embed_dim = 16
num_layers = 1
num_heads = 2
feedforward_dim = 16
dropout = {dropout}
attention_dropout = {dropout}
stem = {{ kind = "none" }}
position = {{ kind = "none" }}
mixer = {{ {mixer} }}
[training]
max_steps = 8
batch_size = 16
evaluate_every = 4
checkpoint_every = 4
"""
MIXERS = {
    "dynamic": 'kind = "dynamic", block = 4, top = 1',
    "linear": 'kind = "linear"',
    "performer": 'kind = "performer", features = 8',
    "linformer": 'kind = "linformer", max_length = 64, rank = 8',
    "hierarchical": 'kind = "hierarchical", window = 4, pool = 4',
    "reformer": 'kind = "reformer", num_buckets = 4, chunk = 8, hashes = 2',
}


def task_of(folder, kind, dropout):
    write_task(folder, RUN.format(mixer=MIXERS[kind], dropout=dropout))
    return read_run_file(folder / "run.toml"), Corpus.open(folder / "corpus"), folder / "split.tsv"


@pytest.mark.parametrize("kind", MIXERS)
def test_mixer_training_resumes_bit_for_bit(tmp_path, monkeypatch, kind):
    arguments, whole = task_of(tmp_path, kind, 0.1), Trainer.take_step
    train(*arguments, tmp_path / "whole", threads=1)

    def stopped(trainer):
        whole(trainer)
        if trainer.history.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Trainer, "take_step", stopped)
    with pytest.raises(TrainingInterrupted, match="stopped by SIGTERM at step 3"):
        train(*arguments, tmp_path / "again", threads=1)
    monkeypatch.setattr(Trainer, "take_step", whole)
    train(*arguments, tmp_path / "again", threads=1)
    found = load_model(tmp_path / "again")[1].state_dict()
    for name, weight in load_model(tmp_path / "whole")[1].state_dict().items():
        assert torch.equal(weight, found[name]), name


@pytest.mark.slow
@pytest.mark.parametrize("kind", MIXERS)
def test_mixer_gradients_equal_on_two_processes(tmp_path, kind):
    task_of(tmp_path, kind, 0.0)
    expected = gradients_of(tmp_path)
    assert max(float(gradient.abs().max()) for gradient in expected.values()) > 0.01
    assert_close(gradients_of(tmp_path, processes=2), expected, rtol=1e-4, atol=1e-6)
