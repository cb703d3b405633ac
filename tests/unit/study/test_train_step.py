"""Train in Python: the model, its progress, torch's settings, and errors of the run file."""

from pathlib import Path

import pytest
import torch

import selfattn_bio as sb
from selfattn_bio.errors import RunFileError, TrainingError
from selfattn_bio.study import training

SECTIONS = """
[tokens]
k = 1
[model]
kind = "attention"
embed_dim = 8
num_layers = 1
num_heads = 1
feedforward_dim = 8
stem = { kind = "none" }
[training]
max_steps = 2
batch_size = 8
evaluate_every = 2
matmul = "medium"
[variants.shuffled]
training = { labels = "shuffled" }
"""


@pytest.fixture
def steps(two_classes):
    """Return a run file, its corpus and its split."""
    with (two_classes / "run.toml").open("a") as file:
        file.write(SECTIONS)
    task = sb.read_run_file("run.toml")
    corpus = sb.ingest(task, "corpus")
    return task, corpus, sb.split(task, corpus, "split.tsv")


def test_train_returns_the_saved_model(steps, caplog, capsys):
    caplog.set_level("INFO", "selfattn_bio")
    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    model = sb.train(*steps, "model", threads=1)
    assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == before
    assert isinstance(model, sb.Scorer)
    sequence = ["ACGT" * 8]
    assert (
        sb.score_sequences(model, sequence)["logit"].tolist()
        == sb.score_sequences("model", sequence)["logit"].tolist()
    )
    assert all(line.startswith("model: ") for line in caplog.messages)
    assert caplog.messages[-1].endswith("model in model")
    # "promoter" is also the name of a model that ships
    assert sb.train(*steps, "promoter", threads=1).folder == Path("promoter")
    assert capsys.readouterr().out == ""


def test_train_a_variant(steps, caplog):
    caplog.set_level("INFO", "selfattn_bio")
    model = sb.train(*steps, "control", variant="shuffled", threads=1)
    assert model.run.is_control()
    assert all(line.startswith("shuffled: ") for line in caplog.messages)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "none"}, r"run\.toml: .*'none'"),
        ({"member": 2}, r"run\.toml: no member 2"),
        ({"member": "x"}, r"run\.toml: unknown job 'x'"),
        ({"stack_of": "other"}, r"run\.toml: parts of another member need \[stack\] parts"),
    ],
)
def test_train_errors_name_the_run_file(steps, options, message):
    with pytest.raises(RunFileError, match=message):
        sb.train(*steps, "model", **options)


def test_exhausted_memory_error_has_a_hint(steps, monkeypatch):
    def exhausted(*arguments, **options):
        raise MemoryError

    monkeypatch.setattr(training.loop, "train", exhausted)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")  # of several processes
    message = r"out of memory at training\.batch_size = 8: MemoryError\. Try .*, or start fewer"
    with pytest.raises(TrainingError, match=message) as caught:
        sb.train(*steps, "model", threads=1)
    assert caught.value.__context__ is None  # its frames would keep the memory of the training
