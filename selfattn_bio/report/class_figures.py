"""Figures of models of two classes and of bins."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_curve

from selfattn_bio.objectives import Objective
from selfattn_bio.objectives.binary import Binary
from selfattn_bio.objectives.bins import BinsOfPoints
from selfattn_bio.report import plots, target_plots, words
from selfattn_bio.report.tested import MAX_CURVES, Drawing, Tested
from selfattn_bio.report.words import deviation, figure, percent, ranked

FALSE_POSITIVES, RECALL = 0.05, 0.5  # where the curves are read
WIDE = (7.4, 1.9)  # size of the track in inches
MAX_DISTANCE = 5  # bins; the highest in the figure of distances


def binary_figures(objective: Binary, tested: Tested) -> list[Drawing]:
    """Draw ROC and precision-recall curves, and calibration."""
    test, labels = tested.results.test, tested.results.test["label"].to_numpy()
    curves = {name: test[name] for name in _entries(objective, tested)}
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
        _precision_recall(tested, curves, "Precision is lower where positives are rarer."),
    ]
    if "model_calibrated" in test:
        calibrated = tested.results.metrics["test"]["model"]["calibrated"]
        ece, slope = calibrated["ece"], calibrated["calibration_slope"]
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
                f"{figure(ece['value'])} on average; {figure(ece['floor'])} would be chance."
                + deviation("Probabilities", slope, 1, "too extreme", "not extreme enough"),
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


def _precision_recall(tested: Tested, curves: Mapping[str, ArrayLike], limit: str) -> Drawing:
    """Draw precision and recall, and state the precision where half of the positives are found."""
    test, labels = tested.results.metrics["test"], tested.results.test["label"].to_numpy()
    found = []
    for name, p in list(curves.items())[:2]:
        precision, recall, _ = precision_recall_curve(labels, p)
        found.append(f"{name} {percent(float(precision[recall >= RECALL][-1]))}")
    return tested.show(
        "precision_recall",
        "Precision and recall",
        "Fraction of positive calls that are correct (precision) against fraction of positives "
        f"found (recall). {test['positives']:,} of {test['n']:,} are positive "
        f"({percent(test['positives'] / test['n'], 1)}): the precision of random calls (dotted).",
        f"The curve applies to this fraction of positives. {limit}",
        lambda ax: plots.draw_precision_recall(labels, curves, ax),
        finding=f"Precision where half of the positives are found: {', '.join(found)}.",
    )


def _entries(objective: Objective[Any], tested: Tested) -> dict[str, dict[str, Any]]:
    """Return the metrics by name of the model, the best baselines and the first control.

    Their number is limited so that their curves can be distinguished.
    """
    found = ranked(tested.results.metrics["test"], objective)
    controls = [each for each in found if each[0] == "control"][:1]
    best = [each for each in found if each[0] != "control"][: MAX_CURVES - len(controls)]
    return {name: entry for _, name, entry in [*best, *controls]}


def bins_figures(objective: BinsOfPoints, tested: Tested) -> list[Drawing]:
    """Draw precision and recall, distances of calls, and the block with median AUPRC."""
    results = tested.results
    test = results.test
    entries = _entries(objective, tested)
    curves = {name: test[name] for name in entries}
    block = typical_block(test, results.task.evaluation.block or objective.section.block)
    size = objective.section.bin
    called = {name: test[name] >= entry["threshold"] for name, entry in entries.items()}
    away = distances_to_points(test, size)
    reached = {name: _within(away[of.to_numpy()]) for name, of in called.items() if of.any()}
    return [
        _precision_recall(
            tested, curves, "A call in the bin next to one with a point counts as an error."
        ),
        tested.show(
            "distances",
            "Distance of calls to points",
            f"Fraction of the called bins (of {size} bp) whose nearest bin with a point is at most "
            "this far away on the chromosome. Thresholds were chosen on the validation set.",
            "Near misses count as errors in AUPRC. The figure does not show the points that were "
            "not called: that is recall.",
            lambda ax: target_plots.draw_distances(reached, _within(away), size, ax),
            finding=_near(reached),
        ),
        tested.show(
            "track",
            "Example block of a test chromosome",
            "Predicted probability of each bin. Triangles: bins that contain a point. This block "
            "has the median AUPRC of all test blocks with a point.",
            "One block is an example, not evidence.",
            lambda ax: plots.draw_track(block, ax),
            size=WIDE,
            finding=_highest_bins(block),
        ),
    ]


def _near(reached: Mapping[str, NDArray[np.float64]]) -> str:
    """State how many calls of the first classifier with a call are at or next to a point."""
    if not reached:
        return "No bin was called."
    name, of = next(iter(reached.items()))
    return (
        f"Calls of {name}: {words.percent(of[0])} contain a point, and {words.percent(of[1])} are "
        "at most one bin away."
    )


def distances_to_points(test: pd.DataFrame, size: int) -> NDArray[np.float64]:
    """Return the distance of each bin to the nearest one with a point, in bins, (n,).

    It is infinite on chromosomes without a point. Bins at 0, 200 and 400 with a point in the last
    have the distances 2, 1 and 0.
    """
    bins = test[["chrom", "start", "label"]].assign(row=range(len(test))).sort_values("start")
    points = bins.loc[bins["label"] == 1, ["chrom", "start"]].assign(point=bins["start"])
    nearest = pd.merge_asof(bins, points, on="start", by="chrom", direction="nearest")
    nearest = nearest.set_index("row").sort_index()
    return ((nearest["point"] - nearest["start"]).abs() / size).fillna(np.inf).to_numpy()


def _within(away: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the fraction of bins within 0, 1, ... bins of one with a point."""
    return (away[:, None] <= np.arange(MAX_DISTANCE + 1)).mean(axis=0)


def _highest_bins(block: pd.DataFrame) -> str:
    """Count the bins with a point among as many bins with the highest probabilities."""
    number = int(block["label"].sum())
    hits = int(block.nlargest(number, "model")["label"].sum())
    return (
        f"{hits} of the {number} bins with the highest probability contain a point; the block has "
        f"{number} such bins."
    )


def typical_block(test: pd.DataFrame, block: int) -> pd.DataFrame:
    """Return the bins of the block with the median AUPRC of all blocks that contain a point."""
    groups = [
        rows for _, rows in test.groupby(["chrom", test["start"] // block]) if rows["label"].any()
    ]
    groups.sort(key=lambda rows: average_precision_score(rows["label"], rows["model"]))
    return groups[len(groups) // 2]
