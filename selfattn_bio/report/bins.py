"""Write the HTML report for objective `bins`.

It shows metrics with intervals, curves, an example stretch of chromosome and the training cost of
each model on one self-contained page, in the style of `report.page`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score

from selfattn_bio.evaluation.metrics import title_of
from selfattn_bio.evaluation.verdict import ClassifierSize, caveat, sizes_of, verdict
from selfattn_bio.files import whole_file, whole_folder
from selfattn_bio.report import plots, words
from selfattn_bio.report.figures import Drawing, bars, draw_figure, ranked
from selfattn_bio.report.page import fill
from selfattn_bio.report.results import TaskResults

METRICS = ("auprc", "auroc", "mcc")
WIDE = (7.4, 1.9)  # size of the track in inches
CURVES = 5


def write_bin_report(results: TaskResults, output: Path, name: str) -> None:
    """Write the page of a task to `output`, and its plots to the folder `plots` next to it."""
    with whole_folder(output.parent / "plots") as folder:
        drawings = draw_figures(results, folder)
    metrics = results.metrics
    page = fill(
        "bins.html.j2",
        results,
        name,
        METRICS={name: title_of(name) for name in METRICS},
        objective=results.task.objective,
        rows=rows(metrics),
        sentences=[
            baseline_sentence(name, metrics) for name in metrics["differences"]["baselines"]
        ],
        drawings=drawings,
    )
    with whole_file(output) as path:
        path.write_text(page, encoding="utf-8")


def rows(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of the table of test metrics: the model, then baselines by decreasing AUPRC.

    Each row includes the values of ensemble members and the training cost.
    """
    test, valid = metrics["test"], metrics["valid"]
    found = []
    for _, name, entry in ranked(test, "auprc"):
        on_valid = valid["model"] if name == "model" else valid["baselines"][name]
        each = test["members"].get(name, {}).get("each", [])
        found.append(
            {
                "name": name,
                "valid": on_valid["auprc"],
                "each": each,
                "cost": metrics["costs"].get(name),
                **entry,
            }
        )
    return found


def baseline_sentence(name: str, metrics: dict[str, Any]) -> str:
    """Compare the model with one baseline in a sentence.

    For an ensemble, a second sentence compares its first member alone.
    """
    model, other = sizes_of(metrics, "model", name)
    first = ClassifierSize(model.networks // max(1, model.trainings), 1)
    title, found = words.classifier_name(name), []
    for who, key, size in (
        ("The model", "baselines", model),
        ("Its first member alone", "first_member", first),
    ):
        if difference := metrics["differences"].get(key, {}).get(name):
            lead = difference["auprc"]
            judged = verdict(lead, size, other)
            finding = {
                "not distinguishable": f"cannot be distinguished from {title}",
                "higher": f"has a higher AUPRC than {title}",
                "lower": f"has a lower AUPRC than {title}",
            }.get(judged, f"is {judged} than {title}")
            spread = (
                f"{words.percent(metrics['confidence'])} interval {words.interval(lead, sign=True)}"
            )
            figures = "; ".join(
                filter(
                    None,
                    (
                        f"{words.figure(lead['value'], sign=True)} AUPRC, {spread}",
                        caveat(size, other),
                    ),
                )
            )
            found.append(f"{who} {finding} ({figures}).")
    return " ".join(found)


def draw_figures(results: TaskResults, folder: Path) -> list[Drawing]:
    """Draw intervals, precision and recall, learning curves, and the block with median AUPRC."""
    test, test_metrics = results.test, results.metrics["test"]
    curves = {
        words.classifier_name(name, short=True): test[name]
        for _, name, _ in ranked(test_metrics, "auprc")[:CURVES]
    }
    rates = bars(test_metrics, "auprc")
    chance = float(test["label"].mean())
    block = typical_block(test, results.metrics["block"])
    return [
        draw_figure(
            "comparison",
            "AUPRC on the test set",
            "Dots: AUPRC on the test bins. Lines: bootstrap intervals over blocks of chromosomes. "
            "Dotted line: chance level.",
            "Models with overlapping intervals may still differ, because all are evaluated on the "
            "same bins. Paired differences are in the table below.",
            lambda ax: plots.draw_intervals(rates, ax, "AUPRC on the test set", chance),
            folder,
        ),
        draw_figure(
            "precision_recall",
            "Precision and recall",
            "Precision: fraction of the bins called positive that contain a point. Recall: "
            "fraction of the bins with a point that are called positive. Dotted line: chance "
            "level.",
            "A call in the bin next to one with a point counts as an error.",
            lambda ax: plots.draw_precision_recall(test["label"], curves, ax),
            folder,
        ),
        draw_figure(
            "learning",
            "Learning curves",
            "Loss and AUPRC during training of the first member. Dotted line: step with the "
            "highest validation AUPRC, whose weights were kept.",
            "Training loss includes dropout, so it is not comparable with validation loss.",
            lambda ax: plots.draw_learning_curves(results.history, ax, "auprc"),
            folder,
        ),
        draw_figure(
            "track",
            "Example block of a test chromosome",
            "Predicted probability of each bin. Triangles: bins that contain a point. This block "
            "has the median AUPRC of all test blocks with a point.",
            "One block is an example, not evidence.",
            lambda ax: plots.draw_track(block, ax),
            folder,
            WIDE,
        ),
    ]


def typical_block(test: pd.DataFrame, block: int) -> pd.DataFrame:
    """Return the bins of the block with the median AUPRC of all blocks that contain a point."""
    groups = [
        rows for _, rows in test.groupby(["chrom", test["start"] // block]) if rows["label"].any()
    ]
    order = np.argsort(
        [average_precision_score(rows["label"], rows["model"]) for rows in groups], kind="stable"
    )
    return groups[order[len(order) // 2]]
