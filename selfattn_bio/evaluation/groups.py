"""Compute metrics within groups of records, the worst group and the gap to the best.

A group is a range of GC content or length, a chromosome, or a value of a column of the input.
Balanced training uses the same groups. A model that only reads GC content performs poorly within
records of similar GC content. Edges are quantiles of the training split, so they are fixed before
the test split is read.

The groups with the highest and lowest value differ by chance even if the model works equally well
in all groups, and the more so the smaller and the more numerous the groups are. A permutation test
says whether the groups differ, and shrinkage (empirical Bayes) removes the part of the differences
that is expected by chance.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from selfattn_bio.arrays import Bools, Floats, Integers
from selfattn_bio.config import EvaluationSection
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.errors import CorpusError
from selfattn_bio.evaluation.metrics import Bootstrap, intervals
from selfattn_bio.evaluation.units import Units
from selfattn_bio.objectives.ranking import curve_areas
from selfattn_bio.sequence.kmers import gc_content

# Metrics whose gap is reported; the worst group is the one with the lowest AUROC
GAPS = ("auroc", "accuracy")
MOST = 50  # maximum number of groups; columns with more values are probably ids
UNNAMED = "(none)"  # group of records without a value

Names = NDArray[np.object_]
# classifier -> probabilities (n,) and threshold
Thresholded = dict[str, tuple[Floats, float]]


def check_columns(groups: Sequence[str], corpus: Corpus) -> None:
    """Check before training that the corpus has the columns of [evaluation] groups.

    Raises
    ------
    CorpusError
        If a column is missing.
    """
    for by in groups:
        if by not in ("gc", "length", "chrom"):
            corpus.column(by)


def groups_of(
    by: str, corpus: Corpus, rows: dict[str, Integers], num_bins: int
) -> dict[str, Names]:
    """Return the group of each record, by split.

    With `by` "length" and 2 ranges, training records of 10, 20, 30 and 40 bp form the groups "below
    25" and "25 and more" of two records each.

    Parameters
    ----------
    by
        gc, length, chrom, or a column of the records or targets, whose values name the groups.
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
            column = corpus.column(by)
    named = column.astype(object).where(column.notna() & (column != ""), UNNAMED).to_numpy()
    found = {split: named[of_split] for split, of_split in rows.items()}
    if (number := len(set().union(*map(set, found.values())))) > MOST:
        message = (
            f"column {by!r} has {number:,} different values, but there may be at most {MOST} groups"
        )
        hint = "Choose a column with fewer values, or merge some of them"
        raise CorpusError(message, place=str(corpus.path), hint=hint)
    return found


def _values(by: str, corpus: Corpus, rows: Integers) -> Floats:
    if by == "length":
        return corpus.records["length"].to_numpy(dtype=np.float64)[rows]
    return gc_content(list(corpus.each(rows)))


def _spans(edges: Floats) -> Names:
    """Return a name for each range between two edges; the outer edges are infinite."""
    shown = [f"{edge:,.0f}" if edge >= 100 else f"{edge:.3g}" for edge in edges[1:-1]]
    inner = [f"{first} to {last}" for first, last in pairwise(shown)]
    names = [f"below {shown[0]}", *inner, f"{shown[-1]} and more"] if shown else ["all"]
    return np.array(names, dtype=object)


def _in_order(name: str) -> tuple[bool, list[float | str]]:
    """Return a sort key that puts "below" first and orders numbers by size (chr2 before chr10)."""
    parts = re.split(r"(\d[\d,]*(?:\.\d+)?)", name)
    return not name.startswith("below "), [
        float(part.replace(",", "")) if i % 2 else part for i, part in enumerate(parts)
    ]


def group_metrics(
    groups: Names,
    labels: Integers,
    predictions: Thresholded,
    units: Units,
    settings: EvaluationSection,
) -> dict[str, Any]:
    """Compute metrics within each group, and the gap between the worst and the best group.

    Parameters
    ----------
    groups, labels
        Name of each record's group, and 0 or 1, both (n,).
    predictions
        Probabilities (n,) and the threshold of each classifier, by name; the first is the model.
    units
        Records that are resampled together.
    settings
        Section [evaluation] of the run file.

    Returns
    -------
    `groups`: one dict per group with `group`, `n`, `positives`, the resampled `unit` and the number
    of `units`, and, for each classifier, `{metric: {value, low, high}}`, or None (without units) if
    the group lacks a class. Groups are sorted by name, numbers within names by size.

    `worst`, `best`: the groups with the model's lowest and highest AUROC.

    `gap`: the difference between the highest and the lowest group, for AUROC and accuracy, as
    `{value, shrunk, p}` (`group_gaps`).

    The last three are None if fewer than two groups have both classes.
    """
    entries, auroc = [], dict[str, float]()
    model = next(iter(predictions))
    for group in sorted(set(groups), key=_in_order):
        inside = groups == group
        own = labels[inside]
        counts = {"group": str(group), "n": len(own), "positives": int(own.sum())}
        entry: dict[str, Any] = counts | dict.fromkeys(predictions)
        if 0 < own.sum() < len(own):
            of_group = units.within(inside)
            bootstrap = Bootstrap(own, settings.bootstraps, settings.seed, units=of_group.numbers)
            entry |= of_group.entry() | {
                name: intervals(bootstrap.metrics(p[inside], threshold), settings.confidence)
                for name, (p, threshold) in predictions.items()
            }
            auroc[str(group)] = entry[model]["auroc"]["value"]
        entries.append(entry)
    if len(auroc) < 2:
        return {"groups": entries, "worst": None, "best": None, "gap": None}
    tested = np.isin(groups.astype(str), list(auroc))
    p, threshold = predictions[model]
    gaps = group_gaps(
        groups[tested], labels[tested], p[tested], threshold, units.within(tested), settings
    )
    ranked = sorted(auroc, key=lambda group: auroc[group])
    return {"groups": entries, "worst": ranked[0], "best": ranked[-1], "gap": gaps}


def group_gaps(
    groups: Names,
    labels: Integers,
    probabilities: Floats,
    threshold: float,
    units: Units,
    settings: EvaluationSection,
) -> dict[str, dict[str, float]]:
    """Test whether groups differ in AUROC and in accuracy, and shrink their values.

    Permutations exchange the groups of records with the same label, so that each group keeps its
    size and its fraction of positives. They give the variance of each group's value by chance. The
    statistic of the test is the sum over groups of squared differences to the mean, divided by
    their variances (Cochran's Q). Variances are those of single records times the design effect of
    the units (`Units.design_effect`).

    Parameters
    ----------
    groups, labels, probabilities
        Group, label and probability of each record, (n,). Each group has both labels.
    threshold
        Records with this probability or more are called positive.
    units
        Records that are not independent.
    settings
        Section [evaluation]: number of permutations (`bootstraps`) and seed.

    Returns
    -------
    `{metric: {value, shrunk, p}}`: the highest minus the lowest group, the same after shrinkage,
    and p of the test. Without a true gap, p < 0.05 in about 5 % of cases.

    References
    ----------
    DerSimonian and Laird 1986 (variance between groups); Efron and Morris 1975 (shrinkage).
    """
    rng, order = np.random.default_rng(settings.seed), np.argsort(probabilities, kind="stable")
    p, y = probabilities[order], labels[order] == 1
    names, group = np.unique(groups.astype(str)[order], return_inverse=True)
    tied = (np.diff(p, prepend=p[0]) > 0).cumsum()  # equal for records with equal probability
    areas, each = curve_areas(p, y), np.eye(len(names), dtype=np.float32)
    right, drawn = (p >= threshold) == y, []
    effects = _design_effects(group, y, tied, right, Units(units.name, units.numbers[order]))
    for _ in range(settings.bootstraps + 1):  # the first are the groups themselves
        drawn.append([areas(each[:, group])[0], _means(group, right)])
        for members in (np.flatnonzero(y), np.flatnonzero(~y)):
            group[members] = rng.permutation(group[members])
    found = {}
    by_metric = np.array(drawn).transpose(1, 0, 2)
    for metric, values, effect in zip(GAPS, by_metric, effects, strict=True):
        variance = np.maximum(values[1:].var(axis=0), 1e-12)
        weight = 1 / variance
        mean = (values @ weight / weight.sum())[:, None]
        q = ((values - mean) ** 2 @ weight).round(9)
        variance, weight, q[0] = variance * effect, weight / effect, q[0] / effect
        excess = q[0] - (len(weight) - 1)
        between = max(0.0, excess / (weight.sum() - (weight**2).sum() / weight.sum()))
        shrunk = between / (between + variance) * (values[0] - mean[0])
        found[metric] = {
            "value": float(np.ptp(values[0])),
            "shrunk": float(np.ptp(shrunk)),
            "p": float((q >= q[0]).mean()),  # the groups themselves count as a permutation
        }
    return found


def _design_effects(
    group: Integers, positive: Bools, tied: Integers, right: Bools, units: Units
) -> list[float]:
    """Return the design effects of the AUROC and the accuracy of groups.

    A record contributes to the AUROC by its number of records of the other label with a lower
    probability, to the accuracy if it is called correctly. Differences between groups, and between
    labels within a group, do not count as similarity of the records of a unit.
    """
    own = pd.Series(tied).groupby(positive).rank().to_numpy()
    lower = np.where(positive, 1, -1) * (rankdata(tied) - own)
    cell, is_in = 2 * group + positive, np.eye(group.max() + 1)[group]
    return [
        units.design_effect(of - _means(cell, of)[cell], is_in)
        for of in (lower, right.astype(float))
    ]


def _means(group: Integers, values: NDArray[Any]) -> Floats:
    """Return the mean value of each group."""
    return np.bincount(group, values) / np.bincount(group)


def worst_auroc(groups: Names, labels: Integers, scores: Floats) -> float:
    """Return the lowest AUROC of the groups that have both labels; NaN if none has."""
    each = np.stack([groups == group for group in set(groups)]).astype(np.float32)
    found = curve_areas(scores, labels)(each)[0]
    return float(np.nanmin(found)) if np.isfinite(found).any() else float("nan")


def quantile_edges(values: ArrayLike, num_bins: int) -> Floats:
    """Return edges that divide `values` of the training split into ranges of equally many records.

    The outer edges are infinite, so that each test record is in a range. If there are only two
    distinct values, each has its own range.

    Returns
    -------
    Edges, shape (num_bins + 1,), or fewer if quantiles coincide.
    """
    values = np.asarray(values, dtype=np.float64)
    inner = np.unique(values)[1:]
    if len(inner) != 1:
        inner = np.unique(np.quantile(values, np.linspace(0, 1, num_bins + 1)[1:-1]))
    return np.r_[-np.inf, inner, np.inf]
