"""Build the tables of the report.

A cell belongs to the heading of its column, never to a position. The macro `table` of the templates
shows every table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from selfattn_bio.evaluation.metrics import TITLES, title_of
from selfattn_bio.objectives import Objective
from selfattn_bio.report import figures, words
from selfattn_bio.report.plots import slice_name
from selfattn_bio.report.results import entry_of
from selfattn_bio.split_names import SPLIT_NAMES

DESCRIPTIONS = {  # of the metrics whose titles are not plain words
    "auroc": "area under the ROC curve; 0.5 is chance level",
    "auprc": "area under the precision-recall curve (average precision)",
    "mcc": "Matthews correlation coefficient; 0 is chance level",
    "mcc_at_half": "Matthews correlation coefficient with a threshold of 0.5",
    "f1": "harmonic mean of precision and recall",
    "f1_at_half": "F1 with a threshold of 0.5",
    "accuracy_at_half": "accuracy with a threshold of 0.5",
    "macro_f1": "mean of the F1 of each class",
    "brier": "Brier score: mean squared error of the probabilities; lower is better",
    "ece": "expected calibration error; lower is better",
    "r2": "fraction of the variance that the predictions explain",
    "mse": "mean squared error; lower is better",
    "perplexity": "exponential of the mean loss per token; lower is better",
    "mean": "mean of the main metrics of the parts",
}


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes
    ----------
    text, note
        The value, and what is in small print below it.
    key
        Value by which the page sorts the column; columns without keys cannot be sorted.
    """

    text: str
    note: str = ""
    key: str | float | None = None


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes
    ----------
    cells
        Cell by the heading of its column. None is shown as a dash, a missing heading as nothing.
    kind
        Class of its style, such as "model".
    search
        Text in which the page searches; empty if the row is always shown.
    """

    cells: Mapping[str, Cell | None]
    kind: str = ""
    search: str = ""


@dataclass(frozen=True)
class Table:
    """A table of the page. The first cell of a row is its heading.

    Attributes
    ----------
    rows
        The rows, from top to bottom.
    caption
        Text above the table.
    descriptions
        What a column contains, by its heading, if the heading does not say so.
    """

    rows: Sequence[Row]
    caption: str = ""
    descriptions: Mapping[str, str] = field(default_factory=dict)

    @property
    def headings(self) -> list[str]:
        """Return the headings of the columns with a cell, in the order of the rows."""
        named = {heading: None for row in self.rows for heading in row.cells}
        return [name for name in named if any(row.cells.get(name) for row in self.rows)]

    @property
    def sortable(self) -> set[str]:
        """Return the headings of the columns with keys."""
        return {
            heading
            for row in self.rows
            for heading, cell in row.cells.items()
            if cell and cell.key is not None
        }


def estimate(of: Mapping[str, Any], digits: int = 3, sign: bool = False) -> Cell:
    """Return the cell of a value of metrics.json, with its interval below if there is one."""
    has_interval = of.get("low") is not None
    note = words.interval(of, digits, sign) if has_interval else ""
    return Cell(words.figure(of["value"], digits, sign), note)


def shown_metrics(entry: Mapping[str, Any]) -> list[str]:
    """Return the names of a classifier's metrics in the order of the tables.

    Calibration has its own sentence.
    """
    known = [
        name
        for name, of in entry.items()
        if isinstance(of, dict) and "value" in of and not name.startswith("calibration_")
    ]
    return sorted(known, key=lambda name: [*TITLES, name].index(name))


def _metrics(entry: Mapping[str, Any], sign: bool = False) -> dict[str, Cell | None]:
    """Return the cells of the metrics of a classifier, or of differences, by their titles."""
    return {title_of(metric): estimate(entry[metric], sign=sign) for metric in shown_metrics(entry)}


def _descriptions(entry: Mapping[str, Any]) -> dict[str, str]:
    """Return the descriptions of the metrics of a classifier, by their titles."""
    own = {metric: metric.rpartition(".")[2] for metric in shown_metrics(entry)}
    return {
        title_of(metric): DESCRIPTIONS[name] for metric, name in own.items() if name in DESCRIPTIONS
    }


def performance_table(metrics: Mapping[str, Any], objective: Objective[Any]) -> Table:
    """Return the test metrics of the model, the baselines with the best first, and controls."""
    valid, test = metrics["valid"], metrics["test"]
    of_valid = {"model": valid["model"], **valid["baselines"], **valid.get("controls", {})}
    main, costs = objective.main_metric, metrics.get("costs", {})
    unknown: dict[str, Cell | None] = dict.fromkeys(_metrics(test["model"]))
    rows = []
    for role, name, entry in figures.ranked(
        test, main, higher_is_better=objective.higher_is_better
    ):
        cost, members = costs.get(name), test.get("members", {}).get(name, {"each": []})
        cells = {
            "classifier": Cell(words.classifier_name(name)),
            **unknown,
            **_metrics(entry),
            f"validation {title_of(main)}": estimate(of_valid[name][main]),
            f"{title_of(main)} of each member": Cell(" ".join(map(words.figure, members["each"])))
            if members["each"]
            else None,
            "training time, s": cost and Cell(words.figure(cost["seconds"], 0)),
            "peak memory, MB": cost and Cell(words.figure(cost["peak_memory_mb"], 0)),
        }
        rows.append(Row(cells, role))
        if role == "model" and "calibrated" in entry:
            cells = {"classifier": Cell("after calibration"), **_metrics(entry["calibrated"])}
            rows.append(Row(cells, "after"))
    return Table(rows, descriptions=_descriptions(test["model"]))


def difference_table(metrics: Mapping[str, Any]) -> Table:
    """Return the model minus each baseline; without rows if there is no comparison."""
    found = metrics.get("differences", {"baselines": {}})["baselines"]
    rows = [
        Row({"baseline": Cell(words.classifier_name(name)), **_metrics(difference, sign=True)})
        for name, difference in found.items()
    ]
    return Table(rows, descriptions=_descriptions(metrics["test"]["model"]))


def group_tables(metrics: Mapping[str, Any]) -> list[Table]:
    """Return one table per grouping of the test split, with the gap and the worst group."""
    lowest = " (lowest AUROC)"
    return [
        Table(
            [
                _subset(
                    "group",
                    entry["group"] + lowest * (entry["group"] == found["worst"]),
                    entry,
                    metrics,
                )
                for entry in found["groups"]
            ],
            f"By {words.GROUPS.get(by, by)}{_gaps(found['gap'])}",
        )
        for by, found in metrics.get("groups", {}).items()
    ]


def _gaps(gap: Mapping[str, Any] | None) -> str:
    if not gap:
        return ": no gap, because fewer than two groups have both classes"
    return f": AUROC: {words.gap(gap['auroc'])}; accuracy: {words.gap(gap['accuracy'])}"


def slice_table(metrics: Mapping[str, Any]) -> Table:
    """Return one row per slice of the test split.

    Properties that also define groups are left out, because the tables of groups have them.
    """
    return Table(
        [
            _subset("subset", f"{words.SLICES[by]} {slice_name(entry)}", entry, metrics)
            for by, entries in metrics.get("slices", {}).items()
            if by not in metrics.get("groups", {})
            for entry in entries
        ]
    )


def _subset(heading: str, name: str, entry: Mapping[str, Any], metrics: Mapping[str, Any]) -> Row:
    """Return the row of a group or slice of the test split."""
    best = metrics["differences"]["best_baseline"]

    def cell(classifier: str, metric: str) -> Cell:
        found = entry.get(classifier)
        return estimate(found[metric]) if found else Cell("one class only")

    return Row(
        {
            heading: Cell(name),
            "records": Cell(f"{entry['n']:,}"),
            "positives": Cell(f"{entry['positives']:,}"),
            "intervals over": Cell(f"{entry_of(entry, 'units'):,} {entry_of(entry, 'unit')}")
            if entry["model"]
            else None,
            "AUROC, model": cell("model", "auroc"),
            "accuracy, model": cell("model", "accuracy"),
            "AUROC, best baseline": cell(best, "auroc") if best else None,
        }
    )


def leakage_tables(audit: Mapping[str, Any]) -> dict[str, Table]:
    """Return the tables of leaks, nearest neighbours and shifts."""
    return {"leaks": _leaks(audit), "nearest": _nearest(audit), "shifts": _shifts(audit)}


def _leaks(audit: Mapping[str, Any]) -> Table:
    """Return one row per kind of leak, with the limit of [audit] if there is one."""
    limits, similarity, num_test = audit["limits"], audit["similarity"], audit["records"]["test"]
    near = None if limits["max_near"] == 1 else int(limits["max_near"] * num_test)
    rows = [
        ("identical sequence on either strand", audit["duplicates"], limits["max_duplicates"]),
        ("overlapping interval on either strand", audit["overlaps"], limits["max_overlaps"]),
        ("sequence or interval used to train a parent model", audit["seen"], limits["max_seen"]),
        *(
            (f"same {column}", count, limits["max_shared"])
            for column, count in audit["shared"].items()
        ),
        (f"near neighbour (at least {similarity:g} of k-mers shared)", audit["near"], near),
        *(
            [("near neighbour with a different label", other, None)]
            if (other := audit["near_other_label"]) is not None
            else []
        ),
    ]
    return Table(
        [
            Row(
                {
                    "match among these records": Cell(what),
                    "test records": Cell(f"{count:,}"),
                    "limit": Cell("none" if limit is None else f"{limit:,}"),
                }
            )
            for what, count, limit in rows
        ]
    )


def _nearest(audit: Mapping[str, Any]) -> Table:
    """Return the number of test records by the similarity to their nearest neighbour."""
    return Table(
        [
            Row(
                {
                    "fraction of k-mers shared": Cell(
                        f"{of['from']} to {of['to']}" if of["to"] > of["from"] else f"{of['from']}"
                    ),
                    "test records": Cell(f"{of['count']:,}"),
                }
            )
            for of in audit["nearest"]
        ],
        "Similarity of test records to their nearest neighbour",
    )


def _shifts(audit: Mapping[str, Any]) -> Table:
    """Return the differences between the training set and the other splits."""
    return Table(
        [
            Row(
                {
                    "property, split": Cell(f"{_property(shift)}, {SPLIT_NAMES[shift['split']]}"),
                    "mean in training": Cell(words.figure(shift["train"])),
                    "mean in the split": Cell(words.figure(shift["other"])),
                    "effect": Cell(words.figure(shift["effect"], 3, True), shift["effect_is"]),
                    "p": Cell(words.p_value(shift["p"]), shift["test"]),
                }
            )
            for shift in audit["shifts"]
        ],
        "Shifts between the training set and the other splits",
    )


def _property(shift: Mapping[str, Any]) -> str:
    return "fraction of positives" if shift["what"] == "positives" else str(shift["what"])


def split_table(records: pd.DataFrame, kind: str) -> Table:
    """Count the records of each split that has records, by label if there are labels.

    Parameters
    ----------
    records
        Table with label and split.
    kind
        Kind of the split, for the caption.
    """
    if records["label"].notna().any():
        names = ["positives", "negatives", "unlabelled"]
        kinds = records["label"].map({1: names[0], 0: names[1]}).astype(object).fillna(names[2])
    else:
        names = ["records"]
        kinds = pd.Series(names[0], index=records.index)
    counts = pd.crosstab(records["split"], kinds).reindex(columns=names, fill_value=0)
    by_split: dict[Any, dict[Any, int]] = counts.to_dict("index")
    return Table(
        [
            Row(
                {
                    "split": Cell(name),
                    **{of: Cell(f"{count:,}") for of, count in by_split[split].items()},
                }
            )
            for split, name in {**SPLIT_NAMES, "dropped": "dropped"}.items()
            if split in by_split
        ],
        f"Split of kind {kind}",
    )
