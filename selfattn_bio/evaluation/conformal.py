"""Compute prediction sets and intervals with a chosen coverage (split conformal prediction).

Scores are calibrated on the validation split, separately for each class or numeric column. Training
fits them and `score_sequences` uses them.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from selfattn_bio import config
from selfattn_bio.evaluation.measures import predictions_of

Array = NDArray[np.float64]
KEPT = 999  # scores per class; enough to meet the coverage to 0.001
CONFORMAL = ("binary", "multiclass", "regression")  # supported objectives


def fit_conformal(
    objective: config.AnyObjective, outputs: Array, targets: NDArray
) -> dict[str, Array]:
    """Return the sorted nonconformity scores of the validation records, by class or column.

    The score of a record for its class is high if the model gives that class a low output. For
    numeric columns it is the absolute error. More than KEPT scores are reduced to KEPT quantiles,
    each rounded up to the next score. This can enlarge prediction sets but never shrinks them.

    Parameters
    ----------
    outputs
        Network outputs on the validation split, (n, C), as from `Scorer.outputs`.
    targets
        Targets as from `targets_of`, or labels (n,) for binary runs.

    Returns
    -------
    Scores by class or column. Empty for objectives that are not in CONFORMAL; classes without a
    record are left out.

    References
    ----------
    Vovk, Gammerman and Shafer 2005, Algorithmic learning in a random world; by class (Mondrian):
    Vovk 2012.
    """
    if objective.kind not in CONFORMAL:
        return {}
    scores, found = _nonconformity(objective, outputs, targets), {}
    for column, name in enumerate(names_of(objective)):
        of = (
            np.isfinite(targets[:, column])
            if isinstance(objective, config.RegressionObjective)
            else targets == column
        )
        if of.any():
            found[name] = _thinned(np.sort(scores[of, column]))
    return found


def names_of(objective: config.AnyObjective) -> tuple[str, ...]:
    """Return the labels, classes or numeric columns that have separate scores."""
    return ("0", "1") if isinstance(objective, config.BinaryObjective) else objective.output_names


def sets_of(
    objective: config.AnyObjective, fitted: dict[str, Array], outputs: Array, coverage: float
) -> NDArray[np.bool_]:
    """Return which classes belong to the prediction set of each record, (n, C).

    A class belongs to the set if its score does not exceed the calibrated quantile for `coverage`.
    Classes without a validation record belong to every set.
    """
    scores = _nonconformity(objective, outputs, None)
    inside = np.ones(scores.shape, dtype=bool)
    for column, name in enumerate(names_of(objective)):
        if name in fitted:
            inside[:, column] = scores[:, column] <= _quantile(fitted[name], coverage)
    return inside


def half_widths(
    objective: config.RegressionObjective, fitted: dict[str, Array], coverage: float
) -> Array:
    """Return the half-width of the prediction interval of each column, (C,).

    It is infinite if the validation split has too few records.
    """
    return np.array(
        [_quantile(fitted.get(name, np.empty(0)), coverage) for name in objective.output_names]
    )


def _nonconformity(
    objective: config.AnyObjective, outputs: Array, targets: NDArray | None
) -> Array:
    """Return the nonconformity score of each record for each class or numeric column, (n, C)."""
    if isinstance(objective, config.BinaryObjective):
        return np.concatenate([outputs, -outputs], axis=1)
    predicted = predictions_of(objective, outputs)
    return (
        np.abs(predicted - targets)
        if isinstance(objective, config.RegressionObjective) and targets is not None
        else 1 - predicted
    )


def _thinned(scores: Array) -> Array:
    """Reduce more than KEPT sorted scores to KEPT quantiles, each rounded up to a score."""
    return (
        scores
        if len(scores) <= KEPT
        else np.quantile(scores, np.linspace(0, 1, KEPT), method="higher")
    )


def _quantile(scores: Array, coverage: float) -> float:
    """Return a score that a new record exceeds with a probability of at most 1 - `coverage`."""
    rank = math.ceil((len(scores) + 1) * coverage)
    return float(scores[rank - 1]) if rank <= len(scores) else math.inf
