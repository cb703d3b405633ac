"""Train a language model on windows of records that are much longer than its input."""

import re

import numpy as np
import pandas as pd
import pytest
import small_task as st
from safetensors.torch import load_file

from selfattn_bio.training.data import Stream, TrainingData

RUN = """
split = { kind = "chromosome", valid = ["chr1"], test = ["chr2"] }
objective.kind = "masked"
tokens.k = 2
model.feedforward_dim = 32
data = { sequences = "genome.fa", header = '(?P<chrom>\\w+)', max_length = 10_000_000 }
[training]
window = 50
max_steps = 8
batch_size = 8
accumulate = 2
evaluate_every = 4
checkpoint_every = 100
warmup_steps = 2
reverse_complement = true
"""
CAUSAL = """
objective.kind = "causal"
tokens.stride = 2
model.pattern = { kind = "full", causal = true }
"""


@pytest.fixture
def genome(here):
    """Write four chromosomes of 1,030 to 3,000 bp, a shorter scaffold, a corpus and a split."""
    rng = np.random.default_rng(0)
    lengths = {"chr1": 1030, "chr2": 1200, "chr3": 3000, "chr4": 1777, "scaffold": 30}
    lines = (f">{name}\n{st.random_texts(rng, 1, length)[0]}\n" for name, length in lengths.items())
    (here / "genome.fa").write_text("".join(lines))
    (here / "run.toml").write_text(st.small(RUN))
    st.run_steps("ingest split")
    return here


@pytest.mark.parametrize("changes", ["", CAUSAL], ids=["masked", "causal"])
def test_windowed_training_is_reproducible_and_resumes(genome, changes):
    run_file = st.small_run(RUN, changes)
    one, two = (st.fit(genome, run_file, name) for name in ("one", "two"))
    with st.stopped(3):
        st.fit(genome, run_file, "three")
    for other in (two, st.fit(genome, run_file, "three")):
        pd.testing.assert_frame_equal(st.history(one), st.history(other))
        st.assert_same_weights(one, other)


def test_windows_cover_training_records(genome, caplog):
    caplog.set_level("INFO", "selfattn_bio")
    run_file, corpus = st.small_run(RUN), st.corpus_of(genome)
    st.fit(genome, run_file)
    assert "windows of at most 50 bp: 97 are sampled per epoch; the validation" in caplog.text
    assert "give 21 adjacent windows, and all of them are used" in caplog.text
    data = TrainingData.read(run_file, corpus, genome / "split.tsv")
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
    for name, start, end in (re.split("[:-]", each) for each in stream.ids(0)):
        assert name in ("chr3", "chr4", "scaffold")
        assert int(end) - int(start) in {49, 50, *range(26, 31)}


def test_validation_windows_are_fixed(genome):
    corpus, trainer = st.corpus_of(genome), st.trainer_of(genome, st.small_run(RUN))
    first, again = (trainer.data.letters(trainer.data.valid) for _ in range(2))
    assert b"".join(map(bytes, first)) == bytes(corpus.letters(0))
    assert [bytes(row) for row in first] == [bytes(row) for row in again]
    assert trainer.measure_valid() == trainer.measure_valid()


def test_windowed_model_folder_and_evaluation(genome, capsys):
    st.run_steps("train evaluate")
    assert "too many: train 97, valid 21, test 24" in capsys.readouterr().out
    metrics = st.read_json("metrics.json")
    assert (metrics["valid"]["n"], metrics["test"]["n"], metrics["window"]) == (21, 24, 50)
    unigram = metrics["test"]["baselines"]["unigram"]["perplexity"]["value"]
    assert unigram == pytest.approx(16, abs=1)
    table = st.read_tsv("predictions/test.tsv")
    assert list(table)[:3] == ["id", "start", "end"]
    assert table["end"].tolist() == [*range(50, 1201, 50)]
    seen = pd.read_parquet(genome / "model" / "seen.parquet")
    assert len(seen) == 4  # complete records, by their keys
    limits = load_file(genome / "model" / "reference.safetensors")["limits"]
    assert limits[:2].tolist() == [27, 50]  # of the windows, not of complete chromosomes


def test_checkpoint_depends_on_window():
    run = st.small_run(RUN)
    other = run.model_copy(update={"training": run.training.model_copy(update={"window": None})})
    assert run.model_dump()["training"]["window"] == 50
    assert "window" not in other.model_dump()["training"]
