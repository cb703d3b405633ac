"""Summarise a finished run: test metrics, the best baseline and the supported motifs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import singledispatch
from pathlib import Path
from typing import Any

from selfattn_bio.config import RunFile
from selfattn_bio.errors import ResultsError
from selfattn_bio.evaluation.metrics import title_of
from selfattn_bio.interpret.formats import read_table
from selfattn_bio.objectives import Objective, objective_of
from selfattn_bio.objectives.binary import Binary
from selfattn_bio.report import words
from selfattn_bio.report.results import read_file, read_json


def final_lines(name: str, run: RunFile, folder: Path) -> Iterator[str]:
    """Yield the lines that end the workflow of a task: its summary and the paths of its results."""
    yield from (f"{name}: {line}" for line in closing_lines(run, folder))
    if (folder / "sweep.tsv").exists():
        yield f"Results: {folder / 'sweep.tsv'}"
    if (folder / "report.html").exists():
        yield f"Report: {folder / 'report.html'}"
    elif (folder / "metrics.json").exists():
        yield f"Results: {folder / 'metrics.json'}"


def closing_lines(run: RunFile, folder: Path) -> Iterator[str]:
    """Yield the lines that summarise a results folder; none before `evaluate` has run.

    If a file cannot be read, the last line is an error message.
    """
    try:
        yield from _summary(run, folder)
    # Only report the error: the run has finished and its results are valid
    except ResultsError as error:
        yield f"error: {error}"


def _summary(run: RunFile, folder: Path) -> Iterator[str]:
    if not (folder / "metrics.json").exists():
        return
    metrics = read_file(folder / "metrics.json", read_json, "evaluate")
    objective, test = objective_of(run.objective), metrics["test"]
    metric = objective.main_metric
    value = _value(test["model"], metric)
    yield f"test {title_of(metric)} {value} on {test['n']:,} {objective.examples}"
    yield from _comparison(objective, metrics)
    if (folder / "motifs.tsv").exists():
        yield words.motif_sentence(read_file(folder / "motifs.tsv", read_table, "motifs"))


@singledispatch
def _comparison(objective: Objective[Any], metrics: Mapping[str, Any]) -> Iterator[str]:
    """Yield the best baseline, if there is one."""
    metric, baselines = objective.main_metric, metrics["test"]["baselines"]
    if known := {other: entry for other, entry in baselines.items() if _known(entry, metric)}:
        best = (max if objective.higher_is_better else min)(
            known, key=lambda other: known[other][metric]["value"]
        )
        yield (
            f"best baseline: {words.classifier_name(best)}, {title_of(metric)} "
            f"{_value(known[best], metric)}"
        )


@_comparison.register
def _(objective: Binary, metrics: Mapping[str, Any]) -> Iterator[str]:
    yield " ".join(words.comparison(metrics))


def _known(entry: Mapping[str, Any], metric: str) -> bool:
    return entry.get(metric, {}).get("value") is not None


def _value(entry: Mapping[str, Any], metric: str) -> str:
    """Format a metric with its interval: `0.871 (0.861 to 0.880)`."""
    estimate = entry[metric]
    spread = f" ({words.interval(estimate)})" if estimate.get("low") is not None else ""
    return f"{words.figure(estimate['value'])}{spread}"
