"""Create a small task that trains in seconds, train it in several processes, compare runs."""

import contextlib
import multiprocessing
import os
import socket

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file

from selfattn_bio.config import read_run_file
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.data.ingest import build_corpus
from selfattn_bio.data.writer import RecordRules
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.training.hardware import gather, open_fabric
from selfattn_bio.training.trainer import Trainer

PROCESSES = multiprocessing.get_context("forkserver")  # torch is imported once for all trainers
PROCESSES.set_forkserver_preload(["selfattn_bio.training.loop"])
# these differ from run to run
TIMED = ["seconds", "letters_per_second", "tokens_per_second", "gemm_share", "peak_memory_mb"]


def history(model):
    """Return history.csv of a model folder without the columns that differ from run to run."""
    return pd.read_csv(model / "history.csv").drop(columns=TIMED)


def write_task(folder, run, positives=40, negatives=40):
    """Write run.toml, a corpus and split.tsv to a folder.

    Records are 30 to 59 random bases long. Every fourth is for validation, the others for training;
    the test split is empty.
    """
    rng = np.random.default_rng(0)
    for name, number in (("positives", positives), ("negatives", negatives)):
        letters = ["".join(rng.choice(list("ACGT"), rng.integers(30, 60))) for _ in range(number)]
        (folder / f"{name}.fa").write_text(
            "".join(f">{name}{i}\n{text}\n" for i, text in enumerate(letters))
        )
    (folder / "run.toml").write_text(run)
    corpus = build_corpus(
        [(folder / "positives.fa", 1), (folder / "negatives.fa", 0)],
        folder / "corpus",
        RecordRules(DNA),
    )
    splits = ["valid" if i % 4 == 0 else "train" for i in range(len(corpus))]
    pd.DataFrame({"id": corpus.records["id"], "split": splits, "reason": ""}).to_csv(
        folder / "split.tsv", sep="\t", index=False
    )
    return splits


def environments(processes):
    """Return the variables that torchrun would set for each process; none for a single process."""
    if processes == 1:
        return [{}]
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "WORLD_SIZE": processes,
        "LOCAL_WORLD_SIZE": processes,
    }
    shared |= {"TORCHELASTIC_RUN_ID": "test", "GROUP_RANK": 0}
    return [
        {key: str(value) for key, value in {**shared, "RANK": rank, "LOCAL_RANK": rank}.items()}
        for rank in range(processes)
    ]


def write_gradients(folder, environment, sharded, merged, output):
    """Write the gradients of the first step, gathered on the first process.

    With `merged`, the records of the two accumulated batches form a single batch.
    """
    os.environ |= environment
    torch.set_num_threads(1)
    fabric = open_fabric("32-true", sharded=sharded)
    run, corpus = read_run_file(folder / "run.toml"), Corpus.open(folder / "corpus")
    trainer = Trainer(fabric, run, corpus, folder / "split.tsv", folder / "none", "model")
    if merged:
        (epoch, first), (_, second) = trainer.steps.stream.batches(0)
        trainer.steps.stream.batches = lambda step: [(epoch, np.concatenate([first, second]))]
    trainer.steps.add_gradients(0)
    gradients = {
        name: gather(parameter.grad) for name, parameter in trainer.bare.named_parameters()
    }
    if fabric.is_global_zero:
        save_file(gradients, output)


def gradients_of(folder, processes=1, *, sharded=False, merged=False):
    """Return the gradients of the first step, computed by `processes` processes."""
    output = folder / f"gradients-{processes}-{sharded}-{merged}.safetensors"
    each = [
        (folder, environment, sharded, merged, output) for environment in environments(processes)
    ]
    started = [PROCESSES.Process(target=write_gradients, args=arguments) for arguments in each]
    for process in started:
        process.start()
    for process in started:
        process.join()
    assert [process.exitcode for process in started] == [0] * processes
    return load_file(output)
