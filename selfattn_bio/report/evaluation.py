"""Summarise the test metrics of an evaluation in lines of text, which `evaluate` prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import singledispatch
from typing import Any

from selfattn_bio.display import counted
from selfattn_bio.evaluation.metrics import AT_HALF, title_of
from selfattn_bio.objectives import Objective
from selfattn_bio.objectives.binary import Binary
from selfattn_bio.objectives.bins import BinsOfPoints
from selfattn_bio.report.words import classifier_name, comparison

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
            f"{title_of(metric)} {found['value']:.3f}"
            for metric, found in entry.items()
            if found["value"] is not None
        )
        yield f"test {known}  {name}"


@_test_lines.register
def _(objective: Binary, metrics: Metrics) -> Iterator[str]:
    test, best = metrics["test"], metrics["differences"]["best_baseline"]
    for name, entry in {"model": test["model"], **test["baselines"], **test["controls"]}.items():
        auroc = entry["auroc"]
        chance = " (negative control; 0.5 is chance level)" if name in test["controls"] else ""
        title = f" ({classifier_name(name)})" if name in test["baselines"] else ""
        yield (
            f"test AUROC {auroc['value']:.3f} ({auroc['low']:.3f} to "
            f"{auroc['high']:.3f})  {name}{title}{chance}"
        )
    for name, entry in {"model": test["model"], best: test["baselines"][best]}.items():
        yield from _calls(name, entry)
    for by, found in metrics["groups"].items():
        if gap := found["gap"]:
            auroc = {
                entry["group"]: entry["model"]["auroc"]["value"]
                for entry in found["groups"]
                if entry["model"]
            }
            low, high = gap["auroc"]["low"], gap["auroc"]["high"]
            yield (
                f"AUROC by {by}: worst {found['worst']!r} {auroc[found['worst']]:.3f}, gap "
                f"{gap['auroc']['value']:.3f} ({low:.3f} to {high:.3f})"
            )
    yield " ".join(comparison(metrics))


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


@_test_lines.register
def _(objective: BinsOfPoints, metrics: Metrics) -> Iterator[str]:
    test, leads = metrics["test"], metrics["differences"]["baselines"]
    yield (
        f"test {counted(test['n'], 'bin')}, {test['positives']:,} with a point, in "
        f"{counted(test['blocks'], 'block')} of {metrics['block']:,} bp"
    )
    for name, entry in {"model": test["model"], **test["baselines"]}.items():
        auprc = entry["auprc"]
        shown = (
            f"test AUPRC {auprc['value']:.3f} ({auprc['low']:.3f} to {auprc['high']:.3f}), "
            f"AUROC {entry['auroc']['value']:.3f}"
        )
        lead = ""
        for who, of in (
            ("model", leads),
            ("first member of the model", metrics["differences"].get("first_member", {})),
        ):
            if difference := of.get(name, {}).get("auprc"):
                lead += (
                    f"; {who} minus {name} {difference['value']:+.3f} ({difference['low']:+.3f} "
                    f"to {difference['high']:+.3f})"
                )
        yield f"{shown}, MCC {entry['mcc']['value']:.3f}  {name}{lead}"


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
