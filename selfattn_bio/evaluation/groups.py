"""Compute metrics within groups and slices of records, the worst group and the gap to the best.

A group is a range of GC content or length, a chromosome, or a value of a column of the input.
Balanced training uses the same groups. A slice contains similar records, for example with similar
GC content: a model that only reads GC content performs poorly within it. Edges are quantiles of the
training split, so they are fixed before the test split is read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from selfattn_bio.data.composition import gc_content
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.errors import CorpusError
from selfattn_bio.evaluation.metrics import Bootstrap, ResampledMetric, intervals

# Metrics whose gap is reported; the worst group is the one with the lowest AUROC
GAPS = ("auroc", "accuracy")
MOST = 50  # maximum number of groups; columns with more values are probably ids
UNNAMED = "(none)"  # group of records without a value

Names = NDArray[np.object_]
# classifier -> probabilities (n,) and threshold
Thresholded = dict[str, tuple[NDArray[np.float64], float]]


def check_columns(groups: Sequence[str], corpus: Corpus) -> None:
    """Check before training that the corpus has the columns of [evaluation] groups.

    Raises
    ------
    CorpusError
        If a column is missing.
    """
    if columns := [by for by in groups if by not in ("gc", "length", "chrom")]:
        corpus.targets(columns)


def groups_of(
    by: str, corpus: Corpus, rows: dict[str, NDArray[np.int64]], num_bins: int
) -> dict[str, Names]:
    """Return the group of each record, by split.

    With `by` "length" and 2 ranges, training records of 10, 20, 30 and 40 bp form the groups "below
    25" and "25 and more" of two records each.

    Parameters
    ----------
    by
        gc, length, chrom, or a column of the targets, whose values name the groups.
    rows
        Rows of the corpus by split. "train" defines the ranges of GC content and length.
    num_bins
        Number of ranges of GC content or length, each with the same number of training records (see
        `quantile_edges`).

    Raises
    ------
    CorpusError
        If the column does not exist or has more than 50 values.
    """
    match by:
        case "gc" | "length":
            values = {split: _values(by, corpus, of_split) for split, of_split in rows.items()}
            edges = quantile_edges(values["train"], num_bins)
            names = _spans(edges)
            return {
                split: names[np.searchsorted(edges, of_split, side="right") - 1]
                for split, of_split in values.items()
            }
        case "chrom":
            column = corpus.records["chrom"]
        case _:
            column = corpus.targets([by])[by]
    named = column.astype(object).where(column.notna() & (column != ""), UNNAMED).to_numpy()
    found = {split: named[of_split] for split, of_split in rows.items()}
    if (number := len(set().union(*map(set, found.values())))) > MOST:
        message = (
            f"column {by!r} has {number:,} different values, but there may be at most {MOST} groups"
        )
        raise CorpusError(
            message,
            place=str(corpus.path),
            hint="Choose a column with fewer values, or merge some of them",
        )
    return found


def _values(by: str, corpus: Corpus, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    if by == "length":
        return corpus.records["length"].to_numpy(dtype=np.float64)[rows]
    return gc_content(list(corpus.each(rows)))


def _spans(edges: NDArray[np.float64]) -> Names:
    """Return a name for each range between two edges."""
    names = []
    for low, high in pairwise(edges):
        first, last = (f"{edge:,.0f}" if edge >= 100 else f"{edge:.3g}" for edge in (low, high))
        if np.isfinite(low) and np.isfinite(high):
            names.append(f"{first} to {last}")
        else:
            names.append(
                f"below {last}"
                if np.isfinite(high)
                else f"{first} and more"
                if np.isfinite(low)
                else "all"
            )
    return np.array(names, dtype=object)


def _in_order(name: str) -> tuple[bool, list[float | str]]:
    """Return a sort key that puts "below" first and orders numbers by size (chr2 before chr10)."""
    parts = re.split(r"(\d[\d,]*(?:\.\d+)?)", name)
    return not name.startswith("below "), [
        float(part.replace(",", "")) if i % 2 else part for i, part in enumerate(parts)
    ]


def group_metrics(
    groups: Names,
    labels: NDArray[np.int64],
    predictions: Thresholded,
    draws: int,
    confidence: float,
) -> dict[str, Any]:
    """Compute metrics within each group, and the gap between the worst and the best group.

    Parameters
    ----------
    groups, labels
        Name of each record's group, and 0 or 1, both (n,).
    predictions
        Probabilities (n,) and the threshold of each classifier, by name; the first is the model.
    draws, confidence
        Number of bootstrap resamples and confidence level of the intervals.

    Returns
    -------
    `groups`: one dict per group with `group`, `n`, `positives` and, for each classifier, `{metric:
    {value, low, high}}`, or None if the group lacks a class. Groups are sorted by name, numbers
    within names by size.

    `worst`, `best`: the groups with the model's lowest and highest AUROC.

    `gap`: the difference between the highest and the lowest group, for AUROC and accuracy, as
    `{value, low, high}`. The interval ignores that the two groups were selected.

    The last three are None if fewer than two groups have both classes.
    """
    entries, sampled = [], dict[str, dict[str, ResampledMetric]]()
    model = next(iter(predictions))
    for group in sorted(set(groups), key=_in_order):
        inside = groups == group
        # a separate seed per group, because groups share no records
        each = _resampled(inside, labels, predictions, draws, seed=len(sampled))
        if each:
            sampled[str(group)] = each[model]
        entry = _entry(inside, labels, each, predictions, confidence)
        entries.append({"group": str(group), **entry})
    if len(sampled) < 2:
        return {"groups": entries, "worst": None, "best": None, "gap": None}
    gaps, ends = {}, {}
    for metric in GAPS:
        ranked = sorted(sampled, key=lambda group: sampled[group][metric].value)
        ends[metric] = ranked[0], ranked[-1]
        difference = sampled[ranked[-1]][metric].minus(sampled[ranked[0]][metric], confidence)
        gaps[metric] = {name: difference[name] for name in ("value", "low", "high")}
    return {"groups": entries, "worst": ends["auroc"][0], "best": ends["auroc"][1], "gap": gaps}


def worst_auroc(groups: Names, labels: NDArray[np.int64], scores: NDArray[np.float64]) -> float:
    """Return the lowest AUROC of the groups that have both labels; NaN if none has."""
    from sklearn.metrics import roc_auc_score

    inside = [groups == group for group in sorted(set(groups))]
    found = [
        float(roc_auc_score(labels[rows], scores[rows]))
        for rows in inside
        if 0 < labels[rows].sum() < rows.sum()
    ]
    return min(found, default=float("nan"))


def quantile_edges(values: ArrayLike, num_slices: int) -> NDArray[np.float64]:
    """Return edges that divide `values` of the training split into slices of equally many records.

    The outer edges are infinite, so that each test record belongs to a slice. If there are only two
    distinct values, each has its own slice.

    Returns
    -------
    Edges, shape (num_slices + 1,), or fewer if quantiles coincide.
    """
    values = np.asarray(values, dtype=np.float64)
    inner = np.unique(values)[1:]
    if len(inner) != 1:
        inner = np.unique(np.quantile(values, np.linspace(0, 1, num_slices + 1)[1:-1]))
    return np.r_[-np.inf, inner, np.inf]


def slice_metrics(
    values: ArrayLike,
    edges: NDArray[np.float64],
    labels: NDArray[np.int64],
    predictions: Thresholded,
    draws: int,
    confidence: float,
) -> list[dict[str, Any]]:
    """Compute the metrics of each classifier within each slice.

    Parameters
    ----------
    values
        The property of each record, shape (n,).
    edges
        Edges from `quantile_edges`; a slice includes its lower edge and excludes its upper edge.
    labels
        0 or 1, shape (n,).
    predictions
        Probabilities of shape (n,) and the threshold of each classifier, by name.
    draws, confidence
        Number of bootstrap resamples and confidence level of the intervals.

    Returns
    -------
    One dict per slice: `from`, `to` (None = open), `n`, `positives`, and for each classifier
    `{metric: {value, low, high}}`, or None if the slice lacks a class.
    """
    which = np.searchsorted(edges, np.asarray(values, dtype=np.float64), side="right") - 1
    slices = []
    for i, (low, high) in enumerate(pairwise(edges)):
        sampled = _resampled(which == i, labels, predictions, draws)
        entry = _entry(which == i, labels, sampled, predictions, confidence)
        slices.append({"from": _finite(low), "to": _finite(high), **entry})
    return slices


def _resampled(
    inside: NDArray[np.bool_],
    labels: NDArray[np.int64],
    predictions: Thresholded,
    draws: int,
    seed: int = 0,
) -> dict[str, dict[str, ResampledMetric]]:
    """Resample the metrics of each classifier on some records; empty if they lack a class."""
    if len(set(labels[inside])) < 2:
        return {}
    bootstrap = Bootstrap(labels[inside], draws, seed)
    return {
        name: bootstrap.metrics(p[inside], threshold)
        for name, (p, threshold) in predictions.items()
    }


def _entry(
    inside: NDArray[np.bool_],
    labels: NDArray[np.int64],
    sampled: dict[str, dict[str, ResampledMetric]],
    predictions: Thresholded,
    confidence: float,
) -> dict[str, Any]:
    return {
        "n": int(inside.sum()),
        "positives": int(labels[inside].sum()),
        **dict.fromkeys(predictions),
        **{name: intervals(metrics, confidence) for name, metrics in sampled.items()},
    }


def _finite(edge: float) -> float | None:
    """Return None for an infinite edge, which JSON cannot store."""
    return float(edge) if np.isfinite(edge) else None
