"""A small task and its trainer, for the tests of private training."""

import numpy as np
import pandas as pd

from selfattn_bio import config
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.data.ingest import build_corpus
from selfattn_bio.data.writer import RecordRules
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.training.hardware import open_fabric
from selfattn_bio.training.loop import train
from selfattn_bio.training.trainer import Trainer

MODEL = {
    "embed_dim": 16,
    "num_layers": 1,
    "num_heads": 2,
    "feedforward_dim": 16,
    "dropout": 0.0,
    "stem": config.NoStemSection(),
    "members": 1,
}
SHORT = {
    "max_steps": 6,
    "batch_size": 12,
    "evaluate_every": 3,
    "checkpoint_every": 2,
    "matmul": "highest",
    "precision": "32-true",
    "warmup_steps": 0,
}
PRIVACY = config.Privacy(epsilon=8.0, delta=1e-3)


def write_task_of(tmp_path_factory):
    """Create a corpus of 48 records of 20 to 39 bases and a split; every fourth is validation."""
    folder = tmp_path_factory.mktemp("private")
    rng = np.random.default_rng(0)
    for name in ("positives", "negatives"):
        letters = ["".join(rng.choice(list("ACGT"), rng.integers(20, 40))) for _ in range(24)]
        (folder / f"{name}.fa").write_text(
            "".join(f">{name}{i}\n{text}\n" for i, text in enumerate(letters))
        )
    corpus = build_corpus(
        [(folder / "positives.fa", 1), (folder / "negatives.fa", 0)],
        folder / "corpus",
        RecordRules(DNA),
    )
    splits = ["valid" if i % 4 == 0 else "train" for i in range(len(corpus))]
    pd.DataFrame({"id": corpus.records["id"], "split": splits, "reason": ""}).to_csv(
        folder / "split.tsv", sep="\t", index=False
    )
    return folder


def run_file(training=None, privacy=PRIVACY, **model):
    return config.RunFile(
        data=config.Data(positives=("a",), negatives=("b",)),
        model=config.AttentionModel(**MODEL | model),
        training=config.Training(**SHORT | (training or {})),
        privacy=privacy,
    )


def trainer_of(task, run):
    return Trainer(
        open_fabric(run.training.precision),
        run,
        Corpus.open(task / "corpus"),
        task / "split.tsv",
        task / "none",
        "model",
    )


def fit(task, output, run):
    train(run, Corpus.open(task / "corpus"), task / "split.tsv", output, threads=1)
