"""Lines that the commands print about results: metrics, motifs, and the end of a workflow."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from functools import singledispatch
from typing import Any

import pandas as pd

from selfattn_bio.config import RunFile
from selfattn_bio.display import counted
from selfattn_bio.errors import ResultsError
from selfattn_bio.evaluation.metrics import AT_HALF, title_of
from selfattn_bio.evidence.records import MIN_RECORDS
from selfattn_bio.files import read_json
from selfattn_bio.layout import Layout
from selfattn_bio.motifs.matching import match_label
from selfattn_bio.motifs.motif_set import num_supported
from selfattn_bio.objectives import Objective, objective_of
from selfattn_bio.objectives.binary import Binary
from selfattn_bio.report import words
from selfattn_bio.report.results import read_file
from selfattn_bio.report.words import baseline_sentence, classifier_name, p_value
from selfattn_bio.sequence.tables import read_table

Metrics = Mapping[str, Any]


def evaluation_lines(objective: Objective[Any], metrics: Metrics) -> Iterator[str]:
    """Yield the lines that summarise metrics.json.

    Parameters
    ----------
    objective
        The objective of the model.
    metrics
        The content of metrics.json.
    """
    yield from _test_lines(objective, metrics)
    yield from _members(metrics["test"])
    if privacy := metrics.get("privacy"):
        yield (
            f"private: epsilon {privacy['epsilon']:.2f} was spent at delta "
            f"{privacy['delta']:g} (docs/privacy.md)"
        )


@singledispatch
def _test_lines(objective: Objective[Any], metrics: Metrics) -> Iterator[str]:
    test = metrics["test"]
    for name, entry in {"model": test["model"], **test["baselines"]}.items():
        known = ", ".join(
            f"{title_of(metric)} {words.estimate(found)}"
            for metric, found in entry.items()
            if isinstance(found, dict) and found.get("value") is not None
        )
        yield f"test {known}  {_named(name)}{_lead(objective, metrics, name)}"


def _named(name: str) -> str:
    """Return the name of a classifier in metrics.json, with its readable name if that differs."""
    title = classifier_name(name)
    return name if name in ("model", title) else f"{name} ({title})"


def _lead(objective: Objective[Any], metrics: Metrics, name: str) -> str:
    """Describe the difference of the main metric to a baseline; empty without one."""
    leads = metrics.get("differences", {}).get("baselines", {})
    lead = leads.get(name, {}).get(objective.main_metric, {})
    if lead.get("value") is None:
        return ""
    title, shown = title_of(objective.main_metric), words.estimate(lead, sign=True)
    return f"; model minus {classifier_name(name)} {title} {shown}"


@_test_lines.register
def _(objective: Binary, metrics: Metrics) -> Iterator[str]:
    test, best = metrics["test"], metrics["differences"]["best_baseline"]
    for name, entry in {"model": test["model"], **test["baselines"], **test["controls"]}.items():
        chance = " (negative control; 0.5 is chance level)" if name in test["controls"] else ""
        shown = _named(name) if name in test["baselines"] else name
        yield f"test AUROC {words.estimate(entry['auroc'])}  {shown}{chance}"
    for name, entry in {"model": test["model"], best: test["baselines"][best]}.items():
        yield from _calls(name, entry)
    if calibrated := test["model"].get("calibrated"):
        yield f"test {words.calibration(calibrated)}  model, calibrated"
    for by, found in metrics["groups"].items():
        if gap := found["gap"]:
            auroc = {
                entry["group"]: entry["model"]["auroc"]["value"]
                for entry in found["groups"]
                if entry["model"]
            }
            yield (
                f"AUROC by {words.GROUPS.get(by, by)}: worst {found['worst']!r} "
                f"{auroc[found['worst']]:.3f}, {words.gap(gap['auroc'])}"
            )
    yield " ".join(baseline_sentence(metrics, objective))


def _calls(name: str, entry: Metrics) -> Iterator[str]:
    """Yield MCC, accuracy and F1 at the threshold chosen on the validation records and at 0.5."""
    for where, ending in (
        (f"threshold {entry['threshold']:.3f}, chosen on valid", ""),
        ("threshold 0.5", AT_HALF),
    ):
        mcc, accuracy, f1 = (
            entry[f"{metric}{ending}"]["value"] for metric in ("mcc", "accuracy", "f1")
        )
        yield f"test MCC {mcc:.3f}, accuracy {accuracy:.3f}, F1 {f1:.3f} at {where}  {name}"


def _members(test: Metrics) -> Iterator[str]:
    for name, of in test.get("members", {}).items():
        alone = (
            f"test {title_of(of['metric'])} of each alone {of['min']:.3f} to {of['max']:.3f}, "
            if of["min"] is not None
            else ""
        )
        yield (
            f"{name} is the mean of {len(of['each'])} members: {alone}mean standard "
            f"deviation of a score over members {of['spread']:.3f}"
        )


def motif_lines(table: pd.DataFrame) -> Iterator[str]:
    """Yield one line per motif of a table with evidence, and the number of supported motifs."""
    for row in table.to_dict("records"):
        measured = (
            f"{row['effect']:+.2f} ({row['effect_low']:+.2f} to {row['effect_high']:+.2f})"
            if row["effect_records"] >= MIN_RECORDS
            else "unknown"
        )
        yield (
            f"{row['name']} {row['consensus']} of {row['target']}: {_match(row)}"
            f"{counted(row['num_sites'], 'site')}, {_enrichment(row)} "
            f"(q {p_value(row['enrichment_q'])}), effect {measured} {row['unit']}: {row['verdict']}"
        )
    yield f"supported: {num_supported(table)} of {counted(len(table), 'motif')}"


def _enrichment(row: Mapping[Hashable, Any]) -> str:
    """Describe how records with a hit differ from the others."""
    if pd.notna(row["difference"]):
        return f"mean {row['difference']:+.2f} {row['unit']} in records with it"
    return f"odds ratio {row['odds_ratio']:.2f}"


def _match(row: Mapping[Hashable, Any]) -> str:
    """Describe the match and its q value; empty if no database was used."""
    if not row["match"]:
        return ""
    return f"{match_label(row) or 'no known motif'} (q {p_value(row['match_q'])}), "


def final_lines(task: RunFile, layout: Layout, name: str) -> Iterator[str]:
    """Yield the lines that end the workflow of a task: its summary and the paths of its results.

    If a file cannot be read, the summary ends with an error message.
    """
    try:
        for line in _summary(task, layout):
            yield f"{name}: {line}"
    # Only report the error: the run has finished and its results are valid
    except ResultsError as error:
        yield f"{name}: error: {error}"
    if layout.ranking.exists():
        yield f"Results: {layout.ranking}"
    if layout.report.exists():
        yield f"Report: {layout.report}"
    elif layout.metrics.exists():
        yield f"Results: {layout.metrics}"


def _summary(task: RunFile, layout: Layout) -> Iterator[str]:
    if not layout.metrics.exists():
        return
    metrics = read_json(layout.metrics, ResultsError, "Run `selfattn-bio evaluate TASK`")
    objective, test = objective_of(task.objective), metrics["test"]
    metric = objective.main_metric
    value = words.estimate(test["model"][metric])
    yield f"test {title_of(metric)} {value} on {test['n']:,} {objective.examples}"
    if "differences" in metrics:
        yield " ".join(baseline_sentence(metrics, objective))
    elif best := words.best_baseline(metrics, objective):
        value = words.estimate(test["baselines"][best][metric])
        yield f"best baseline: {classifier_name(best)}, {title_of(metric)} {value}"
    paths = [layout.motifs, layout.of_partner().motifs]
    found = [read_file(path, read_table, "motifs") for path in paths if path.exists()]
    if found:
        yield words.motif_sentence(words.both_inputs(*found))
