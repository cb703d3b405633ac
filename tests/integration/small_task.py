"""Small tasks that train in seconds: write them, run their steps, interrupt and compare them."""

import contextlib
import json
import os
import shutil
import signal
import socket
import tomllib
from functools import cache, reduce
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tomli_w
import torch
from commands import PROCESSES, run
from safetensors.torch import load_file, save_file

from selfattn_bio import config
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.data.ingest import build_corpus
from selfattn_bio.data.writer import RecordRules
from selfattn_bio.errors import TrainingInterrupted
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.readers import SequenceFile
from selfattn_bio.training import loop
from selfattn_bio.training.trainer import Trainer

# these differ from run to run
TIMED = ["seconds", "letters_per_second", "tokens_per_second", "peak_memory_mb"]
DATA = {"positives": "positives.fa", "negatives": "negatives.fa"}
SMALL = """
variants = {}
evaluation.bootstraps = 20
training = { max_steps = 4, batch_size = 16, evaluate_every = 2 }
[model]
kind = "attention"
members = 1
embed_dim = 16
num_layers = 1
num_heads = 2
feedforward_dim = 16
dropout = 0.0
stem.kind = "none"
"""


# ------------------------------------------------------------------------------------ the run file
def small(*changes: str) -> str:
    """Return the small run file with these changes; a section of another kind is replaced."""
    sections = reduce(overlaid, map(tomllib.loads, changes), tomllib.loads(SMALL))
    return tomli_w.dumps({"data": DATA} | sections)


def overlaid(section, changes):
    if not isinstance(section, dict) or not isinstance(changes, dict):
        return changes
    if changes.get("kind", section.get("kind")) != section.get("kind"):
        return changes
    return section | {key: overlaid(section.get(key), value) for key, value in changes.items()}


def small_run(*changes: str) -> config.RunFile:
    return config.RunFile.model_validate(tomllib.loads(small(*changes)))


# ----------------------------------------------------------------------------------- its sequences
def random_texts(rng, number, shortest, longest=0, letters="ACGT"):
    """Return random sequences; their lengths are below `longest`."""
    longest = longest or shortest + 1
    return [
        "".join(rng.choice(list(letters), rng.integers(shortest, longest))) for _ in range(number)
    ]


def reverse_complement(text):
    return text[::-1].translate(str.maketrans("ACGT", "TGCA"))


def write_fasta(path, texts, attributes=""):
    """Write FASTA; ids are the name of the file and a number, which attributes may contain."""
    path = Path(path)
    lines = (
        f">{path.stem}{i} {attributes.format(i)}".rstrip() + f"\n{text}\n"
        for i, text in enumerate(texts)
    )
    path.write_text("".join(lines))
    return path


def planted_texts(rng, number, length, word):
    """Return random sequences with a word at a random position; a list is one letter each."""
    texts = random_texts(rng, number, length)
    starts = rng.integers(0, length - len(word) + 1, number)
    return [
        text[:at] + word + text[at + len(word) :] for text, at in zip(texts, starts, strict=True)
    ]


def write_split(folder, splits):
    """Write split.tsv of the corpus in a folder."""
    table = {"id": corpus_of(folder).records["id"], "split": splits, "reason": ""}
    pd.DataFrame(table).to_csv(Path(folder) / "split.tsv", sep="\t", index=False)
    return Path(folder) / "split.tsv"


def write_task(folder, run_text, positives=40, negatives=40, lengths=(30, 60)):
    """Write run.toml, a corpus of random bases and split.tsv to a folder.

    Every fourth record is for validation, the others for training; the test split is empty.
    """
    rng = np.random.default_rng(0)
    files = [
        SequenceFile(write_fasta(folder / f"{name}.fa", random_texts(rng, number, *lengths)), label)
        for name, number, label in (("positives", positives, 1), ("negatives", negatives, 0))
    ]
    (folder / "run.toml").write_text(run_text)
    corpus = build_corpus(files, folder / "corpus", RecordRules(DNA))
    splits = ["valid" if i % 4 == 0 else "train" for i in range(len(corpus))]
    write_split(folder, splits)
    return splits


# ------------------------------------------------------------------------- smaller ones in Python
STEM = config.ConvStemSection(token_dim=8, kernel=9, second_kernel=3)
TINY = {
    **{"embed_dim": 16, "num_layers": 1, "num_heads": 2, "feedforward_dim": 16, "dropout": 0.0},
    **{"stem": config.NoStemSection(), "members": 1},
}
SHORT = {
    **{"max_steps": 6, "batch_size": 12, "evaluate_every": 3, "checkpoint_every": 2},
    **{"matmul": "highest", "precision": "32-true", "warmup_steps": 0},
}
# they learn a planted word
LEARNER = TINY | {"feedforward_dim": 32, "stem": STEM}
FAST = {"batch_size": 32, "learning_rate": 5e-3, "warmup_steps": 10, "ema_decay": 0.9}
PRIVACY = config.Privacy(epsilon=8.0, delta=1e-3)


def tiny_run(training=None, **sections):
    data = config.Data(positives=("a",), negatives=("b",))
    training = config.Training(**SHORT | (training or {}))
    return config.RunFile(**{"data": data, "training": training} | sections)


def private_run(training=None, privacy=PRIVACY, **model):
    return tiny_run(training, privacy=privacy, model=config.AttentionModel(**TINY | model))


# --------------------------------------------------------------------------- its steps and results
def corpus_of(folder):
    return Corpus.open(Path(folder) / "corpus")


def run_steps(steps, task="."):
    """Run steps of a task, such as "ingest split train"."""
    for step in steps.split():
        run(step, task, *(["--threads", 1] if step == "train" else []))


def fit(folder, run_file, output="model", *, threads=1):
    """Train on the corpus and the split in a folder; return the model folder."""
    corpus, split, output = corpus_of(folder), Path(folder) / "split.tsv", Path(folder) / output
    loop.train(Trainer(run_file, corpus, split, output), threads=threads)
    return output


def trainer_of(folder, run_file, precision="32-true"):
    """Return a trainer that has taken no step."""
    training = run_file.training.model_copy(update={"precision": precision})
    run_file, folder = run_file.model_copy(update={"training": training}), Path(folder)
    return Trainer(run_file, corpus_of(folder), folder / "split.tsv", folder / "none", "model")


def copy_task(task, folder, model=None):
    """Copy a task without its model, or with another one."""
    shutil.copytree(task, folder, ignore=shutil.ignore_patterns("model", "model.checkpoints"))
    if model:
        shutil.copytree(model, folder / "model")
    return folder


def rows_of(folder, split):
    """Return the rows of a split in the corpus."""
    return np.flatnonzero(read_tsv(Path(folder) / "split.tsv")["split"] == split)


def letters_of(folder, split):
    corpus = corpus_of(folder)
    return [corpus.letters(int(row)) for row in rows_of(folder, split)]


def read_json(path):
    return json.loads(Path(path).read_text())


def read_tsv(path):
    return pd.read_csv(path, sep="\t")


def history(model):
    """Return history.csv of a model folder without the columns that differ from run to run."""
    return pd.read_csv(model / "history.csv").drop(columns=TIMED)


def weights_of(model):
    return load_file(Path(model) / "model.safetensors")


def assert_same_weights(first, second):
    """Compare the weights of two model folders bit for bit."""
    one, two = weights_of(first), weights_of(second)
    assert one.keys() == two.keys()
    assert [name for name in one if not torch.equal(one[name], two[name])] == []


# ----------------------------------------------------------------------------------- interruptions
class Crash(Exception):
    """End a training, as a failing machine would."""


@contextlib.contextmanager
def after_step(number, work):
    """Call `work` after a step of each training."""
    take_step = Trainer.take_step

    def taking(trainer):
        take_step(trainer)
        if trainer.history.step == number:
            work()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "take_step", taking)
        yield


@contextlib.contextmanager
def stopped(number):
    """Stop the training within by SIGTERM at a step, which it saves."""
    message = f"stopped by SIGTERM at step {number}"
    with (
        after_step(number, lambda: os.kill(os.getpid(), signal.SIGTERM)),
        pytest.raises(TrainingInterrupted, match=message),
    ):
        yield


def crash():
    raise Crash


@contextlib.contextmanager
def crashed(number):
    """End the training within at a step, which it does not save."""
    with after_step(number, crash), pytest.raises(Crash):
        yield


# --------------------------------------------------------------------------------------- processes
def environments(processes):
    """Return the variables that torchrun would set for each process; none for a single process."""
    if processes == 1:
        return [{}]
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": processes}
    shared |= {"LOCAL_WORLD_SIZE": processes, "TORCHELASTIC_RUN_ID": "test", "GROUP_RANK": 0}
    return [
        {key: str(value) for key, value in {**shared, "RANK": rank, "LOCAL_RANK": rank}.items()}
        for rank in range(processes)
    ]


def write_gradients(folder, environment, merged, output):
    """Write the gradients of the first step, from the first process.

    With `merged`, the records of the two accumulated batches form a single batch.
    """
    os.environ |= environment
    torch.set_num_threads(1)
    trainer = trainer_of(folder, config.read_run_file(folder / "run.toml"))
    if merged:
        (epoch, first), (_, second) = trainer.steps.stream.batches(0)
        trainer.steps.stream.batches = lambda step: [(epoch, np.concatenate([first, second]))]
    trainer.steps.add_gradients(0)
    gradients = {name: parameter.grad for name, parameter in trainer.bare.named_parameters()}
    if trainer.fabric.is_global_zero:
        save_file(gradients, output)


@cache
def gradients_of(folder, processes=1, *, merged=False):
    """Return the gradients of the first step, computed by `processes` processes."""
    output = folder / f"gradients-{processes}-{merged}.safetensors"
    each = [(folder, environment, merged, output) for environment in environments(processes)]
    started = [PROCESSES.Process(target=write_gradients, args=arguments) for arguments in each]
    for process in started:
        process.start()
    for process in started:
        process.join()
    assert [process.exitcode for process in started] == [0] * processes
    return load_file(output)
