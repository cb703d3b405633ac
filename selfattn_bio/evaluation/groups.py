"""Is the classifier as good for one group of records as for another? Metrics by group, the worst group, and the gap to the best.

Hides: what a group is: a span of GC content or length, a chromosome, or a value of a column that came with the records. Training balances
by the same groups, `evaluate` judges by them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.data.corpus import Corpus
from selfattn_bio.errors import CorpusError
from selfattn_bio.evaluation.composition import gc_content
from selfattn_bio.evaluation.metrics import Bootstrap, Sampled, intervals
from selfattn_bio.evaluation.slices import quantile_edges

GAPS = ("auroc", "accuracy")  # of which the gap is told; the worst group is that of the lowest AUROC
MOST = 50  # groups: more of them are no groups, but another id
UNNAMED = "(none)"  # of records without a value

Names = NDArray[np.object_]


def check_columns(groups: Sequence[str], corpus: Corpus) -> None:
    """Raise CorpusError where the corpus lacks a column of [evaluation] groups: before the training, not after it."""
    if columns := [by for by in groups if by not in ("gc", "length", "chrom")]:
        corpus.targets(columns)


def groups_of(by: str, corpus: Corpus, rows: dict[str, NDArray[np.int64]], num_bins: int) -> dict[str, Names]:
    """The group of each record, by side.

    With `by` "length" and 2 bins, records of 10, 20, 30 and 40 letters in train are in "below 25" twice and "25 and more" twice.

    Parameters
    ----------
    by
        gc, length, chrom, or a column of the targets, with whose name what comes with the records is called.
    rows
        Of the corpus, by side; "train" says where spans of GC content and length begin.
    num_bins
        Of those; each holds an equal share of train, as `slices.quantile_edges` has it.

    Raises
    ------
    CorpusError
        If there is no such column, or it has more than 50 values.
    """
    match by:
        case "gc" | "length":
            values = {side: _values(by, corpus, of_side) for side, of_side in rows.items()}
            edges = quantile_edges(values["train"], num_bins)
            names = _spans(edges)
            return {side: names[np.searchsorted(edges, of_side, side="right") - 1] for side, of_side in values.items()}
        case "chrom":
            column = corpus.records["chrom"]
        case _:
            column = corpus.targets([by])[by]
    named = column.astype(object).where(column.notna() & (column != ""), UNNAMED).to_numpy()
    found = {side: named[of_side] for side, of_side in rows.items()}
    if (number := len(set().union(*map(set, found.values())))) > MOST:
        message = f"column {by!r} must hold at most {MOST} groups, got {number:,} different values"
        raise CorpusError(message, place=str(corpus.path), cure="Name a column with fewer, or join some of its values")
    return found


def _values(by: str, corpus: Corpus, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    if by == "length":
        return corpus.records["length"].to_numpy(dtype=np.float64)[rows]
    return gc_content(list(corpus.each(rows)))


def _spans(edges: NDArray[np.float64]) -> Names:
    """A name of each span between two edges."""
    names = []
    for low, high in pairwise(edges):
        first, last = (f"{edge:,.0f}" if edge >= 100 else f"{edge:.3g}" for edge in (low, high))
        if np.isfinite(low) and np.isfinite(high):
            names.append(f"{first} to {last}")
        else:
            names.append(f"below {last}" if np.isfinite(high) else f"{first} and more" if np.isfinite(low) else "all")
    return np.array(names, dtype=object)


def _in_order(name: str) -> tuple[bool, list[float | str]]:
    """To sort by: "below" first, and numbers by size, so that chr2 stands before chr10."""
    parts = re.split(r"(\d[\d,]*(?:\.\d+)?)", name)
    return not name.startswith("below "), [float(part.replace(",", "")) if i % 2 else part for i, part in enumerate(parts)]


def group_metrics(
    groups: Names,
    labels: NDArray[np.int64],
    predictions: dict[str, tuple[NDArray[np.float64], float]],
    draws: int,
    confidence: float,
) -> dict[str, Any]:
    """Metrics of each classifier within each group, the worst group of the first of them and its gap.

    Parameters
    ----------
    groups, labels
        Name of each record's group, and 0 or 1, both (n,).
    predictions
        By classifier: probabilities (n,) and the threshold; the first is the model.
    draws, confidence
        Of the bootstrap intervals.

    Returns
    -------
    `groups`: one entry a group in the order of names, numbers in them by size, with `group`, `n`, `positives` and by classifier
    `{metric: {value, low, high}}`, None where the group lacks a class. `worst`, `best`: the groups of the model's lowest and highest AUROC.
    `gap`: of AUROC and accuracy the highest less the lowest of any group, `{value, low, high}`; its interval takes those two groups as
    given. The three are None with less than two groups that have both classes.
    """
    entries, sampled = [], dict[str, dict[str, Sampled]]()
    model = next(iter(predictions))
    for group in sorted(set(groups), key=_in_order):
        inside = groups == group
        entry: dict[str, Any] = {"group": str(group), "n": int(inside.sum()), "positives": int(labels[inside].sum())}
        if 0 < entry["positives"] < entry["n"]:
            bootstrap = Bootstrap(labels[inside], draws, seed=len(sampled))  # of its own draws: groups share no records
            each = {name: bootstrap.metrics(p[inside], threshold) for name, (p, threshold) in predictions.items()}
            sampled[str(group)] = each[model]
            entry |= {name: intervals(of_classifier, confidence) for name, of_classifier in each.items()}
        else:
            entry |= dict.fromkeys(predictions)
        entries.append(entry)
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
    """The lowest AUROC of any group that has both labels; NaN where none has."""
    from sklearn.metrics import roc_auc_score

    inside = [groups == group for group in sorted(set(groups))]
    found = [float(roc_auc_score(labels[rows], scores[rows])) for rows in inside if 0 < labels[rows].sum() < rows.sum()]
    return min(found, default=float("nan"))
