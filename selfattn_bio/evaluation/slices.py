"""Does the classifier hold within records that look alike? The same metrics within slices by a property, such as GC content.

A model that only reads GC content loses its lead inside a slice of even GC. Edges are quantiles of train, so that they are fixed
before test is read.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from selfattn_bio.evaluation.metrics import Bootstrap, intervals


def quantile_edges(values: ArrayLike, num_slices: int) -> NDArray[np.float64]:
    """Edges of slices that hold equal shares of `values` (train), shape (num_slices + 1,) or fewer where quantiles coincide.

    The outer edges are minus and plus infinity, so that every record of test falls into a slice. Of two values each has a slice.
    """
    distinct = np.unique(np.asarray(values, dtype=np.float64))
    inner = distinct[1:]
    if len(distinct) != 2:
        inner = np.unique(np.quantile(np.asarray(values, dtype=np.float64), np.linspace(0, 1, num_slices + 1)[1:-1]))
    return np.r_[-np.inf, inner, np.inf]


def slice_metrics(
    values: ArrayLike,
    edges: NDArray[np.float64],
    labels: NDArray[np.int64],
    predictions: dict[str, tuple[NDArray[np.float64], float]],
    draws: int,
    confidence: float,
) -> list[dict[str, Any]]:
    """Metrics of each classifier within each slice.

    Parameters
    ----------
    values
        The property of each record, shape (n,).
    edges
        From `quantile_edges`; a slice is from <= value < to.
    labels
        0 or 1, shape (n,).
    predictions
        By classifier: probabilities of shape (n,) and the threshold.
    draws, confidence
        Of the bootstrap intervals.

    Returns
    -------
    One entry a slice: `from`, `to` (None = open), `n`, `positives`, and by classifier `{metric: {value, low, high}}`;
    None for the classifiers of a slice that lacks a class.
    """
    which = np.searchsorted(edges, np.asarray(values, dtype=np.float64), side="right") - 1
    slices = []
    for i, (low, high) in enumerate(pairwise(edges)):
        inside = which == i
        entry: dict[str, Any] = {"from": _finite(low), "to": _finite(high), "n": int(inside.sum()), "positives": int(labels[inside].sum())}
        if 0 < entry["positives"] < entry["n"]:
            bootstrap = Bootstrap(labels[inside], draws)
            entry |= {name: intervals(bootstrap.metrics(p[inside], threshold), confidence) for name, (p, threshold) in predictions.items()}
        else:
            entry |= dict.fromkeys(predictions)
        slices.append(entry)
    return slices


def _finite(edge: float) -> float | None:
    return float(edge) if np.isfinite(edge) else None
