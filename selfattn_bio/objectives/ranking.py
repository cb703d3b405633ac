"""Metrics of ranks for many resamples of records.

Scores are sorted once. A resample is a count for each record: how often it was sampled. Results
equal those of scikit-learn and SciPy for records that are repeated as often.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.arrays import compiled

Array = NDArray[np.float64]
Counts = NDArray[np.float32]
AREAS = ("auroc", "auprc")
NUMBERS = ("pearson", "spearman", "r2", "mse")
TINY = 1e-75  # range of numbers that counts as none, because the product of variances is 0


def curve_areas(scores: Array, labels: NDArray) -> Callable[[Counts], Array]:
    """Return a function from counts (rows, n) to AUROC and average precision (2, rows).

    `labels` are 0 or 1, (n,). Rows in which one of them is missing have NaN.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, positive = scores[order], labels[order] == 1
    # the last of each run of equal scores, which form one step of the curves
    ends = np.append(ranked[1:] < ranked[:-1], True)
    return lambda counts: compiled(_areas)(np.ascontiguousarray(counts), order, positive, ends)


def label_metrics(scores: Array, labels: NDArray) -> Callable[[Counts], dict[str, float]]:
    """Return a function from counts (n,) to auroc and auprc; NaN if there is only one label."""
    areas = curve_areas(scores, labels)
    return lambda counts: dict(zip(AREAS, areas(counts[None])[:, 0].tolist(), strict=True))


def number_metrics(predicted: Array, truth: Array) -> Callable[[Counts], dict[str, float]]:
    """Return a function from counts (n,) to pearson, spearman, r2 and mse of numbers (n,).

    Correlations with a constant, and R² of a constant, are NaN, and all without a record.
    """
    ranks, squared = (_midranks(predicted), _midranks(truth)), (predicted - truth) ** 2

    def measured(counts: Counts) -> dict[str, float]:
        values, sampled = np.full(len(NUMBERS), np.nan), counts > 0
        weights = counts / max(1.0, counts.sum(dtype=float))
        if sampled.any():
            values[3] = weights @ squared
        if sampled.any() and np.ptp(truth[sampled]) > TINY:
            values[2] = 1 - values[3] / (weights @ (truth - weights @ truth) ** 2)
            if np.ptp(predicted[sampled]) > TINY:
                values[0] = _correlation(predicted, truth, weights)
                values[1] = _correlation(ranks[0](counts), ranks[1](counts), weights)
        return dict(zip(NUMBERS, values.tolist(), strict=True))

    return measured


def _correlation(one: Array, other: Array, weights: Array) -> float:
    """Return Pearson's r of numbers (n,) with weights whose sum is 1."""
    one, other = one - weights @ one, other - weights @ other
    weighted = weights * one
    return float(weighted @ other / np.sqrt((weighted @ one) * (weights @ other**2)))


def _midranks(values: Array) -> Callable[[Counts], Array]:
    """Return a function from counts (n,) to the midrank of each value among those sampled."""
    _, run = np.unique(values, return_inverse=True)

    def ranks(counts: Counts) -> Array:
        sampled = np.bincount(run, counts)
        return (np.cumsum(sampled) - sampled / 2)[run]

    return ranks


def _areas(counts: Counts, order: NDArray, positive: NDArray, ends: NDArray) -> Array:
    """Return the areas of `curve_areas`, (2, rows); compiled by numba."""
    found = np.full((2, len(counts)), np.nan)
    for row in range(len(counts)):
        true = false = roc = precision = new_true = new_false = 0.0
        for i in range(len(order)):
            if positive[i]:
                new_true += counts[row, order[i]]
            else:
                new_false += counts[row, order[i]]
            if ends[i]:
                roc += new_false * (true + new_true / 2)
                true += new_true
                false += new_false
                if new_true:
                    precision += new_true * true / (true + false)
                new_true = new_false = 0.0
        if true and false:
            found[0, row] = roc / (true * false)
            found[1, row] = precision / true
    return found
