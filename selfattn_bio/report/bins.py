"""Figures, sentences and table rows of objective `bins` for the report."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from selfattn_bio.objectives.bins import BinsOfPoints
from selfattn_bio.report import plots, target_plots, words
from selfattn_bio.report.class_figures import read_precision
from selfattn_bio.report.figures import MAX_CURVES, Drawing
from selfattn_bio.report.tested import Tested

WIDE = (7.4, 1.9)  # size of the track in inches
REACH = 5  # bins; highest distance in the figure of distances


def bins_figures(objective: BinsOfPoints, tested: Tested) -> list[Drawing]:
    """Draw precision and recall, distances of calls, and the block with median AUPRC."""
    results = tested.results
    test, test_metrics = results.test, results.metrics["test"]
    entries = {name: entry for _, name, entry in words.ranked(test_metrics, objective)[:MAX_CURVES]}
    curves = {words.classifier_name(name, short=True): test[name] for name in entries}
    block = typical_block(test, results.task.evaluation.block or objective.block)
    size = objective.section.bin
    called = {
        words.classifier_name(name, short=True): test[name] >= entry["threshold"]
        for name, entry in entries.items()
    }
    away = distances_to_points(test, size)
    reached = {name: _within(away[of.to_numpy()]) for name, of in called.items() if of.any()}
    return [
        tested.show(
            "precision_recall",
            "Precision and recall",
            "Precision: fraction of the bins called positive that contain a point. Recall: "
            "fraction of the bins with a point that are called positive. Dotted line: chance "
            f"level. {test_metrics['positives']:,} of {len(test):,} test bins contain a point.",
            "A call in the bin next to one with a point counts as an error.",
            lambda ax: plots.draw_precision_recall(test["label"], curves, ax),
            finding=read_precision(test["label"], curves),
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
    found = np.full(len(test), np.inf)
    for _, rows in test.assign(row=np.arange(len(test))).groupby("chrom"):
        points = np.sort(rows.loc[rows["label"] == 1, "start"].to_numpy())
        if len(points):
            starts = rows["start"].to_numpy()
            after = np.searchsorted(points, starts)
            next_ = np.abs(points[np.minimum(after, len(points) - 1)] - starts)
            before = np.abs(points[np.maximum(after - 1, 0)] - starts)
            found[rows["row"].to_numpy()] = np.minimum(next_, before) / size
    return found


def _within(away: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the fraction of bins within 0, 1, ... bins of one with a point."""
    return (away[:, None] <= np.arange(REACH + 1)).mean(axis=0)


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
    order = np.argsort(
        [average_precision_score(rows["label"], rows["model"]) for rows in groups], kind="stable"
    )
    return groups[order[len(order) // 2]]
