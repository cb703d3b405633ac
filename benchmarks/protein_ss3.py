"""Secondary structure of proteins, a label a residue (helix H, strand E, other C), from single sequences: Q3 on TS115.

Trains on the chains of FLIP's secondary structure set (9,712, to 1,632 residues), chooses on its validation chains and reads TS115 once.
Residues that are not resolved have no label and count nowhere. Chains of train and validation that share more than 5 % of their or its
15-letter words with a chain of TS115 are left out first.

The set is no part of the project; where it is sought, and what is kept, is said in `benchmarks/accuracy.py`, which runs this too.
Run: `python benchmarks/protein_ss3.py` (under an hour).
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from promoter import command
from published import FOLDER, prepare, said, seconds_of, trained, write_fasta

NAME = "protein_ss3"
FILES = {"test": "ts115", "train": "train", "valid": "val"}
WORD, SHARED = 15, 0.05  # letters; share of the words of either chain
OBJECTIVE = {"kind": "labels", "column": "ss3", "classes": "HEC"}
MODEL = {
    "tokens": {"k": 1},
    "model": {
        **{"kind": "attention", "members": 1, "embed_dim": 128, "num_layers": 3, "feedforward_dim": 256, "dropout": 0.1},
        "stem": {"kind": "conv", "token_dim": 24, "kernel": 11, "pool": 1, "second_kernel": 7},
        "position": {"kind": "t5", "num_buckets": 64, "max_distance": 64},
        "pattern": {"kind": "window", "window": 32},
    },
    "training": {
        **{"max_steps": 3000, "batch_size": 16, "learning_rate": 2e-3, "warmup_steps": 150, "shift": 0, "label_smoothing": 0.0},
        **{"evaluate_every": 500, "checkpoint_every": 250, "precision": "bf16-mixed"},
    },
}


def words(sequence: str) -> set[str]:
    """The words of WORD letters."""
    return {sequence[i : i + WORD] for i in range(len(sequence) - WORD + 1)}


def alike(chains: pd.Series, test: pd.Series) -> np.ndarray:
    """Which chains share more than SHARED of their own words, or of its words, with one chain of test."""
    of_test = [words(sequence) for sequence in test]
    holders: dict[str, list[int]] = {}
    for number, found in enumerate(of_test):
        for word in found:
            holders.setdefault(word, []).append(number)
    flags = np.zeros(len(chains), bool)
    for row, sequence in enumerate(chains):
        own = words(sequence)
        shared = Counter(number for word in own for number in holders.get(word, ()))
        flags[row] = any(count > SHARED * min(len(own), len(of_test[number])) for number, count in shared.items())
    return flags


def read_chains(folder: Path) -> pd.DataFrame:
    """id, side, sequence and ss3, with - where a residue is masked; test first. Without the chains that are like one of test."""
    tables = []
    for side, name in FILES.items():
        table = pd.read_csv(folder / f"{name}.tsv.gz", sep="\t", dtype=str, keep_default_na=False)
        (mask,) = (column for column in table.columns if column.endswith("mask"))
        pairs = zip(table["ss3"], table[mask], strict=True)
        labels = ["".join(label if known == "1" else "-" for label, known in zip(*both, strict=True)) for both in pairs]
        tables.append(pd.DataFrame({"id": side + "_" + table["id"], "side": side, "sequence": table["sequence"], "ss3": labels}))
    chains = pd.concat(tables, ignore_index=True)
    is_test = chains["side"] == "test"
    dropped = np.zeros(len(chains), bool)
    dropped[~is_test] = alike(chains["sequence"][~is_test], chains["sequence"][is_test])
    said = ", ".join(f"{side} {count}" for side, count in chains["side"][dropped].value_counts().items())
    kept = chains[~dropped].reset_index(drop=True)
    counts = ", ".join(f"{side} {(kept['side'] == side).sum():,}" for side in FILES)
    print(f"{NAME}: left out as they share words with TS115: {said or 'none'}; kept {counts} chains", flush=True)
    return kept


def prepared(bench: Path) -> Path:
    """The run file of the set."""
    chains = read_chains(bench / NAME)
    folder = FOLDER / NAME
    sequences = write_fasta(folder / "chains.fa.gz", chains["id"], chains["sequence"])
    chains[["id", "ss3"]].to_csv(folder / "labels.tsv", sep="\t", index=False)
    data = {"alphabet": "protein", "sequences": sequences, "targets": str(folder / "labels.tsv")}
    return prepare(NAME, {"data": data, "objective": OBJECTIVE, **MODEL}, chains)


def judge(name: str, bench: Path) -> dict[str, str]:
    """A row of the table of `benchmarks/accuracy.py`."""
    run_file = prepared(bench)
    folders, corpus, split = trained(run_file), run_file.with_name("corpus"), run_file.with_name("split.tsv")
    command("evaluate", "--run-file", run_file, "--corpus", corpus, "--split", split, "--model", *folders, "--output", run_file.parent)
    metrics = json.loads(run_file.with_name("metrics.json").read_text(encoding="utf-8"))
    model, around = metrics["test"]["model"]["accuracy"], metrics["test"]["baselines"]["window_logistic"]["accuracy"]
    return {
        **{
            "set": name,
            "metric": "Q3",
            "model on dev": f"{metrics['valid']['model']['accuracy']['value']:.3f}",
            "model on test": said(model),
        },
        **{"simple baseline": f"the 15 residues around: {said(around)}", "model - baseline": f"{model['value'] - around['value']:+.3f}"},
        **{"networks averaged": str(len(folders)), "seconds": f"{seconds_of(folders):.0f}"},
    }


if __name__ == "__main__":
    import accuracy

    accuracy.main([NAME, *sys.argv[1:]])
