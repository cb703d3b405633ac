"""Evaluate a model on validation and test records, next to baselines and controls."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.baselines import Baseline, is_baseline
from selfattn_bio.config import RunFile
from selfattn_bio.display import counted
from selfattn_bio.errors import ArgumentError, OutputError
from selfattn_bio.evaluation.card import left_out_sentence, model_card
from selfattn_bio.evaluation.groups import MOST, group_metrics, groups_of
from selfattn_bio.evaluation.metrics import estimates
from selfattn_bio.evaluation.summary import EVALUATED_SPLITS, Classifier, summarise
from selfattn_bio.evaluation.units import Units
from selfattn_bio.figure import DisplayedFigure
from selfattn_bio.files import OF_SNAKEMAKE, check_creatable, whole_folder, write_text
from selfattn_bio.layout import Layout
from selfattn_bio.log import LOG, log_lines
from selfattn_bio.model.checkpoint import read_provenance
from selfattn_bio.model.user_module import search_folder_of
from selfattn_bio.objectives import OBJECTIVES, Objective, objective_of
from selfattn_bio.report import plots
from selfattn_bio.report.lines import evaluation_lines
from selfattn_bio.report.plots import COLOURS
from selfattn_bio.report.tested import MAX_CURVES
from selfattn_bio.report.words import ranked
from selfattn_bio.result import TableResult
from selfattn_bio.scoring.stack import fitted_parts
from selfattn_bio.sequence.tables import write_table
from selfattn_bio.study.baselines import fit_baselines, predict_networks
from selfattn_bio.study.evaluated import (
    Candidate,
    EvaluationRecords,
    check_candidates,
    predictions_table,
)
from selfattn_bio.study.study import Study


@dataclass(frozen=True, repr=False)
class Evaluation(TableResult):
    """Metrics and predictions of a model, its variants and baselines.

    Attributes
    ----------
    metrics
        The content of metrics.json (docs/files.md).
    predictions
        A table with one row per record, or per bin for objective `bins`, for each of the splits
        "valid" and "test".
    card
        The model card with the test metrics, Markdown.
    baselines
        The fitted baselines by name. Empty for language models, and for private runs, whose records
        the weights would reveal.
    """

    metrics: dict[str, Any]
    predictions: dict[str, pd.DataFrame]
    card: str
    baselines: Mapping[str, Baseline] = field(default_factory=dict)

    def __repr__(self) -> str:
        test = self.metrics["test"]
        known = [
            f"{metric} {found['value']:.3f}"
            for metric, found in estimates(test["model"])
            if found["value"] is not None
        ]
        shown = ", ".join(known[:3])
        others = ", ".join(name for _, name, _ in ranked(test, self._objective)[1:])
        unit = self._objective.examples
        return f"Evaluation on {test['n']:,} test {unit}: {shown}; compared with {others}"

    @property
    def _objective(self) -> type[Objective[Any]]:
        return OBJECTIVES[self.metrics["objective"]]

    @property
    def table(self) -> pd.DataFrame:
        """Return all metrics with their intervals, one row per split, classifier and metric.

        Columns: split, name, role (model, baseline or control), metric, value, low, high. The best
        baselines come first. Undefined values and bounds are missing. Validation metrics of a stack
        are cross-validated, because its weights were fitted on these records.
        """
        rows = [
            (split, name, role, metric, found["value"], found.get("low"), found.get("high"))
            for split in EVALUATED_SPLITS
            for role, name, entry in ranked(self.metrics[split], self._objective)
            for metric, found in estimates(entry)
        ]
        columns = ["split", "name", "role", "metric", "value", "low", "high"]
        numbers = dict.fromkeys(("value", "low", "high"), float)
        return pd.DataFrame(rows, columns=columns).astype(numbers)

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
            write_table(getattr(layout, split), table)
        write_text(layout.metrics, json.dumps(self.metrics, indent=1, allow_nan=False) + "\n")
        write_text(layout.card, self.card)


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
    study.warn_if_edited()
    records = records.in_windows(task)
    evaluated = candidates["model"]
    objective = objective_of(evaluated.runs()[0].objective)
    costs = {name: candidate.cost() for name, candidate in candidates.items()}
    metrics, tables, baselines = _compare(objective, candidates, records, task)
    if untrained := [name for name in study.variants if name not in candidates]:
        metrics["left_out"]["there is no trained model"] = untrained
    metrics |= {"costs": costs, **records.origin(path)}
    metrics["weights"] = {
        folder.relative_to(study.root.folder).as_posix(): read_provenance(folder)["weights_sha256"]
        for candidate in candidates.values()
        for folder in candidate.folders
    }
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
    log_lines(evaluation_lines(objective, metrics))
    LOG.info(f"wrote {study.root.metrics}")
    return evaluation


def _compare(
    objective: Objective[Any],
    candidates: Mapping[str, Candidate],
    records: EvaluationRecords,
    task: RunFile,
) -> tuple[dict[str, Any], dict[str, pd.DataFrame], dict[str, Baseline]]:
    """Evaluate the model, its variants and the baselines that are fitted to the same records.

    Returns the content of metrics.json, the tables of predictions, and the baselines to save.
    The baselines of a private run are not saved, because their weights would reveal its records.
    """
    table, targets = records.targets(task.model_copy(update={"objective": objective.section}))
    examples = {
        split: objective.examples_of(targets[split], records.table(split))
        for split in EVALUATED_SPLITS
    }
    units = {split: records.units_of(of, split) for split, of in examples.items()}
    model = candidates["model"]
    run, parts = model.runs()[0], fitted_parts(model.folders[0])
    classifiers: dict[str, Classifier] = {}
    for name, candidate in candidates.items():
        classifiers |= predict_networks(
            objective, name, candidate, records, examples, targets, list(parts.values())
        )
    # the parts of a control were fitted to shuffled labels
    reused = {} if run.is_control() else parts
    fitted, left_out = fit_baselines(objective, records, task, targets, reused, examples)
    classifiers |= {name: of.classifier for name, of in fitted.items()}
    truth = {split: of.targets for split, of in examples.items()}
    sizes = {name: candidate.size() for name, candidate in candidates.items()}
    resampled = f"{task.evaluation.bootstraps:,} resamples of the {units['test'].name}"
    LOG.info(f"computing metrics of {counted(len(classifiers), 'model')} with {resampled}")
    metrics = summarise(objective, classifiers, truth, task.evaluation, units, sizes)
    metrics["left_out"] = left_out
    best = metrics["differences"]["best_baseline"]
    if few := objective.shown(classifiers["model"].predictions["test"], examples["test"]):
        metrics["shown"] = few
    if objective.is_labelled:
        shown = {name: classifiers[name] for name in ("model", best) if name}
        metrics["groups"] = _groups(run, records, task, shown, truth["test"], units["test"])
    tables = {
        split: predictions_table(
            objective, classifiers, of, split, best, table.iloc[records.rows[split]]
        )
        for split, of in examples.items()
    }
    saved = {} if task.privacy else {name: of.model for name, of in fitted.items() if of.model}
    return metrics, tables, saved


def _groups(
    run: RunFile,
    records: EvaluationRecords,
    task: RunFile,
    classifiers: Mapping[str, Classifier],
    labels: NDArray[np.int64],
    units: Units,
) -> dict[str, Any]:
    """Return the metrics of groups of the test records of two classes.

    Groups are those of GC content (DNA, RNA), length, chromosome if there are several (thousands of
    contigs are left out), and whether a protein begins with M, as complete chains do but fragments
    usually do not. The columns of [evaluation] groups, and the column by which the training of
    `run` was balanced, are always used.
    """
    corpus, settings, balance = records.corpus, task.evaluation, run.training.balance
    predictions = {
        name: (np.asarray(of.predictions["test"]), of.threshold or 0.0)
        for name, of in classifiers.items()
    }
    is_nucleic = corpus.alphabet.is_nucleic
    known = {
        "gc": is_nucleic,
        "length": True,
        # fewer, because records without a chromosome form one more group
        "chrom": len(set(corpus.records["chrom"].dropna())) < MOST,
    }
    requested = {*settings.groups, *([balance.by] if balance else [])}
    groups = {}
    for by in dict.fromkeys([*(name for name, fits in known.items() if fits), *sorted(requested)]):
        bins = balance.bins if balance and balance.by == by else settings.gc_slices
        names = groups_of(by, corpus, records.rows, bins)["test"]
        if by in requested or len(set(names)) > 1:
            groups[by] = names
    first = np.array([chr(record[0]) for record in records.letters["test"]], dtype=object)
    if not is_nucleic and 0 < (first == "M").sum() < len(first):
        groups["begins_with_m"] = np.where(first == "M", "M", "another")
    return {
        by: group_metrics(names, labels, predictions, units, settings)
        for by, names in groups.items()
    }


def _candidates(study: Study) -> dict[str, Candidate]:
    """Return the model and its trained variants by name; warn about others."""
    found = {"model": Candidate([each.existing(each.files, "model") for each in study.members])}
    for name, variant in study.variants.items():
        if any(variant.files.model.glob("*")):  # Snakemake makes the folder before a training
            found[name] = Candidate(
                [each.existing(each.files, "model") for each in variant.members]
            )
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
        OutputError.fail(message, baselines, "Choose another folder, or move it away")
    check_creatable(baselines)


def _card(metrics: Mapping[str, Any], folders: list[Path]) -> str:
    """Return the card of the model with these member folders."""
    valid, test = (metrics[split]["model"] for split in EVALUATED_SPLITS)
    return model_card(folders[0], valid, test, folders[1:], left_out_sentence(metrics["left_out"]))
