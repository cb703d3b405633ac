"""Evaluate a model on validation and test records, next to baselines and controls."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from selfattn_bio.baselines import Baseline, is_baseline, load_baseline
from selfattn_bio.display import counted
from selfattn_bio.errors import ArgumentError, OutputError, ResultsError
from selfattn_bio.evaluation.card import model_card
from selfattn_bio.evaluation.summary import EVALUATED_SPLITS
from selfattn_bio.figure import DisplayedFigure
from selfattn_bio.files import (
    OF_SNAKEMAKE,
    check_creatable,
    read_json,
    whole_file,
    whole_folder,
)
from selfattn_bio.layout import Layout
from selfattn_bio.log import LOG
from selfattn_bio.model.checkpoint import read_provenance
from selfattn_bio.model.user_module import search_folder_of
from selfattn_bio.objectives import objective_of
from selfattn_bio.report import plots
from selfattn_bio.report.figures import MAX_CURVES
from selfattn_bio.report.lines import evaluation_lines
from selfattn_bio.report.plots import COLOURS
from selfattn_bio.report.results import read_file
from selfattn_bio.result import TableResult
from selfattn_bio.sequence.tables import read_table
from selfattn_bio.study.evaluators import measure
from selfattn_bio.study.evaluators.candidates import Candidate, check_candidates
from selfattn_bio.study.evaluators.records import EvaluationRecords

if TYPE_CHECKING:
    from selfattn_bio.study.study import Study

ROLES = {"baselines": "baseline", "controls": "control"}  # by key of metrics.json


@dataclass(frozen=True, repr=False)
class Evaluation(TableResult):
    """Metrics and predictions of a model, its variants and baselines.

    Attributes
    ----------
    metrics
        The content of metrics.json. Its form depends on the objective (docs/files.md).
    predictions
        A table with one row per record, or per bin for objective `bins`, for each of the splits
        "valid" and "test".
    card
        The model card with the test metrics, Markdown.
    baselines
        The fitted baselines by name. Empty for objectives other than `binary`, and for private
        runs, whose records the weights would reveal.
    """

    metrics: dict[str, Any]
    predictions: dict[str, pd.DataFrame]
    card: str
    baselines: Mapping[str, Baseline] = field(default_factory=dict)

    def __repr__(self) -> str:
        test = self.metrics["test"]
        known = {
            metric: found["value"]
            for metric, found in _values(test["model"])
            if found["value"] is not None
        }
        shown = ", ".join(f"{metric} {value:.3f}" for metric, value in islice(known.items(), 3))
        others = ", ".join(name for key in ROLES for name in test.get(key, {}))
        unit = "bin" if "blocks" in test else "record"
        return (
            f"Evaluation on {counted(test['n'], f'test {unit}')}: {shown}; compared with {others}"
        )

    @property
    def table(self) -> pd.DataFrame:
        """Return all metrics with their intervals, one row per split, classifier and metric.

        Columns: split, name, role (model, baseline or control), metric, value, low, high. Undefined
        values and bounds are missing.
        """
        rows = [
            (split, name, role, metric, found["value"], found.get("low"), found.get("high"))
            for split in EVALUATED_SPLITS
            for name, role, entry in _entries(self.metrics[split])
            for metric, found in _values(entry)
        ]
        columns = ["split", "name", "role", "metric", "value", "low", "high"]
        return pd.DataFrame(rows, columns=columns).astype(
            dict.fromkeys(("value", "low", "high"), float)
        )

    def plot(self, metric: str = "") -> DisplayedFigure:
        """Draw a test metric of each classifier with its interval.

        The first metric is the default. For two classes, the ROC and precision-recall curves of the
        first classifiers are drawn next to it.
        """
        rows = self.table[self.table["split"] == "test"].dropna(subset="low")
        metric = metric or rows["metric"].iloc[0]
        rows = rows[rows["metric"] == metric]
        if rows.empty:
            raise ArgumentError(f"no classifier has the test metric {metric!r} with an interval")
        test, names = self.predictions["test"], rows["name"].head(MAX_CURVES)
        curves = {name: test[name] for name in names} if {"label", *names} <= set(test) else {}
        figure = DisplayedFigure(figsize=(3.6 * (3 if curves else 1), 2.9), layout="constrained")
        axes = figure.subplots(1, 3 if curves else 1, squeeze=False)[0]
        found: list[Any] = rows.to_dict("records")
        intervals = [(row["name"], row, COLOURS[row["role"]]) for row in found]
        plots.draw_intervals(intervals, axes[0], f"test {metric}")
        if curves:
            plots.draw_roc(test["label"], curves, axes[1])
            plots.draw_precision_recall(test["label"], curves, axes[2])
        return figure

    def save(self, folder: str | Path) -> None:
        """Write baselines/, predictions/{valid,test}.tsv, metrics.json and model_card.md.

        Predictions are written with six digits. An earlier evaluation in the folder is replaced.

        Raises
        ------
        OutputError
            As for `check_evaluation_output`.
        """
        check_evaluation_output(folder)
        layout = Layout(Path(folder))
        with whole_folder(layout.baselines) as path:
            for name, baseline in self.baselines.items():
                baseline.save(path / name)
        for split, table in self.predictions.items():
            with whole_file(layout.predictions / f"{split}.tsv") as path:
                table.to_csv(path, sep="\t", index=False, float_format="%.6g")
        with whole_file(layout.metrics) as path:
            text = json.dumps(self.metrics, indent=1, allow_nan=False) + "\n"
            path.write_text(text, encoding="utf-8")
        with whole_file(layout.card) as path:
            path.write_text(self.card, encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> Evaluation:
        """Read a saved evaluation.

        Raises
        ------
        ResultsError
            If a file is missing or cannot be read.
        ModelFolderError
            If a saved baseline is damaged.
        """
        layout = Layout(Path(folder))
        read = partial(read_table, text=("id", "chrom", "predicted"))
        return cls(
            read_json(layout.metrics, ResultsError, "Run `selfattn-bio evaluate TASK`"),
            {
                split: read_file(layout.predictions / f"{split}.tsv", read, "evaluate")
                for split in EVALUATED_SPLITS
            },
            read_file(layout.card, lambda path: path.read_text(encoding="utf-8"), "evaluate"),
            {
                path.name: load_baseline(path)
                for path in sorted(layout.baselines.glob("*"))
                if is_baseline(path)
            },
        )


def evaluate(study: Study) -> Evaluation:
    """Evaluate the model of a task and its variants; `Study.evaluate` describes it."""
    check_evaluation_output(study.root.folder)
    task, corpus, path = study.task, study.corpus, study.existing(study.root, "split")
    corpus.check_task(task)
    search_folder_of(task)
    candidates = _candidates(study)
    records = EvaluationRecords.read(task, corpus, path)
    LOG.info(", ".join(records.counts(task)))
    check_candidates(candidates, task, records, path)
    records = records.in_windows(task)
    evaluated = candidates["model"]
    objective = objective_of(evaluated.runs()[0].objective)
    metrics, tables, baselines = measure(objective, candidates, records, task)
    metrics["sizes"] = {name: candidate.size() for name, candidate in candidates.items()}
    metrics["train"] = evaluated.cost()
    if privacy := read_provenance(evaluated.folders[0]).get("privacy"):
        metrics["privacy"] = privacy
    if records.windows:
        metrics["window"] = task.training.window
        for name, table in tables.items():
            table.insert(1, "start", records.windows[name].starts)
            table.insert(2, "end", records.windows[name].ends)
    for baseline in baselines.values():
        baseline.origin = records.origin(path)
    evaluation = Evaluation(metrics, tables, _card(metrics, evaluated.folders), baselines)
    evaluation.save(study.root.folder)
    for line in evaluation_lines(objective, metrics):
        LOG.info(line)
    LOG.info(f"wrote {study.root.metrics}")
    return evaluation


def _candidates(study: Study) -> dict[str, Candidate]:
    """Return the model and its trained variants by name; warn about others."""
    found = {"model": Candidate([each.existing(each.files, "model") for each in study.members])}
    for name, variant in study.variants.items():
        if variant.files.model.exists():
            members = [each.existing(each.files, "model") for each in variant.members]
            found[name] = Candidate(members)
        else:
            LOG.warning(f"variant {name} is left out, because it was not trained")
    return found


def check_evaluation_output(folder: str | Path) -> None:
    """Raise unless `Evaluation.save` may write to a folder; call this before the evaluation.

    Raises
    ------
    OutputError
        If folder `baselines` in it, which is replaced, holds anything else, or a file has the
        name of a folder.
    OSError
        If the folder cannot be created or written.
    """
    baselines = Layout(Path(folder)).baselines
    within = [baselines] if baselines.is_file() else sorted(baselines.glob("*"))
    if foreign := [
        path.name for path in within if path.name != OF_SNAKEMAKE and not is_baseline(path)
    ]:
        message = (
            f"the fitted baselines replace this folder, but it holds {foreign[0]!r}, which "
            "is not a baseline"
        )
        raise OutputError(
            message, place=str(baselines), hint="Choose another folder, or move it away"
        )
    check_creatable(baselines)


def _card(metrics: Mapping[str, Any], folders: list[Path]) -> str:
    """Return the card of the model with these member folders; undefined metrics are left out."""
    valid = {
        name: of["value"]
        for name, of in metrics["valid"]["model"].items()
        if isinstance(of, dict) and of.get("low") is not None
    }
    return model_card(folders[0], valid, metrics["test"]["model"], folders[1:])


def _entries(of_split: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield name, role and metrics of each classifier of a split."""
    yield "model", "model", of_split["model"]
    for key, role in ROLES.items():
        for name, entry in of_split.get(key, {}).items():
            yield name, role, entry


def _values(entry: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the metrics of a classifier, without its threshold and chosen settings."""
    for metric, found in entry.items():
        if isinstance(found, Mapping) and "value" in found:
            yield metric, found
