"""Figures of models of two classes, and of subsets of their test records."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import precision_recall_curve, roc_curve

from selfattn_bio.objectives.binary import Binary
from selfattn_bio.report import plots
from selfattn_bio.report.figures import MAX_CURVES, Drawing
from selfattn_bio.report.tested import Tested
from selfattn_bio.report.words import SLICES, classifier_name, estimate, figure, percent, ranked

FALSE_POSITIVES, RECALL = 0.05, 0.5  # where the curves are read


def binary_figures(objective: Binary, tested: Tested) -> list[Drawing]:
    """Draw ROC and precision-recall curves, and calibration."""
    test, labels = tested.results.test, tested.results.test["label"].to_numpy()
    curves = {
        classifier_name(name, short=True): test[name] for name in _shown(tested.results.metrics)
    }
    drawings = [
        tested.show(
            "roc",
            "ROC curve",
            "Fraction of positives found (true positive rate) against fraction of negatives called "
            "positive (false positive rate). Dotted line: chance level.",
            "The curve does not depend on the proportion of positives, so it does not show how "
            "many calls in a genome would be wrong.",
            lambda ax: plots.draw_roc(labels, curves, ax),
            finding=_read_roc(labels, curves),
        ),
        tested.show(
            "precision_recall",
            "Precision and recall",
            "Fraction of positive calls that are correct (precision) against fraction of positives "
            "found (recall). Dotted line: chance level.",
            f"The curve applies to this test set, with {percent(labels.mean())} positives. "
            "Precision is lower where positives are rarer.",
            lambda ax: plots.draw_precision_recall(labels, curves, ax),
            finding=read_precision(labels, curves),
        ),
    ]
    if "model_calibrated" in test:
        ece = tested.results.metrics["test"]["model"]["calibrated"]["ece"]
        drawings.append(
            tested.show(
                "calibration",
                "Calibration",
                "Observed fraction of positives against predicted probability, in bins of "
                "probability. Points on the diagonal are perfectly calibrated.",
                "Calibration holds on average, not for each record. Calibrate again if the "
                "proportion of positives changes.",
                partial(plots.draw_calibration, labels, test["model"], test["model_calibrated"]),
                finding="After scaling, probabilities and observed fractions differ by "
                f"{figure(ece['value'])} on average; {figure(ece['floor'])} would be chance.",
            )
        )
    return drawings


def _read_roc(labels: ArrayLike, curves: Mapping[str, ArrayLike]) -> str:
    found = []
    for name, p in list(curves.items())[:2]:
        false, true, _ = roc_curve(labels, p)
        found.append(f"{name} {percent(float(np.interp(FALSE_POSITIVES, false, true)))}")
    return (
        f"Positives found where {percent(FALSE_POSITIVES)} of the negatives are called positive: "
        f"{', '.join(found)}."
    )


def read_precision(labels: ArrayLike, curves: Mapping[str, ArrayLike]) -> str:
    """State the precision of the first two classifiers where half of the positives are found."""
    found = []
    for name, p in list(curves.items())[:2]:
        precision, recall, _ = precision_recall_curve(labels, p)
        found.append(f"{name} {percent(float(precision[recall >= RECALL][-1]))}")
    return f"Precision where half of the positives are found: {', '.join(found)}."


def slice_figures(tested: Tested) -> list[Drawing]:
    """Draw the figures on performance within slices of similar records, if there are slices."""
    metrics = tested.results.metrics
    if "slices" not in metrics:
        return []
    best = metrics["differences"]["best_baseline"]
    names = {name: classifier_name(name, short=True) for name in ("model", best) if name}
    return [
        tested.show(
            f"slices_{name}",
            f"AUROC by {SLICES[name]}",
            f"AUROC in subsets of the test set, by {SLICES[name]}. A model that uses only this "
            "property has an AUROC near 0.5 within each subset.",
            "Each subset has fewer records, so its interval is wider."
            + (
                ""
                if name == "begins_with_m"
                else " Boundaries are quantiles of the training set, so subsets differ in size."
            ),
            partial(plots.draw_slices, entries, names, label=SLICES[name]),
            finding=_read_slices(entries),
        )
        for name, entries in metrics["slices"].items()
    ]


def _read_slices(entries: list[dict[str, Any]]) -> str:
    """Count the slices in which the model is better than chance."""
    aurocs = [entry["model"]["auroc"] for entry in entries if entry.get("model")]
    if not aurocs:
        return "No subset has records of both classes."
    worst = min(aurocs, key=lambda auroc: auroc["value"])
    above = sum(auroc["low"] > 0.5 for auroc in aurocs)
    return (
        f"AUROC is above chance in {above} of {len(aurocs)} subsets; the lowest is "
        f"{estimate(worst)}."
    )


def _shown(metrics: Mapping[str, Any]) -> list[str]:
    """Return the classifiers whose curves are drawn: model, best baselines and first control.

    Their number is limited so that the curves can be distinguished.
    """
    best = [name for role, name, _ in ranked(metrics["test"], Binary) if role != "control"]
    return [*best[: MAX_CURVES - 1], *list(metrics["test"]["controls"])[:1]]
