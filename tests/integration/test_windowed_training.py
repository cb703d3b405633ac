"""Train a language model on windows of records that are much longer than its input."""

import json
import signal
import tomllib

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from small_task import history

from selfattn_bio import config
from selfattn_bio.cli.main import main
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.errors import TrainingInterrupted
from selfattn_bio.training.data import Stream, TrainingData
from selfattn_bio.training.hardware import open_fabric
from selfattn_bio.training.loop import train
from selfattn_bio.training.trainer import Trainer

RUN = """
[data]
sequences = "genome.fa"
header = '(?P<chrom>\\w+)'
max_length = 10_000_000

[split]
kind = "chromosome"
valid = ["chr1"]
test = ["chr2"]

[objective]
kind = "masked"

[tokens]
k = 2

[model]
kind = "attention"
members = 1
embed_dim = 16
num_layers = 1
num_heads = 2
feedforward_dim = 32
stem = { kind = "none" }

[training]
window = 50
max_steps = 8
batch_size = 8
accumulate = 2
evaluate_every = 4
checkpoint_every = 100
warmup_steps = 2
reverse_complement = true

[evaluation]
bootstraps = 20
"""
CAUSAL = RUN.replace('"masked"', '"causal"').replace("k = 2", "k = 2\nstride = 2")
CAUSAL = CAUSAL.replace("stem = {", 'pattern = { kind = "full", causal = true }\nstem = {')


@pytest.fixture
def genome(tmp_path, monkeypatch):
    """Write four chromosomes of 1,030 to 3,000 bp, a shorter scaffold, a corpus and a split."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    lengths = {"chr1": 1030, "chr2": 1200, "chr3": 3000, "chr4": 1777, "scaffold": 30}
    texts = {name: "".join(rng.choice(list("ACGT"), length)) for name, length in lengths.items()}
    (tmp_path / "genome.fa").write_text(
        "".join(f">{name}\n{text}\n" for name, text in texts.items())
    )
    (tmp_path / "run.toml").write_text(RUN)
    assert main(["ingest", "--run-file", "run.toml", "--output", "corpus"]) == 0
    assert (
        main(["split", "--run-file", "run.toml", "--corpus", "corpus", "--output", "split.tsv"])
        == 0
    )
    return tmp_path


def trained(folder, name, text=RUN):
    run = config.RunFile.model_validate(tomllib.loads(text))
    train(run, Corpus.open(folder / "corpus"), folder / "split.tsv", folder / name, threads=1)
    return load_file(folder / name / "model.safetensors"), history(folder / name)


@pytest.mark.parametrize("text", [RUN, CAUSAL], ids=["masked", "causal"])
def test_windowed_training_is_reproducible_and_resumes(genome, monkeypatch, text):
    (one, first), (two, second) = trained(genome, "one", text), trained(genome, "two", text)
    pd.testing.assert_frame_equal(first, second)
    assert all(torch.equal(one[key], two[key]) for key in one)
    with monkeypatch.context() as patch:

        def step_and_stop(self, step=Trainer.take_step):
            step(self)
            if self.history.step == 3:
                self.signals.received = signal.SIGTERM

        patch.setattr(Trainer, "take_step", step_and_stop)
        with pytest.raises(TrainingInterrupted):
            trained(genome, "stopped", text)
    resumed, third = trained(genome, "stopped", text)
    pd.testing.assert_frame_equal(first, third)
    assert all(torch.equal(one[key], resumed[key]) for key in one)


def test_windows_cover_training_records(genome, caplog):
    caplog.set_level("INFO", "selfattn_bio")
    trained(genome, "model")
    said = caplog.text
    assert (
        "windows of at most 50 bp: 97 are sampled per epoch; the validation records give 21 "
        "adjacent windows, and all of them are used" in said
    )
    corpus, run = Corpus.open(genome / "corpus"), config.RunFile.model_validate(tomllib.loads(RUN))
    data = TrainingData.read(run, corpus, genome / "split.tsv")
    stream = Stream(data.run, corpus, data.train)
    assert stream.per_epoch == 13
    order = np.concatenate(list(stream.order.epoch(0)))
    assert sorted(order) == list(range(97))  # 60 from 3,000 bases, 36 from 1,777, one from 30
    letters, targets = stream.examples(0, order[:8])
    assert [len(row) for row in letters] == [50] * 8
    assert targets.shape == (8, 0)
    # the halves of two processes
    halves = [stream.examples(0, order[:8][process::2])[0] for process in range(2)]
    assert np.array_equal(halves[0][1], letters[2])
    assert np.array_equal(halves[1][0], letters[1])
    names = stream.ids(0)
    assert all(name.split(":")[0] in ("chr3", "chr4", "scaffold") for name in names)
    assert all(
        np.ptp([int(end) for end in name.split(":")[1].split("-")]) in (49, 50, 30, 29, 28, 27, 26)
        for name in names
    )


def test_validation_windows_are_fixed(genome):
    corpus, run = Corpus.open(genome / "corpus"), config.RunFile.model_validate(tomllib.loads(RUN))
    trainer = Trainer(
        open_fabric("32-true"), run, corpus, genome / "split.tsv", genome / "model", "model"
    )
    first, again = (trainer.data.letters(trainer.data.valid) for _ in range(2))
    assert b"".join(map(bytes, first)) == bytes(corpus.letters(0))
    assert [bytes(row) for row in first] == [bytes(row) for row in again]
    assert trainer.measure_valid() == trainer.measure_valid()


def test_windowed_model_folder_and_evaluation(genome, capsys):
    common = ["--run-file", "run.toml", "--corpus", "corpus", "--split", "split.tsv"]
    assert main(["train", *common, "--threads", "1", "--output", "model"]) == 0
    assert main(["evaluate", *common, "--model", "model", "--output", "."]) == 0
    assert (
        "adjacent windows of at most 50 bp, evenly subsampled if there are too many: train 97, "
        "valid 21, test 24" in capsys.readouterr().out
    )
    metrics = json.loads((genome / "metrics.json").read_text())
    assert (metrics["valid"]["n"], metrics["test"]["n"], metrics["window"]) == (21, 24, 50)
    assert metrics["test"]["baselines"]["unigram"]["perplexity"]["value"] == pytest.approx(
        16, abs=1
    )
    table = pd.read_csv(genome / "predictions" / "test.tsv", sep="\t")
    assert list(table)[:3] == ["id", "start", "end"]
    assert table["end"].tolist() == [*range(50, 1201, 50)]
    seen = pd.read_parquet(genome / "model" / "seen.parquet")
    assert len(seen) == 4  # complete records, by their keys
    limits = load_file(genome / "model" / "reference.safetensors")["limits"]
    assert limits[:2].tolist() == [27, 50]  # of the windows, not of complete chromosomes


def test_checkpoint_depends_on_window():
    run = config.RunFile.model_validate(tomllib.loads(RUN))
    other = run.model_copy(update={"training": run.training.model_copy(update={"window": None})})
    assert run.model_dump()["training"]["window"] == 50
    assert "window" not in other.model_dump()["training"]
