"""Measure classifiers within slices of similar records, for example with similar GC content.

A model that only reads GC content performs poorly within a slice of equal GC content. Slice edges
are quantiles of the training split, so they are fixed before the test split is read.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from selfattn_bio.evaluation.metrics import Bootstrap, intervals


def quantile_edges(values: ArrayLike, num_slices: int) -> NDArray[np.float64]:
    """Return edges that divide `values` of the training split into slices of equally many records.

    The outer edges are infinite, so that each test record belongs to a slice. If there are only two
    distinct values, each has its own slice.

    Returns
    -------
    Edges, shape (num_slices + 1,), or fewer if quantiles coincide.
    """
    distinct = np.unique(np.asarray(values, dtype=np.float64))
    inner = distinct[1:]
    if len(distinct) != 2:
        inner = np.unique(
            np.quantile(
                np.asarray(values, dtype=np.float64), np.linspace(0, 1, num_slices + 1)[1:-1]
            )
        )
    return np.r_[-np.inf, inner, np.inf]


def slice_metrics(
    values: ArrayLike,
    edges: NDArray[np.float64],
    labels: NDArray[np.int64],
    predictions: dict[str, tuple[NDArray[np.float64], float]],
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
        inside = which == i
        entry: dict[str, Any] = {
            "from": _finite(low),
            "to": _finite(high),
            "n": int(inside.sum()),
            "positives": int(labels[inside].sum()),
        }
        if 0 < entry["positives"] < entry["n"]:
            bootstrap = Bootstrap(labels[inside], draws)
            entry |= {
                name: intervals(bootstrap.metrics(p[inside], threshold), confidence)
                for name, (p, threshold) in predictions.items()
            }
        else:
            entry |= dict.fromkeys(predictions)
        slices.append(entry)
    return slices


def _finite(edge: float) -> float | None:
    """Return None for an infinite edge, which JSON cannot store."""
    return float(edge) if np.isfinite(edge) else None
