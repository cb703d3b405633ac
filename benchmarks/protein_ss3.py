"""Compare a network with simple baselines on the secondary structure of proteins.

Each residue is helix H, strand E or other C.

Trains on the chains of FLIP's set (9,712 chains of up to 1,632 residues), chooses on its validation
chains and reads TS115 once. Single sequences, no alignments. Residues without a resolved structure
have no label and do not count. Training and validation chains that share more than 5 % of their
15-mers with a chain of TS115 are removed first.

`benchmarks/accuracy.py` runs it and explains where the set is looked for.
Run: `python benchmarks/protein_ss3.py` (48 minutes per seed).
"""

from __future__ import annotations

import gzip
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pandas as pd
from comparison import DRAWS, FOLDER, Comparison, code_hash, mean_of
from runs import prepared, records_of, seconds_of, train_all, with_training

from selfattn_bio.baselines import BASELINES
from selfattn_bio.evaluation.metrics import ResampledMetric
from selfattn_bio.evaluation.summary import EVALUATED_SPLITS
from selfattn_bio.objectives import objective_of
from selfattn_bio.objectives.loss import UNKNOWN
from selfattn_bio.scoring.loading import load
from selfattn_bio.study.baselines import fit_baselines
from selfattn_bio.training.recipes import neighbours

NAME = "protein_ss3"
FILES = {"test": "ts115", "train": "train", "valid": "val"}
WORD, SHARED = 15, 0.05  # residues; fraction of the words of either chain
OBJECTIVE = {"kind": "labels", "column": "ss3", "classes": "HEC"}
MODEL = {
    "tokens": {"k": 1},
    "model": neighbours(1, 1).model,
    "training": {
        **{"max_steps": 3000, "batch_size": 16, "learning_rate": 2e-3, "warmup_steps": 150},
        **{"shift": 0, "label_smoothing": 0.0, "evaluate_every": 500, "checkpoint_every": 250},
        "precision": "bf16-mixed",
    },
}


def words(sequence: str) -> set[str]:
    """Return the words of WORD residues."""
    return {sequence[i : i + WORD] for i in range(len(sequence) - WORD + 1)}


def alike(chains: pd.Series, test: pd.Series) -> np.ndarray:
    """Return which chains share more than SHARED of the words of either chain with a test chain."""
    of_test = [words(sequence) for sequence in test]
    holders: dict[str, list[int]] = {}
    for number, found in enumerate(of_test):
        for word in found:
            holders.setdefault(word, []).append(number)
    flags = np.zeros(len(chains), bool)
    for row, sequence in enumerate(chains):
        own = words(sequence)
        shared = Counter(number for word in own for number in holders.get(word, ()))
        flags[row] = any(
            count > SHARED * min(len(own), len(of_test[number])) for number, count in shared.items()
        )
    return flags


def read_chains(folder: Path) -> pd.DataFrame:
    """Read the chains, test first, without those similar to a test chain.

    Columns are id, split, sequence and ss3, which has - at masked residues.
    """
    tables = []
    for split, name in FILES.items():
        table = pd.read_csv(folder / f"{name}.tsv.gz", sep="\t", dtype=str, keep_default_na=False)
        (mask,) = (column for column in table.columns if column.endswith("mask"))
        pairs = zip(table["ss3"], table[mask], strict=True)
        labels = [
            "".join(label if known == "1" else "-" for label, known in zip(*both, strict=True))
            for both in pairs
        ]
        found = {"id": split + "_" + table["id"], "split": split, "sequence": table["sequence"]}
        tables.append(pd.DataFrame(found | {"ss3": labels}))
    chains = pd.concat(tables, ignore_index=True)
    is_test = chains["split"] == "test"
    dropped = np.zeros(len(chains), bool)
    dropped[~is_test] = alike(chains["sequence"][~is_test], chains["sequence"][is_test])
    left_out = chains["split"][dropped].value_counts().items()
    said = ", ".join(f"{split} {count}" for split, count in left_out)
    kept = chains[~dropped].reset_index(drop=True)
    counts = ", ".join(f"{split} {(kept['split'] == split).sum():,}" for split in FILES)
    print(
        f"{NAME}: left out as similar to TS115: {said or 'none'}; kept {counts} chains", flush=True
    )
    return kept


def task_of(source: Path, folder: Path) -> dict[str, Any]:
    """Write the chains of the set and their labels; return the content of a run file."""
    chains, fasta, labels = read_chains(source), folder / "chains.fa.gz", folder / "labels.tsv"
    folder.mkdir(parents=True, exist_ok=True)
    with gzip.open(fasta, "wt", compresslevel=1) as file:
        rows = zip(chains["id"], chains["split"], chains["sequence"], strict=True)
        file.writelines(f">{name} split={split}\n{letters}\n" for name, split, letters in rows)
    chains[["id", "ss3"]].to_csv(labels, sep="\t", index=False)
    data = {"alphabet": "protein", "sequences": str(fasta), "targets": str(labels)}
    return {"data": data, "split": {"kind": "column"}, "objective": OBJECTIVE, **MODEL}


@dataclass(frozen=True)
class Chains:
    """Chains with one label per residue."""

    published: str = ""
    seeds: int = 1
    reason: str = "a training takes 48 minutes"

    def measure(self, name: str, folder: Path, seeds: int) -> Comparison:
        """Train, and compare with the baselines that `evaluate` has for labels."""
        place = FOLDER / name
        study = prepared(place, with_training(task_of(folder, place), seeds=seeds))
        train_all(study.members, code_hash())
        objective, records = objective_of(study.run.objective), records_of(study)
        (_, targets), letters = records.targets(study.run), records.letters
        examples = {
            split: objective.examples_of(targets[split], records.table(split))
            for split in EVALUATED_SPLITS
        }
        fitted, _ = fit_baselines(objective, records, study.run, targets, {}, examples)
        scorers = [load(each.files.model) for each in study.members]
        each = [
            sampled_q3(scorer.token_outputs(letters["test"]), targets["test"]) for scorer in scorers
        ]
        on_test = mean_of(each)
        return Comparison(
            metric="Q3",
            valid=mean(
                sampled_q3(scorer.token_outputs(letters["valid"]), targets["valid"], 1).value
                for scorer in scorers
            ),
            model=on_test,
            network=on_test,
            by_seed=[of.value for of in each],
            baselines={
                BASELINES[name].title: sampled_q3(
                    baseline.classifier.predictions["test"], targets["test"]
                )
                for name, baseline in fitted.items()
            },
            seconds=seconds_of(study),
        )


def sampled_q3(
    predictions: Sequence[np.ndarray], targets: Sequence[np.ndarray], draws: int = DRAWS
) -> ResampledMetric:
    """Return the fraction of residues with the right label, with bootstrap samples over chains.

    Calls with the same number of chains use the same samples.

    Parameters
    ----------
    predictions
        Per chain (L, classes): the class with the highest value is predicted.
    targets
        Per chain (L,): the class, or UNKNOWN.
    """
    pairs = list(zip(predictions, targets, strict=True))
    right = np.array([(predicted.argmax(axis=1) == truth).sum() for predicted, truth in pairs])
    known = np.array([(truth != UNKNOWN).sum() for _, truth in pairs])
    weights = np.random.default_rng(0).multinomial(
        len(pairs), np.full(len(pairs), 1 / len(pairs)), size=draws
    )
    return ResampledMetric(
        float(right.sum() / known.sum()), weights @ right / (weights @ known), (0, 1)
    )


if __name__ == "__main__":
    import accuracy

    accuracy.main([NAME, *sys.argv[1:]])
