"""Two processes that torchrun starts train as one with the same batches would."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file
from torch.testing import assert_close

from selfattn_bio.data.corpus import Rules, build_corpus
from selfattn_bio.sequence.alphabet import DNA

TIMED = ["seconds", "letters_per_second", "peak_memory_mb"]  # of the history: no two runs have the same
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
dropout = 0.0
stem = { kind = "none" }  # the batch norm of the other one takes the statistics of what a process sees
[training]
max_steps = 24
batch_size = 16
accumulate = 2
evaluate_every = 6
shift = 2
"""


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("positives", "negatives"):
        records = ["".join(rng.choice(list("ACGT"), rng.integers(30, 60))) for _ in range(41)]  # the last batch of an epoch has one record
        (tmp_path / f"{name}.fa").write_text("".join(f">{name}{i}\n{letters}\n" for i, letters in enumerate(records)))
    (tmp_path / "run.toml").write_text(RUN)
    corpus = build_corpus([(tmp_path / "positives.fa", 1), (tmp_path / "negatives.fa", 0)], tmp_path / "corpus", Rules(DNA))
    sides = ["valid" if i % 4 == 0 else "train" for i in range(len(corpus))]
    assert sides.count("train") % 16 == 13
    pd.DataFrame({"id": corpus.records["id"], "split": sides, "reason": ""}).to_csv(tmp_path / "split.tsv", sep="\t", index=False)

    def train(output, *launcher):
        command = [sys.executable, *launcher, "-m", "selfattn_bio.cli.main", "train", "--run-file", "run.toml", "--corpus", "corpus"]
        command += ["--split", "split.tsv", "--threads", "1", "--output", output]
        done = subprocess.run(command, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        assert done.returncode == 0, done.stdout
        return done.stdout

    train("one")
    said = train("two", "-m", "torch.distributed.run", "--nproc-per-node=2")
    assert "on 2 processes, each cpu with 1 threads" in said
    assert said.count("model in two") == 1  # the second process is silent
    one, two = (pd.read_csv(tmp_path / name / "history.csv").drop(columns=TIMED) for name in ("one", "two"))
    pd.testing.assert_frame_equal(one, two, rtol=1e-4)
    for name, weight in load_file(tmp_path / "one" / "model.safetensors").items():
        assert_close(load_file(tmp_path / "two" / "model.safetensors")[name], weight, rtol=1e-3, atol=1e-4)
