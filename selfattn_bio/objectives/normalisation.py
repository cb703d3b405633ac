"""Put the columns of a table, such as signal tracks, on one scale."""

from __future__ import annotations

import numpy as np
import pandas as pd

from selfattn_bio.errors import CorpusError
from selfattn_bio.objectives.base import Array

SKEWED = 2  # skewness of the exponential distribution
LEVELS = 101  # quantiles of each column that are stored


def are_skewed(numbers: Array) -> bool:
    """Return whether numbers (n,) are above 0 and much more skewed than their logarithms."""
    if numbers.min() <= 0:
        return False
    skewness, of_logs = pd.DataFrame({"number": numbers, "log": np.log2(numbers)}).skew()
    return bool(skewness > max(SKEWED, 2 * abs(of_logs)))


def size_factors(values: Array, place: str) -> Array:
    """Return the size factor of each column (n, C), (C, 1).

    It is the median ratio of a column to the geometric mean of all columns, over records with
    positive numbers only (Anders and Huber 2010).
    """
    positive = values[(values > 0).all(axis=1)]
    if not len(positive):
        text = "no training record has a number above 0 in all columns, so there is no size factor"
        CorpusError.fail(text, place, "Use normalisation 'quantile', or wider windows")
    logs = np.log(positive)
    ratios: Array = np.median(logs - logs.mean(axis=1, keepdims=True), axis=0)
    return np.exp(ratios)[:, None]


def quantiles(values: Array, place: str) -> Array:
    """Return the quantiles of each column (n, C), (C, LEVELS)."""
    return np.nanquantile(values, np.linspace(0, 1, LEVELS), axis=0).T


def to_quantiles(values: Array, levels: Array) -> Array:
    """Give each column (n, C) with quantiles (C, LEVELS) their mean distribution.

    Equal quantiles get the mean of their values. Numbers outside the quantiles become the lowest or
    the highest value.
    """
    mean, found = levels.mean(axis=0), np.empty_like(values)
    for column, of_column in enumerate(levels):
        known, rows, counts = np.unique(of_column, return_inverse=True, return_counts=True)
        found[:, column] = np.interp(values[:, column], known, np.bincount(rows, mean) / counts)
    return found
