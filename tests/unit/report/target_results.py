"""Write a small results folder of an objective other than two classes, for tests of its page."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pages import read
from small_results import MOTIFS, make_results

from selfattn_bio.config import EvaluationSection, RunFile
from selfattn_bio.evaluation.bins import summarise_bins
from selfattn_bio.evaluation.language import summarise_language
from selfattn_bio.evaluation.metrics import Units
from selfattn_bio.evaluation.targets import summarise_targets, target_predictions
from selfattn_bio.objectives import objective_of
from selfattn_bio.objectives.base import object_array
from selfattn_bio.objectives.points import Bins
from selfattn_bio.report.results import Results

CLASSES = ("ebox", "gaga", "none")
OBJECTIVES: dict[str, dict[str, Any]] = {
    "regression": {"kind": "regression", "columns": ["expression"]},
    "columns": {"kind": "regression", "columns": ["liver", "lung"]},
    "multiclass": {"kind": "multiclass", "column": "family", "classes": CLASSES},
    "multilabel": {"kind": "multilabel", "columns": ["acetyl", "methyl"]},
    "labels": {"kind": "labels", "column": "structure", "classes": "HE"},
    "several": {
        "kind": "several",
        "parts": {
            "activity": {"kind": "regression", "columns": ["expression"]},
            "class": {"kind": "multiclass", "column": "family", "classes": CLASSES},
        },
    },
}
LENGTH = 60


def predictions(objective: Any, targets: Any, noise: float, rng: np.random.Generator) -> Any:
    """Return predictions that are the targets with noise."""
    match objective.kind:
        case "regression":
            return targets + rng.normal(0, noise, targets.shape)
        case "multiclass":
            scores = np.eye(len(CLASSES))[targets] + rng.normal(0, noise, (len(targets), 3))
            return np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        case "multilabel":
            return 1 / (1 + np.exp(-(targets - 0.5 + rng.normal(0, noise, targets.shape))))
        case "labels":
            known = [np.maximum(row, 0) for row in targets]
            return [np.eye(2)[row] + rng.normal(0, noise, (len(row), 2)) for row in known]
        case _:
            parts = [
                predictions(part, targets[name], noise, rng)
                for name, part in objective.parts.items()
            ]
            return np.concatenate(parts, axis=1)


def make_language(folder: Path, kind: str = "causal") -> Results:
    """Write the results of a language model to `folder`, and read them."""
    make_results(folder, MOTIFS[:0])
    objective = {"kind": kind}
    model = {"kind": "attention", "pattern": {"kind": "full", "causal": kind == "causal"}}
    model["stem"] = {"kind": "none"}
    run = RunFile.model_validate(
        {
            "data": {"sequences": "s.fa"},
            "objective": objective,
            "tokens": {"k": 1},
            "model": model,
            "training": {"reverse_complement": False},
        }
    )
    splits = pd.read_csv(folder / "split.tsv", sep="\t")["split"]
    rng, tokens = np.random.default_rng(0), 59
    sums = {
        split: np.stack(
            [rng.normal(1.2, 0.1, number) * tokens, np.full(number, 20), np.full(number, tokens)],
            axis=1,
        )
        for split in ("valid", "test")
        for number in [(splits == split).sum()]
    }
    metrics = summarise_language(
        {"model": sums},
        1,
        {"markov": {"valid": 1.25, "test": 1.25}},
        EvaluationSection(bootstraps=30),
        {split: Units.single(len(of)) for split, of in sums.items()},
    )
    metrics["train"] = {"seconds": 1.0, "peak_memory_mb": 2.0, "letters_per_second": 3.0}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    ids = pd.read_csv(folder / "split.tsv", sep="\t").loc[splits == "test", "id"]
    pd.DataFrame(
        {"id": ids, "nats_per_token": sums["test"][:, 0] / tokens, "right": 20, "tokens": tokens}
    ).to_csv(folder / "predictions" / "test.tsv", sep="\t", index=False)
    finish(folder, "perplexity")
    return read(folder, run)


def make_bins(folder: Path) -> Results:
    """Write the results of the objective `bins`, with two members, to `folder`, and read them."""
    make_results(folder, MOTIFS[:0])
    run = RunFile.model_validate(
        {"data": {"sequences": "s.fa"}, "objective": {"kind": "bins", "points": "p.bed"}}
    )
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"chrom": "chr1", "start": 200 * np.arange(60)})
    table["label"] = (np.arange(60) % 3 == 0).astype(int)
    bins = dict.fromkeys(("valid", "test"), Bins(table, np.arange(60)))
    members = np.clip(0.3 * table["label"].to_numpy() + rng.uniform(0, 0.7, (2, 60)), 0, 1)
    chances = {"model": members.mean(axis=0), "gc": rng.uniform(0, 1, 60)}
    metrics = summarise_bins(
        {name: dict.fromkeys(bins, of) for name, of in chances.items()},
        {"model": dict.fromkeys(bins, members)},
        bins,
        EvaluationSection(bootstraps=30, block=1000),
    )
    metrics["train"] = {"seconds": 1.0, "peak_memory_mb": 2.0, "letters_per_second": 3.0}
    metrics["sizes"] = {name: {"networks": 2, "trainings": 1} for name in ("model", "gc")}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    table.assign(end=table["start"] + 200, **chances).to_csv(
        folder / "predictions" / "test.tsv", sep="\t", index=False
    )
    finish(folder, "auprc")
    return read(folder, run)


def finish(folder: Path, metric: str) -> None:
    """Remove the labels and motifs of two classes, and rename the metric of the history."""
    records = pd.read_parquet(folder / "corpus" / "records.parquet")
    records.assign(label=np.nan).to_parquet(folder / "corpus" / "records.parquet")
    history = pd.read_csv(folder / "model" / "history.csv")
    history.rename(columns={"valid_auroc": f"valid_{metric}"}).to_csv(
        folder / "model" / "history.csv", index=False
    )
    for name in ("motifs.tsv", "motifs.meme", "seqlets.bed", "interactions.tsv", "audit.json"):
        (folder / name).unlink()


def make_targets(kind: str, folder: Path) -> Results:
    """Write the results of an objective of `OBJECTIVES` to `folder`, and read them.

    The model has less noise than its baseline "worse".
    """
    make_results(folder, MOTIFS[:0])
    run = RunFile.model_validate(
        {
            "title": f"A task of {kind}",
            "data": {"sequences": "s.fa", "targets": "t.tsv"},
            "objective": OBJECTIVES[kind],
            "tokens": {"k": 1},
            "training": {"shift": 0, "reverse_complement": False},
            "interpret": {"database": "jaspar:insects"},
        }
    )
    rng, objective = np.random.default_rng(0), objective_of(run.objective)
    splits = pd.read_csv(folder / "split.tsv", sep="\t")
    records = pd.read_parquet(folder / "corpus" / "records.parquet")
    number = len(records)
    table = pd.DataFrame(
        {
            "expression": rng.normal(5, 2, number).round(3),
            "liver": rng.normal(5, 2, number).round(3),
            "lung": np.where(rng.random(number) < 0.1, np.nan, rng.normal(0, 1, number)),
            "family": rng.choice(CLASSES, number, p=[0.6, 0.3, 0.1]),
            "acetyl": rng.integers(0, 2, number),
            "methyl": (rng.random(number) < 0.2).astype(int),
            "structure": ["".join(rng.choice(list("HE"), LENGTH)) for _ in range(number)],
        }
    ).astype(str)
    table.loc[table["lung"] == "nan", "lung"] = None
    table.loc[::9, "structure"] = "-" * 10 + table.loc[::9, "structure"].str[10:]
    table = table[list(run.objective.target_columns)]
    rows = {split: np.flatnonzero(splits["split"] == split) for split in ("valid", "test")}
    targets = {
        split: objective.targets(table.iloc[of], records.iloc[of], "t.tsv")
        for split, of in rows.items()
    }
    found = {
        name: {split: predictions(objective, of, noise, rng) for split, of in targets.items()}
        for name, noise in (("model", 0.4), ("worse", 1.5))
    }
    if kind == "labels":
        targets = {split: object_array(list(of)) for split, of in targets.items()}
    metrics = summarise_targets(
        objective,
        found,
        targets,
        EvaluationSection(bootstraps=30),
        {split: Units.single(len(of)) for split, of in rows.items()},
    )
    metrics["train"] = {"seconds": 1.0, "peak_memory_mb": 2.0, "letters_per_second": 3.0}
    metrics["sizes"] = {"model": {"networks": 1, "trainings": 1}}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    for split, of in rows.items():
        target_predictions(
            records["id"].iloc[of].tolist(),
            table.iloc[of],
            {name: found[name][split] for name in metrics["outputs"]},
            objective.section.output_names,
        ).to_csv(folder / "predictions" / f"{split}.tsv", sep="\t", index=False)
    finish(folder, objective.main_metric)
    return read(folder, run)
