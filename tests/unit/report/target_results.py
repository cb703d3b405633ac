"""Write a small results folder of any objective, for tests of its page."""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pages import read
from small_results import MOTIFS, make_results, write_evaluation, write_files

from selfattn_bio.config import EvaluationSection, RunFile
from selfattn_bio.evaluation.calibration import Calibration, fit_conformal, quantiles_of
from selfattn_bio.evaluation.summary import COVERAGE, Classifier, summarise
from selfattn_bio.evaluation.units import Units
from selfattn_bio.objectives import objective_of
from selfattn_bio.objectives.base import Examples
from selfattn_bio.report.results import Results
from selfattn_bio.study.evaluated import predictions_table

CLASSES = ("ebox", "gaga", "none")


def numbers(*columns: str) -> dict[str, Any]:
    """Return the section of a regression of these columns."""
    scales = {"center": [0.0] * len(columns), "scale": [1.0] * len(columns)}
    return {"kind": "regression", "columns": columns} | scales


OBJECTIVES: dict[str, dict[str, Any]] = {
    "regression": numbers("expression"),
    "columns": numbers("liver", "lung"),
    "multiclass": {"kind": "multiclass", "column": "family", "classes": CLASSES},
    "multilabel": {"kind": "multilabel", "columns": ["acetyl", "methyl"]},
    "labels": {"kind": "labels", "column": "structure", "classes": "HE"},
    "several": {
        "kind": "several",
        "parts": {
            "activity": numbers("expression"),
            "class": {"kind": "multiclass", "column": "family", "classes": CLASSES},
        },
    },
}
LENGTH = 60
PER_LETTER = {"tokens": {"k": 1}, "training": {"shift": 0, "reverse_complement": False}}


def noisy(objective: Any, targets: Any, noise: float, rng: np.random.Generator) -> Any:
    """Return outputs that are the targets with noise."""
    match objective.kind:
        case "regression":
            return targets + rng.normal(0, noise, targets.shape)
        case "multiclass":
            return np.eye(len(CLASSES))[targets] + rng.normal(0, noise, (len(targets), 3))
        case "multilabel":
            return targets - 0.5 + rng.normal(0, noise, targets.shape)
        case "labels":
            known = [np.maximum(row, 0) for row in targets]
            return [np.eye(2)[row] + rng.normal(0, noise, (len(row), 2)) for row in known]
        case _:
            parts = objective.parts.items()
            each = [noisy(part, targets[name], noise, rng) for name, part in parts]
            return np.concatenate(each, axis=1)


def make_language(folder: Path, kind: str = "causal") -> Results:
    """Write the results of a language model to `folder`, and read them."""
    make_results(folder, MOTIFS[:0])
    model = {"kind": "attention", "pattern": {"kind": "full", "causal": kind == "causal"}}
    model["stem"] = {"kind": "none"}
    run = RunFile.model_validate(
        {"data": {"sequences": "s.fa"}, "objective": {"kind": kind}, "model": model, **PER_LETTER}
    )
    ids = pd.read_csv(folder / "split.tsv", sep="\t").groupby("split")[["id"]]
    rng, tokens = np.random.default_rng(0), 59.0

    def sums(size: int, mean: float, right: float) -> np.ndarray:
        columns = np.tile([tokens, right, tokens, tokens * (kind == "causal")], (size, 1))
        columns[:, 0] *= rng.normal(mean, 0.1, size)
        return columns

    sizes = {"valid": 60, "test": 80}
    found = {
        name: {split: [sums(size, mean, right)] for split, size in sizes.items()}
        for name, mean, right in (("model", 1.2, 20), ("markov", 1.25, np.nan))
    }
    examples = {
        split: Examples(ids.get_group(split), np.zeros((size, 0))) for split, size in sizes.items()
    }
    write(folder, run, found, examples)
    return read(folder, run)


def write(
    folder: Path, run: RunFile, outputs: Any, examples: Any, truth: Any = None, block: int = 1
) -> None:
    """Evaluate outputs by name and split, one per member, and write the results."""
    objective = objective_of(run.objective)
    targets = {split: of.targets for split, of in examples.items()}
    classifiers = {}
    for name, of in outputs.items():
        role, known = "model" if name == "model" else "baseline", targets["valid"]
        classifiers[name] = Classifier.of_outputs(objective, role, of, known, Calibration())
    if objective.kind == "regression":
        fitted = fit_conformal(objective, outputs["model"]["valid"][0], targets["valid"])
        quantiles = quantiles_of(fitted, objective.coverage_names, COVERAGE)[None]
        bounds = {
            split: objective.coverage_columns(np.stack(of), quantiles)
            for split, of in outputs["model"].items()
        }
        classifiers["model"] = dataclasses.replace(classifiers["model"], bounds=bounds)
    units = {split: Units.of(np.arange(len(of)) // block, "units") for split, of in targets.items()}
    metrics = summarise(objective, classifiers, targets, EvaluationSection(bootstraps=30), units)
    write_evaluation(folder, metrics, len(outputs["model"]["test"]))
    best = metrics["differences"]["best_baseline"]
    for split, of in examples.items():
        of_split = pd.DataFrame() if truth is None else truth[split]
        table = predictions_table(objective, classifiers, of, split, best, of_split)
        write_files(folder, {f"predictions/{split}.tsv": table})
    finish(folder, objective.main_metric)


def make_bins(folder: Path) -> Results:
    """Write the results of the objective `bins`, with two members, to `folder`, and read them."""
    make_results(folder, MOTIFS[:0])
    run = RunFile.model_validate(
        {"data": {"sequences": "s.fa"}, "objective": {"kind": "bins", "points": "p.bed"}}
    )
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"chrom": "chr1", "start": 200 * np.arange(60)})
    table["label"] = (np.arange(60) % 3 == 0).astype(int)
    labels = table["label"].to_numpy()
    p = np.clip(0.3 * labels + rng.uniform(0, 0.7, (2, 60)), 1e-9, 1 - 1e-9)
    outputs = {}
    for name, of in {"model": p, "gc": rng.uniform(0, 1, (1, 60))}.items():
        # half of the rate on each strand
        each = [np.tile(np.log(-np.log1p(-one) / 2), (2, 1)).T for one in of]
        outputs[name] = {"valid": each, "test": each}
    examples = Examples(table.assign(end=table["start"] + 200), labels)
    write(folder, run, outputs, dict.fromkeys(("valid", "test"), examples), block=5)
    return read(folder, run)


def finish(folder: Path, metric: str) -> None:
    """Remove the labels and motifs of two classes, and rename the metric of the history."""
    records = pd.read_parquet(folder / "corpus" / "records.parquet")
    records.assign(label=np.nan).to_parquet(folder / "corpus" / "records.parquet")
    history = pd.read_csv(folder / "model" / "history.csv")
    history = history.rename(columns={"valid_auroc": f"valid_{metric}"})
    write_files(folder, {"model/history.csv": history})
    for name in ("motifs.tsv", "motifs.meme", "seqlets.bed", "interactions.tsv", "audit.json"):
        (folder / name).unlink()


def make_targets(kind: str, folder: Path) -> Results:
    """Write the results of an objective of `OBJECTIVES` to `folder`, and read them.

    The model has less noise than its baseline "worse".
    """
    make_results(folder, MOTIFS[:0])
    data, database = {"sequences": "s.fa", "targets": "t.tsv"}, {"database": "jaspar:insects"}
    sections = {"data": data, "objective": OBJECTIVES[kind], "interpret": database, **PER_LETTER}
    run = RunFile.model_validate({"title": f"A task of {kind}", **sections})
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
    outputs = {
        name: {split: [noisy(objective, of, noise, rng)] for split, of in targets.items()}
        for name, noise in (("model", 0.4), ("worse", 1.5))
    }
    examples, truth = {}, {}
    for split, of in rows.items():
        examples[split] = objective.examples_of(targets[split], records.iloc[of])
        truth[split] = table.iloc[of]
    write(folder, run, outputs, examples, truth)
    return read(folder, run)


def make_binary(folder: Path) -> Results:
    """Write the results of two classes, in which the model has members, and read them."""
    make_results(folder)
    results = read(folder)
    results.metrics["test"]["members"] = {"model": {"metric": "auroc", "each": [0.91, 0.87]}}
    return results


MAKERS = {
    **{"binary": make_binary, "bins": make_bins},
    **{kind: partial(make_targets, kind) for kind in OBJECTIVES},
    **{kind: partial(make_language, kind=kind) for kind in ("masked", "causal")},
}
