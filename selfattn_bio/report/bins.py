"""Write the HTML report for objective `bins`.

It shows metrics with intervals, curves, an example stretch of chromosome and the training cost of
each model on one self-contained page, in the style of `report.page`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from sklearn.metrics import average_precision_score

from selfattn_bio.config import RunFile
from selfattn_bio.evaluation.metrics import title_of
from selfattn_bio.evaluation.verdict import ClassifierSize, caveat, sizes_of, verdict
from selfattn_bio.files import whole_file, whole_folder
from selfattn_bio.interpret.formats import read_table
from selfattn_bio.report import plots, words
from selfattn_bio.report.figures import Drawing, draw
from selfattn_bio.report.page import flat, leak_rows
from selfattn_bio.report.results import read_audit, read_file, read_json

METRICS = ("auprc", "auroc", "mcc")
WIDE = (7.4, 1.9)  # size of the track in inches
CURVES = 5


@dataclass(frozen=True)
class BinResults:
    """Files of a results folder that the report uses.

    These are metrics.json, one row per test bin, the training history of the first member,
    provenance and corpus summary, and audit.json or None.
    """

    folder: Path
    run: RunFile
    metrics: dict[str, Any]
    test: pd.DataFrame
    history: pd.DataFrame
    provenance: dict[str, Any]
    corpus: dict[str, Any]
    audit: dict[str, Any] | None


def read_bin_results(run: RunFile, folder: Path) -> BinResults:
    """Read the results folder of a task; errors are those of `report.results.read_results`."""
    return BinResults(
        folder=folder,
        run=run,
        metrics=read_file(folder / "metrics.json", read_json, "evaluate"),
        test=read_file(folder / "predictions" / "test.tsv", read_table, "evaluate"),
        history=read_file(folder / "model" / "history.csv", pd.read_csv, "train"),
        provenance=read_file(folder / "model" / "provenance.json", read_json, "train"),
        corpus=read_file(folder / "corpus" / "corpus.json", read_json, "ingest"),
        audit=read_audit(folder),
    )


def write_bin_report(results: BinResults, output: Path, task: str) -> None:
    """Write the page of a task to `output`, and its plots to the folder `plots` next to it."""
    environment = Environment(
        loader=PackageLoader("selfattn_bio.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Only SVG written by this package is not escaped
    environment.filters.update(
        figure=words.figure,
        interval=words.interval,
        p=words.p_value,
        percent=words.percent,
        svg=Markup,
    )
    environment.globals.update(
        METRICS={name: title_of(name) for name in METRICS}, name_of=words.classifier_name
    )
    with whole_folder(output.parent / "plots") as folder:
        drawings = figures(results, folder)
    metrics = results.metrics
    page = environment.get_template("bins.html.j2").render(
        title=results.run.title or task,
        task=task,
        objective=results.run.objective,
        metrics=metrics,
        rows=rows(metrics),
        sentences=[comparison(name, metrics) for name in metrics["differences"]["baselines"]],
        drawings=drawings,
        audit=results.audit,
        leaks=[] if results.audit is None else leak_rows(results.audit),
        corpus=results.corpus,
        provenance=list(flat(results.provenance)),
        run_file=(results.folder / "model" / "run.toml").read_text(encoding="utf-8"),
    )
    with whole_file(output) as path:
        path.write_text(page, encoding="utf-8")


def rows(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of the table of test metrics: the model, then baselines by decreasing AUPRC.

    Each row includes the values of ensemble members and the training cost.
    """
    test, valid = metrics["test"], metrics["valid"]
    baselines = sorted(test["baselines"].items(), key=lambda item: -item[1]["auprc"]["value"])
    found = []
    for name, entry in [("model", test["model"]), *baselines]:
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


def comparison(name: str, metrics: dict[str, Any]) -> str:
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


def figures(results: BinResults, folder: Path) -> list[Drawing]:
    """Draw intervals, precision and recall, learning curves, and the block with median AUPRC."""
    test, found = results.test, rows(results.metrics)
    names = {row["name"]: words.classifier_name(row["name"], short=True) for row in found}
    curves = {names[name]: test[name] for name in list(names)[:CURVES]}
    bars = [
        (
            names[row["name"]],
            row["auprc"],
            plots.MODEL if row["name"] == "model" else plots.BASELINE,
        )
        for row in found
    ]
    chance = float(test["label"].mean())
    block = typical_block(test, results.metrics["block"])
    return [
        Drawing(
            "comparison",
            "AUPRC on the test set",
            "Dots: AUPRC on the test bins. Lines: bootstrap intervals over blocks of chromosomes. "
            "Dotted line: chance level.",
            "Models with overlapping intervals may still differ, because all are evaluated on the "
            "same bins. Paired differences are in the table below.",
            draw(
                "comparison",
                lambda ax: plots.draw_intervals(bars, ax, "AUPRC on the test set", chance),
                folder,
            ),
        ),
        Drawing(
            "precision_recall",
            "Precision and recall",
            "Precision: fraction of the bins called positive that contain a point. Recall: "
            "fraction of the bins with a point that are called positive. Dotted line: chance "
            "level.",
            "A call in the bin next to one with a point counts as an error.",
            draw(
                "precision_recall",
                lambda ax: plots.draw_precision_recall(test["label"], curves, ax),
                folder,
            ),
        ),
        Drawing(
            "learning",
            "Learning curves",
            "Loss and AUPRC during training of the first member. Dotted line: step with the "
            "highest validation AUPRC, whose weights were kept.",
            "Training loss includes dropout, so it is not comparable with validation loss.",
            draw(
                "learning",
                lambda ax: plots.draw_learning_curves(results.history, ax, "auprc"),
                folder,
            ),
        ),
        Drawing(
            "track",
            "Example block of a test chromosome",
            "Predicted probability of each bin. Triangles: bins that contain a point. This block "
            "has the median AUPRC of all test blocks with a point.",
            "One block is an example, not evidence.",
            draw("track", lambda ax: plots.draw_track(block, ax), folder, WIDE),
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
