"""A trainer killed with SIGKILL at any moment and started again ends with the same weights and history, bit for bit."""

import itertools
import multiprocessing
import os
import signal

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from selfattn_bio import files
from selfattn_bio.config import read_run_file
from selfattn_bio.data.corpus import Corpus, Rules, build_corpus
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.training import loop

PROCESSES = multiprocessing.get_context("forkserver")  # torch is imported once for all trainers
PROCESSES.set_forkserver_preload(["selfattn_bio.training.loop"])


def trainer(folder, moment, count):
    """Train, and kill this process at the given moment: no signal handler, no `finally`, no flush can help it."""

    def dying(function):
        calls = itertools.count(1)

        def call(*arguments, **named):
            if next(calls) == count:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **named)

        return call

    if moment == "in a step":
        loop.learning_rate = dying(loop.learning_rate)
    elif moment == "in an evaluation":
        loop.roc_auc_score = dying(loop.roc_auc_score)
    elif moment == "in a save":
        files.os.replace = dying(os.replace)
    torch.set_num_threads(1)
    loop.train(read_run_file(folder / "run.toml"), Corpus.open(folder / "corpus"), folder / "split.tsv", folder / "model", threads=1)


RUN = """
[data]
positives = "positives.fa"
negatives = "negatives.fa"
[model]
kind = "attention"
embed_dim = 8
num_layers = 1
num_heads = 2
feedforward_dim = 8
stem = { kind = "conv", token_dim = 4, kernel = 5, pool = 4, second_kernel = 3 }
[training]
max_steps = 40
batch_size = 8
accumulate = 2
evaluate_every = 8
checkpoint_every = 3
shift = 3
reverse_complement = true
ema_decay = 0.9
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder with run file, corpus and split, and what an uninterrupted run made of them."""
    folder = tmp_path_factory.mktemp("kill")
    rng = np.random.default_rng(0)
    for name in ("positives", "negatives"):
        letters = ["".join(rng.choice(list("ACGT"), rng.integers(30, 60))) for _ in range(40)]
        (folder / f"{name}.fa").write_text("".join(f">{name}{i}\n{text}\n" for i, text in enumerate(letters)))
    (folder / "run.toml").write_text(RUN)
    corpus = build_corpus([(folder / "positives.fa", 1), (folder / "negatives.fa", 0)], folder / "corpus", Rules(DNA))
    sides = ["valid" if i % 4 == 0 else "train" for i in range(len(corpus))]
    pd.DataFrame({"id": corpus.records["id"], "split": sides, "reason": ""}).to_csv(folder / "split.tsv", sep="\t", index=False)
    assert start(folder, "never", 0) == 0
    (folder / "model").rename(folder / "expected")
    return folder


def start(folder, moment, count):
    process = PROCESSES.Process(target=trainer, args=(folder, moment, count))
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode


def forget(folder):
    for file in (folder / "model.checkpoints").iterdir():
        file.unlink()


def same_as_expected(folder):
    expected, found = (load_file(folder / name / "model.safetensors") for name in ("expected", "model"))
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[key], found[key]) for key in expected)
    histories = [pd.read_csv(folder / name / "history.csv").drop(columns="seconds") for name in ("expected", "model")]
    pd.testing.assert_frame_equal(*histories, check_exact=True)


@pytest.mark.slow
def test_killed_at_five_random_steps(prepared):
    forget(prepared)
    rng = np.random.default_rng(1)
    kills = 0
    for count in rng.integers(2, 14, 5):
        kills += start(prepared, "in a step", count) == -signal.SIGKILL
    assert kills == 5
    assert start(prepared, "never", 0) == 0
    same_as_expected(prepared)


@pytest.mark.slow
@pytest.mark.parametrize(("moment", "count"), [("in an evaluation", 2), ("in a save", 4)])
def test_killed_while_it_evaluates_or_saves(prepared, moment, count):
    forget(prepared)
    assert start(prepared, moment, count) == -signal.SIGKILL
    assert start(prepared, "never", 0) == 0
    same_as_expected(prepared)
    assert not list(prepared.rglob("*.tmp"))
