"""Measure the cost and the effect of private training on the fly promoters.

Models are trained without privacy and with epsilon 8, 3 and 1, and attacked: which records were in
train? Train, validation, test and a fourth part, which trains a reference model, are sampled at
random from the same records. So test differs from train only in not being trained on.

One row per model: epsilon spent, test AUROC with its interval, AUROC of the attack by the loss,
AUROC of the attack by how much lower the loss is than that of the reference model
(`membership.py`; 0.5 is chance), both on all of train and test, and seconds. "plain" is
chosen on the validation set like any run. "overfitted" has no dropout and keeps its last step. "as
private" has the steps, batches and other settings of the private runs, but no noise and no clipping
per record: the loss from it to the private runs is the price of privacy, and the loss before it is
the price of few steps. Nothing was tuned on test.

    python benchmarks/privacy.py              # continues in results/bench_privacy/
    python benchmarks/privacy.py --quick      # a check of a few steps
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from harness import Row, Table, interval, option, run
from membership import loss_attack, record_losses
from numpy.typing import NDArray
from runs import Records, Study, command, quick_folder, read_json, write_run_file

from selfattn_bio.data.corpus import Corpus
from selfattn_bio.evaluation.metrics import Bootstrap
from selfattn_bio.scoring.loading import load

FOLDER = Path("results/bench_privacy")
DATA = {
    "positives": "data/fly_promoters/positives.fa.gz",
    "negatives": "data/fly_promoters/negatives.fa.gz",
    "assembly": "dm3",
}
SIZES = {"train": 4000, "valid": 1000, "test": 4000, "reference": 4000}
QUICK_SIZES = {"train": 300, "valid": 100, "test": 300, "reference": 300}
MODEL = {
    "kind": "attention",
    "members": 1,
    "embed_dim": 32,
    "num_layers": 1,
    "feedforward_dim": 64,
    "dropout": 0.1,
    "attention_dropout": 0.1,
    "stem": {"kind": "conv", "norm": "record"},
}
NO_DROPOUT = MODEL | {"dropout": 0.0, "attention_dropout": 0.0}


def runs_of(quick: bool) -> dict[str, dict[str, Any]]:
    """Return the sections of each training by name."""
    steps, private_steps, batch = (4, 4, 32) if quick else (800, 60, 256)
    plain = {
        "max_steps": steps,
        "evaluate_every": max(1, steps // 8),
        "patience": 8,
        "shift": 0,
        "warmup_steps": steps // 10,
    }
    last_step = {"evaluate_every": steps, "label_smoothing": 0.0, "ema_decay": 0.9}
    private = {
        "max_steps": private_steps,
        "batch_size": batch,
        "learning_rate": 4e-3,
        "warmup_steps": 0,
        "shift": 0,
        "ema_decay": 0.9,
        "evaluate_every": max(1, private_steps // 3),
        "label_smoothing": 0.0,
        "schedule": "constant",
    }
    runs = {
        "plain": {"model": MODEL, "training": plain},
        "overfitted": {"model": NO_DROPOUT, "training": plain | last_step},
        "as private": {"model": NO_DROPOUT, "training": private},
    }
    for epsilon in (8.0, 3.0, 1.0):
        privacy = {"epsilon": epsilon, "delta": 1e-5, "max_grad_norm": 1.0}
        runs[f"private {epsilon:g}"] = runs["as private"] | {"privacy": privacy}
    return runs


def splits_of(corpus: Corpus, sizes: dict[str, int]) -> NDArray[np.str_]:
    """Sample the split of each record."""
    order = np.random.default_rng(0).permutation(len(corpus))
    splits = np.full(len(corpus), "dropped", dtype="<U9")
    ends = np.cumsum(list(sizes.values()))
    if ends[-1] > len(corpus):
        raise ValueError(f"{len(corpus):,} records are too few: {ends[-1]:,} are needed")
    for name, start, end in zip(sizes, [0, *ends], ends, strict=False):
        splits[order[start:end]] = name
    return splits


class ReferenceStudy(Study):
    """The same corpus, with the fourth part as training set."""

    @property
    def split(self) -> Path:
        """Table of the split."""
        return self.folder / "reference.tsv"


def prepare(study: Study, reference: Study, sizes: dict[str, int]) -> None:
    """Write the corpus and both splits."""
    if not study.corpus.exists():
        run_file = write_run_file(study.folder / "data.toml", {"data": DATA})
        command("ingest", "--run-file", run_file, "--output", study.corpus)
    splits = splits_of(Corpus.open(study.corpus), sizes)
    study.write_split(np.where(splits == "reference", "dropped", splits))
    others = np.where(splits == "train", "dropped", splits)
    reference.write_split(np.where(splits == "reference", "train", others))


def trained(study: Study, name: str, sections: dict[str, Any]) -> Path:
    """Return a model folder; train if it is missing or its settings changed."""
    output = study.folder / name.replace(" ", "_")
    settings = {"data": DATA, "variants": {}, **sections}
    return study.train(write_run_file(output.with_suffix(".toml"), settings), output)


def losses_of(
    folder: Path, records: Records
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the losses of a model on train and on test, and its logits on test."""
    scorer = load(folder)
    logits = {split: scorer.logits(records.letters(split)) for split in ("train", "test")}
    train, test = (record_losses(of, records.labels(split)) for split, of in logits.items())
    return train, test, logits["test"]


def row(name: str, folder: Path, records: Records, of_reference: tuple[Any, Any]) -> Row:
    """Attack a model and return its row."""
    train, test, logits = losses_of(folder, records)
    ranks = np.unique(logits, return_inverse=True)[1]
    sampled = Bootstrap(records.labels("test")).metrics(ranks / ranks.max(), 0.5)["auroc"]
    privacy = read_json(folder / "provenance.json").get("privacy", {})
    return {
        "model": name,
        "epsilon": f"{privacy['epsilon']:.2f}" if "epsilon" in privacy else "inf",
        "test AUROC": interval(sampled.interval()),
        "attack: loss": interval(loss_attack(train, test)),
        "attack: loss vs. reference": interval(loss_attack(train, test, of_reference)),
        "noise": f"{privacy.get('noise_multiplier', 0):.2f}",
        "seconds": f"{read_json(folder / 'train.json')['seconds']:.0f}",
    }


def measure(chosen: argparse.Namespace) -> Iterator[Table]:
    """Train what is missing, and attack."""
    study = Study(quick_folder(FOLDER, chosen.quick))
    reference, runs = ReferenceStudy(study.folder), runs_of(chosen.quick)
    prepare(study, reference, QUICK_SIZES if chosen.quick else SIZES)
    records = study.records()
    of_reference = losses_of(trained(reference, "reference", runs["plain"]), records)[:2]
    yield Table(
        f"{len(records.rows('train')):,} train and {len(records.rows('test')):,} test records, "
        "delta 1e-5",
        (
            row(name, trained(study, name, sections), records, of_reference)
            for name, sections in runs.items()
        ),
    )


if __name__ == "__main__":
    run(__doc__, measure, option("--quick", action="store_true", help="a check of a few steps"))
