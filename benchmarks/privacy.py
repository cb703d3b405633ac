"""Measure the cost and the effect of private training on the fly promoters.

Models are trained without privacy and with epsilon 8, 3 and 1, and attacked: which records were in
train? Train, validation, test and a fourth part, which trains a reference model, are sampled at
random from the same records. So test differs from train only in not being trained on.

One row per model: epsilon spent, test AUROC with its interval, AUROC of the attack by the loss,
AUROC of the attack by how much lower the loss is than that of the reference model
(`evaluation.membership`; 0.5 is chance), both on all of train and test, and seconds. "plain" is
chosen on the validation set like any run. "overfitted" has no dropout and keeps its last step. "as
private" has the steps, batches and other settings of the private runs, but no noise and no clipping
per record: the loss from it to the private runs is the price of privacy, and the loss before it is
the price of few steps. Nothing was tuned on test.

    python benchmarks/privacy.py              # continues in results/bench_privacy/
    python benchmarks/privacy.py --quick      # a check of a few steps
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tomli_w
from numpy.typing import NDArray
from promoter import command, is_trained

from selfattn_bio.data.corpus import Corpus
from selfattn_bio.evaluation.membership import loss_attack, record_losses
from selfattn_bio.evaluation.metrics import Bootstrap
from selfattn_bio.scoring.scorer import load

QUICK = "--quick" in sys.argv[1:]
FOLDER = Path("results/bench_privacy_quick" if QUICK else "results/bench_privacy")
FILES = [f"data/fly_promoters/{name}.fa.gz" for name in ("positives", "negatives")]
SPLIT_SIZES = (
    {"train": 300, "valid": 100, "test": 300, "beside": 300}
    if QUICK
    else {"train": 4000, "valid": 1000, "test": 4000, "beside": 4000}
)
STEPS = 4 if QUICK else 800
PRIVATE_STEPS, PRIVATE_BATCH = (4, 32) if QUICK else (60, 256)
MODEL = {
    "kind": "attention",
    "members": 1,
    "embed_dim": 32,
    "num_layers": 1,
    "feedforward_dim": 64,
    "dropout": 0.1,
    "stem": {"kind": "conv", "norm": "record"},
}
PLAIN = {
    "max_steps": STEPS,
    "evaluate_every": max(1, STEPS // 8),
    "patience": 8,
    "shift": 0,
    "warmup_steps": STEPS // 10,
}
PRIVATE = {
    "max_steps": PRIVATE_STEPS,
    "batch_size": PRIVATE_BATCH,
    "learning_rate": 4e-3,
    "warmup_steps": 0,
    "shift": 0,
    "ema_decay": 0.9,
}
PRIVATE |= {
    "evaluate_every": max(1, PRIVATE_STEPS // 3),
    "label_smoothing": 0.0,
    "schedule": "constant",
}
RUNS: dict[str, dict[str, Any]] = {
    "plain": {"training": PLAIN},
    "overfitted": {
        "model": MODEL | {"dropout": 0.0},
        "training": PLAIN | {"evaluate_every": STEPS, "label_smoothing": 0.0, "ema_decay": 0.9},
    },
    "as private": {"model": MODEL | {"dropout": 0.0}, "training": PRIVATE},
    **{
        f"private {epsilon:g}": {
            "model": MODEL | {"dropout": 0.0},
            "training": PRIVATE,
            "privacy": {"epsilon": epsilon, "delta": 1e-5, "max_grad_norm": 1.0},
        }
        for epsilon in (8.0, 3.0, 1.0)
    },
}


def splits_of(corpus: Corpus) -> NDArray[np.str_]:
    """Sample the split of each record."""
    order, splits = (
        np.random.default_rng(0).permutation(len(corpus)),
        np.full(len(corpus), "dropped", dtype="<U8"),
    )
    ends = np.cumsum(list(SPLIT_SIZES.values()))
    if ends[-1] > len(corpus):
        raise ValueError(f"{len(corpus):,} records are too few: {ends[-1]:,} are needed")
    for name, start, end in zip(SPLIT_SIZES, [0, *ends], ends, strict=False):
        splits[order[start:end]] = name
    return splits


def prepare() -> tuple[Corpus, NDArray[np.str_]]:
    """Write the corpus and two splits: of the runs, and of the reference model.

    The reference model is trained on the fourth part.
    """
    if not (FOLDER / "corpus").exists():
        command(
            "ingest",
            "--fasta",
            *FILES,
            "--label",
            1,
            0,
            "--alphabet",
            "dna",
            "--assembly",
            "dm3",
            "--output",
            FOLDER / "corpus",
        )
    corpus = Corpus.open(FOLDER / "corpus")
    splits = splits_of(corpus)
    own = {"split": np.where(splits == "beside", "dropped", splits)}
    beside = {
        "split": np.where(
            splits == "beside", "train", np.where(splits == "train", "dropped", splits)
        )
    }
    for name, columns in (("split", own), ("beside", beside)):
        pd.DataFrame({"id": corpus.records["id"], **columns, "reason": "drawn"}).to_csv(
            FOLDER / f"{name}.tsv", sep="\t", index=False
        )
    return corpus, splits


def trained(name: str, sections: dict[str, Any], split: str = "split") -> Path:
    """Return a model folder; train if it is missing or its settings changed."""
    path, output = FOLDER / f"{name.replace(' ', '_')}.toml", FOLDER / name.replace(" ", "_")
    data = {"positives": FILES[0], "negatives": FILES[1], "assembly": "dm3"}
    path.write_text(
        tomli_w.dumps({"data": data, "model": MODEL, "variants": {}} | sections), encoding="utf-8"
    )
    corpus, table = FOLDER / "corpus", FOLDER / f"{split}.tsv"
    if not is_trained(path, "", output, corpus, table):
        command(
            "train",
            "--run-file",
            path,
            "--corpus",
            corpus,
            "--split",
            table,
            "--threads",
            1,
            "--output",
            output,
        )
    return output


def main() -> None:
    """Train what is missing, attack, and print the table."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    corpus, splits = prepare()
    labels = corpus.records["label"].to_numpy(dtype=np.int64)
    rows = {split: np.flatnonzero(splits == split) for split in ("train", "test")}
    letters = {
        split: [corpus.letters(int(row)) for row in of_split] for split, of_split in rows.items()
    }

    def losses(folder: Path) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.float64]]:
        logits = {split: load(folder).logits(of_split) for split, of_split in letters.items()}
        return {split: record_losses(logits[split], labels[rows[split]]) for split in rows}, logits[
            "test"
        ]

    of_beside, _ = losses(trained("beside", RUNS["plain"], "beside"))
    table = []
    for name, sections in RUNS.items():
        folder = trained(name, sections)
        found, logits = losses(folder)
        ranks = np.unique(logits, return_inverse=True)[1]
        auroc = (
            Bootstrap(labels[rows["test"]]).metrics(ranks / ranks.max(), 0.5)["auroc"].interval()
        )
        alone = loss_attack(found["train"], found["test"])
        beside = loss_attack(found["train"], found["test"], (of_beside["train"], of_beside["test"]))
        told, cost = (
            json.loads((folder / file).read_text()) for file in ("provenance.json", "train.json")
        )
        spent = told.get("privacy", {}).get("epsilon")
        shown = [
            f"{each['value']:.3f} ({each['low']:.3f} to {each['high']:.3f})"
            for each in (auroc, alone, beside)
        ]
        epsilon = "inf" if spent is None else f"{spent:.2f}"
        table.append(
            [
                name,
                epsilon,
                *shown,
                f"{told.get('privacy', {}).get('noise_multiplier', 0):.2f}",
                f"{cost['seconds']:.0f}",
            ]
        )
    columns = [
        "model",
        "epsilon",
        "test AUROC",
        "attack: loss",
        "attack: loss vs. reference",
        "noise",
        "seconds",
    ]
    print(f"{len(rows['train']):,} train and {len(rows['test']):,} test records, delta 1e-5")
    print(pd.DataFrame(table, columns=columns).to_string(index=False))


if __name__ == "__main__":
    main()
