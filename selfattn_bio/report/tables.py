"""Build the tables of the report.

A cell belongs to the heading of its column, never to a position. The macro `table` of the templates
shows every table.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from markupsafe import Markup

from selfattn_bio.display import position_range
from selfattn_bio.evaluation.leakage import leak_rows
from selfattn_bio.evaluation.metrics import TITLES, estimates, title_of
from selfattn_bio.evidence.epistasis import EFFECTS, NAMES
from selfattn_bio.evidence.interactions import CLEAR, MATCHES, UNCLEAR
from selfattn_bio.model.checkpoint import StackWeights
from selfattn_bio.motifs.families import match_label
from selfattn_bio.objectives import Objective
from selfattn_bio.report import words
from selfattn_bio.sequence.alphabet import DNA, Alphabet
from selfattn_bio.sequence.split_table import NO_VALUE
from selfattn_bio.split_names import SPLIT_NAMES

DESCRIPTIONS = {  # of headings that are not plain words
    "AUROC": "area under the ROC curve; 0.5 is chance level",
    "AUPRC": "area under the precision-recall curve (average precision)",
    "MCC": "Matthews correlation coefficient; 0 is chance level",
    "F1": "harmonic mean of precision and recall",
    "macro F1": "mean of the F1 of each class",
    "Brier": "Brier score: mean squared error of the probabilities; lower is better",
    "ECE": "expected calibration error; lower is better",
    "R²": "fraction of the variance that the predictions explain",
    "MSE": "mean squared error; lower is better",
    "perplexity": "exponential of the mean loss per token; lower is better",
}

NOT_SHOWN = ("calibration_", words.HALVES)  # beginnings of names
MUTED = Markup('<span class="muted">{}</span>')
VERDICT = Markup('<span class="verdict {0}">{0}</span>')
Q = "q\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}"


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes
    ----------
    text, note
        The value, and the small print below it.
    """

    text: str
    note: str = ""


Cells = Mapping[str, Cell | str | None]  # by heading; a string is the text of a cell


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes
    ----------
    cells
        Cell by the heading of its column. None is shown as a dash, a missing heading as nothing.
    kind
        Class of its style, such as "model".
    """

    cells: Cells
    kind: str = ""


@dataclass(frozen=True)
class Table:
    """A table of the page. The first cell of a row is its heading.

    Attributes
    ----------
    rows
        The rows, from top to bottom.
    caption
        Text above the table.
    """

    rows: Sequence[Row]
    caption: str = ""

    @classmethod
    def of(cls, rows: Iterable[Cells], caption: str = "") -> Table:
        """Return a table of rows without a kind."""
        return cls([Row(cells) for cells in rows], caption)

    @property
    def headings(self) -> list[str]:
        """Return the headings of the columns with a cell, in the order of the rows."""
        named = {heading: None for row in self.rows for heading in row.cells}
        return [name for name in named if any(row.cells.get(name) for row in self.rows)]


def estimate(of: Mapping[str, Any], digits: int = 3, sign: bool = False) -> Cell:
    """Return the cell of a value of metrics.json, with its interval below if there is one."""
    text, _, note = words.estimate(of, digits, sign).rstrip(")").partition(" (")
    return Cell(text, note)


def shown_metrics(entry: Mapping[str, Any]) -> list[str]:
    """Return the names of a classifier's metrics in the order of the tables.

    Calibration has its own sentence, and the distance of pseudo-replicates its own row.
    """
    known = [name for name, _ in estimates(entry) if not name.startswith(NOT_SHOWN)]
    return sorted(known, key=lambda name: [*TITLES, name].index(name))


def _metrics(entry: Mapping[str, Any], sign: bool = False) -> dict[str, Cell]:
    """Return the cells of the metrics of a classifier, or of differences, by their titles."""
    return {title_of(metric): estimate(entry[metric], sign=sign) for metric in shown_metrics(entry)}


def performance_table(metrics: Mapping[str, Any], objective: Objective[Any]) -> Table:
    """Return the test metrics of the model, the baselines with the best first, and controls."""
    valid, test, main = metrics["valid"], metrics["test"], objective.main_metric
    of_valid = {"model": valid["model"], **valid["baselines"], **valid["controls"]}
    rows = []
    for role, name, entry in words.ranked(test, objective):
        cost = metrics["costs"].get(name)
        each = test.get("members", {}).get(name, {"each": []})["each"]
        cells: Cells = {
            "classifier": words.classifier_name(name),
            **dict.fromkeys(_metrics(test["model"])),  # dashes for unknown values
            **_metrics(entry),
            f"validation {title_of(main)}": estimate(of_valid[name][main]),
            f"{title_of(main)} of each member": " ".join(map(words.figure, each)) or None,
            "training time, s": cost and words.figure(cost["seconds"], 0),
            "peak memory, MB": cost and words.figure(cost["peak_memory_mb"], 0),
        }
        rows.append(Row(cells, role))
        if role == "model" and "calibrated" in entry:
            cells = {"classifier": "after calibration", **_metrics(entry["calibrated"])}
            rows.append(Row(cells, "after"))
    if halves := test["model"].get(words.HALVES):
        cells = {"classifier": "reference: two halves of the observed counts"}
        rows.append(Row({**cells, title_of("jsd"): estimate(halves)}, "control"))
    return Table(rows)


def stack_table(stack: StackWeights | None, outputs: Sequence[str]) -> Table:
    """Return the weights of each output if they differ; without rows otherwise."""
    weights = stack.weights if stack else {}
    if not any(len(set(each)) > 1 for each in weights.values()):
        return Table(())
    return Table.of(
        {"output": name} | {part: words.figure(each[i], 2) for part, each in weights.items()}
        for i, name in enumerate(outputs)
    )


def difference_table(metrics: Mapping[str, Any]) -> Table:
    """Return the model minus each baseline, and its network minus other networks."""
    found = metrics["differences"]
    rows = {words.classifier_name(name): of for name, of in found["baselines"].items()}
    rows |= {
        f"{words.classifier_name(name)}: network alone{', first training' * of['first']}": of[
            "test"
        ]
        for name, of in found["networks"].items()
        if of["of"] != "model" or of["first"]
    }
    return Table.of({"baseline": name, **_metrics(of, sign=True)} for name, of in rows.items())


def group_tables(metrics: Mapping[str, Any]) -> list[Table]:
    """Return one table per grouping of the test split, with the gap and the worst group."""
    tables = []
    for by, found in metrics.get("groups", {}).items():
        gap = "no gap, because fewer than two groups have both classes"
        if each := found["gap"]:
            gap = f"AUROC: {words.gap(each['auroc'])}; accuracy: {words.gap(each['accuracy'])}"
        named = {found["worst"]: f"{found['worst']} (lowest AUROC)"}
        rows: Iterator[Cells] = (
            {"group": named.get(entry["group"], entry["group"]), **_subset(entry, metrics)}
            for entry in found["groups"]
        )
        tables.append(Table.of(rows, f"By {words.GROUPS.get(by, by)}: {gap}"))
    return tables


def _subset(entry: Mapping[str, Any], metrics: Mapping[str, Any]) -> Cells:
    """Return the cells of a group of the test split."""
    best = metrics["differences"]["best_baseline"]

    def value(classifier: str, metric: str) -> Cell | str:
        found = entry.get(classifier)
        return estimate(found[metric]) if found else "one class only"

    return {
        "records": f"{entry['n']:,}",
        "positives": f"{entry['positives']:,}",
        "intervals over": f"{entry['units']:,} {entry['unit']}" if entry["model"] else None,
        "AUROC, model": value("model", "auroc"),
        "accuracy, model": value("model", "accuracy"),
        "AUROC, best baseline": value(best, "auroc") if best else None,
    }


def leakage_tables(audit: Mapping[str, Any], alphabet: Alphabet = DNA) -> dict[str, Table]:
    """Return the tables of leaks, nearest neighbours and shifts."""
    others = audit["records"]["test"] - sum(of["count"] for of in audit["nearest"])
    shared = [(f"below {audit['nearest'][0]['from']}", others)]
    for of in audit["nearest"]:
        upper = f" to {of['to']}" if of["to"] > of["from"] else ""
        shared.append((f"{of['from']}{upper}", of["count"]))
    leaks = (
        {
            "match among these records": what,
            "test records": None if count is None else f"{count:,}",
            "limit": "none" if limit is None else f"{limit:,}",
        }
        for what, count, limit in leak_rows(audit, alphabet)
    )
    nearest = (
        {"fraction of k-mers shared": fraction, "test records": f"{count:,}"}
        for fraction, count in shared
    )
    shifts: Iterator[Cells] = (
        {
            "property, split": f"{'fraction of ' * (of['what'] == 'positives')}{of['what']}, "
            f"{SPLIT_NAMES[of['split']]}",
            "mean in training": words.figure(of["train"]),
            "mean in the split": words.figure(of["other"]),
            "effect": Cell(words.figure(of["effect"], 3, True), of["effect_is"]),
            "p": Cell(words.p_value(of["p"]), of["test"]),
        }
        for of in audit["shifts"]
    )
    return {
        "leaks": Table.of(leaks),
        "nearest": Table.of(nearest, "Similarity of test records to their nearest neighbour"),
        "shifts": Table.of(shifts, "Shifts between the training set and the other splits"),
    }


def split_table(records: pd.DataFrame, kind: str) -> Table:
    """Count the records of each split that has records, by label if there are labels.

    Parameters
    ----------
    records
        Table with label, split and reason.
    kind
        Kind of the split, for the caption.
    """
    splits = records["split"].mask(records["reason"] == NO_VALUE, NO_VALUE)
    if records["label"].notna().any():
        names = ["positives", "negatives", "unlabelled"]
        kinds = records["label"].map({1: names[0], 0: names[1]}).astype(object).fillna(names[2])
    else:
        names = ["records"]
        kinds = pd.Series(names[0], index=records.index)
    counts = pd.crosstab(splits, kinds).reindex(columns=names, fill_value=0)
    by_split: dict[Any, dict[Any, int]] = counts.to_dict("index")
    dropped = {"dropped": "dropped", NO_VALUE: f"dropped: {NO_VALUE}"}
    rows = (
        {"split": name, **{of: f"{count:,}" for of, count in by_split[split].items()}}
        for split, name in (SPLIT_NAMES | dropped).items()
        if split in by_split
    )
    return Table.of(rows, f"Split of kind {kind}")


def records_with(row: Mapping[Any, Any], what: str = "hit") -> str:
    """Count the records with a hit of a motif, or those that match its "consensus" exactly.

    For example "30 of 40 positives, 2 of 50 negatives" or, for numbers, "32 of 90 records".
    """
    kinds = ("positives", "negatives") if pd.isna(row["records"]) else ("records",)
    return ", ".join(
        f"{row[f'{kind}_with_{what}']:.0f} of {row[kind]:.0f} {kind}" for kind in kinds
    )


def described(motif: Mapping[Any, Any]) -> str:
    """Name the test records whose sites are described: `positives`, or for numbers `records`."""
    return "positives" if pd.isna(motif["records"]) else "records"


def counted_matches(motif: Mapping[Any, Any]) -> str:
    """State which matches count as sites and, for proteins, count those of the consensus."""
    kind = described(motif)
    counts = (
        f"A match of the matrix counts if its p-value is below {words.p_value(motif['hit_p'])}, so "
        "it may differ from the consensus."
    )
    if pd.isna(motif.get(f"{kind}_with_consensus")):
        return counts
    return f"{counts} The consensus matches {records_with(motif, 'consensus')}."


def enrichment(motif: Mapping[Any, Any]) -> Cell:
    """Return the enrichment of a motif, a row of motifs.tsv, and its test."""
    counts = f"{records_with(motif)}; {Q}{words.p_value(motif['enrichment_q'])}"
    if pd.isna(motif["records"]):
        return Cell(words.odds(motif), counts)
    difference = words.figure(motif["difference"], 2, True)
    return Cell(f"mean differs by {difference} {motif['unit']}", counts)


def window_name(row: Mapping[Any, Any]) -> str:
    """Name the tested window for readers, as `position_range`; `one position` without a window.

    A window is at the end if no site can have its middle closer to the end.
    """
    start, end = row["window_start"], row["window_end"]
    if pd.isna(start):
        return "one position"
    if start < 0:
        width = len(re.sub(r"\[\w+\]", "X", row["consensus"]))
        return position_range(start, end - 1, (width - 1) // 2)
    return position_range(start + 1, end)


def effect(motif: Mapping[Any, Any]) -> Cell:
    """Return the effect of a motif, a row of motifs.tsv, and its test."""
    if pd.isna(motif["effect"]):
        return Cell(MUTED.format("not measured"), words.unmeasured_reason(motif))
    shown = estimate(words.of_row(motif, "effect"), 2, True)
    q = f"{Q}{words.p_value(motif['effect_q'])}"
    return Cell(shown.text, f"{shown.note} {motif['unit']}; {q}")


def pair_tables(pairs: pd.DataFrame, motifs: pd.DataFrame | None) -> list[Table]:
    """Return the pairs of motifs: first those with a clear verdict, then the others, by q.

    Motifs are named with their database match if it is significant.

    Parameters
    ----------
    pairs, motifs
        interactions.tsv and motifs.tsv.
    """
    return [
        Table.of(
            {
                "pair": _pair(pair, motifs),
                "records tested": f"{pair['tested']} of {pair['records']}",
                "single effects": " and ".join(words.figure(pair[e], 2, True) for e in EFFECTS),
                "epistasis": estimate(words.of_row(pair, "epistasis"), 2, True),
                "q": words.p_value(pair["q"]),
                **_spacing(pair),
                "verdict": Cell(VERDICT.format(pair["verdict"]), pair["lacks"]),
            }
            for pair in pairs.sort_values("q", kind="stable").to_dict("records")
            if pair["verdict"] in verdicts
        )
        for verdicts in (CLEAR, [UNCLEAR])
    ]


def measured_table(measured: pd.DataFrame | None, motifs: pd.DataFrame | None) -> Table:
    """Return the means of interactions.measured.tsv; without rows if it was not written."""
    return Table.of(
        {
            "pair": _pair(row, motifs),
            "verdict": Cell(VERDICT.format(row["verdict"]), f"both used in {row['used']:,}"),
            **{
                name.replace("_", " "): f"{words.figure(row[name], 2)} ({row[f'{name}_records']})"
                for name in MATCHES
            },
        }
        for row in ([] if measured is None else measured.to_dict("records"))
    )


def _pair(pair: Mapping[Any, Any], motifs: pd.DataFrame | None) -> str:
    """Name both motifs of a pair, each with its database match if it is significant."""
    rows = [] if motifs is None else motifs.to_dict("records")
    labels = {row["name"]: f" ({match_label(row)})" for row in rows if match_label(row)}
    return " and ".join(pair[key] + labels.get(pair[key], "") for key in NAMES)


def _spacing(pair: Mapping[Any, Any]) -> Cells:
    """Return the cells about distance and strands of a pair."""

    def test(name: str) -> str:
        fold = words.figure(pair[f"{name}_fold"], 1)
        return f"{fold}-fold, q = {words.p_value(pair[f'{name}_q'])}"

    return {
        "most enriched spacing": Cell(
            f"{pair['spacing_start']} to {pair['spacing_end'] - 1} positions", test("spacing")
        ),
        "most enriched orientation": Cell(
            pair["orientation"], test("orientation") if pair["orientation"] else ""
        ),
        "closest pair": words.figure(pair["closest"], 2),
    }


def stability_table(motifs: pd.DataFrame) -> Table:
    """Return how many trainings found and supported each motif.

    Parameters
    ----------
    motifs
        Table of `motif_stability`.
    """
    return Table.of(
        {
            "motif": Cell(row["name"], f"of training {row['run']}" * (row["run"] > 1)),
            "consensus": Markup("<code>{}</code>").format(row["consensus"]),
            "best match": row["match"],
            "found in": f"{row['found_in']} of {row['runs']}",
            "supported in": f"{row['supported_in']} of {row['tested']}" if row["tested"] else None,
        }
        for row in motifs.to_dict("records")
    )
