"""Sets and intervals that hold the truth at a chosen rate, from how wrong a model was on valid: split conformal prediction.

Hides: nonconformity scores, class by class, and which of them are kept. Training fits them, `score_sequences` asks them.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from selfattn_bio import config
from selfattn_bio.evaluation.measures import predictions_of

Array = NDArray[np.float64]
KEPT = 999  # scores of a class: a rate is then met to a thousandth
CONFORMAL = ("binary", "multiclass", "regression")  # objectives that it knows


def fit_conformal(objective: config.Objective, outputs: Array, targets: NDArray) -> dict[str, Array]:
    """How unlike its truth each held-out record was, by class (or column of numbers), ascending.

    Of a class the score of a record is how little the model gave to it, of a number the distance to what was said. More than KEPT are
    thinned to as many order statistics, each the next larger: sets grow by that, and never shrink.

    Parameters
    ----------
    outputs, targets
        Of valid, (n, C) as `Scorer.outputs` gives them, and as `targets_of` does, of binary runs labels (n,).

    Returns
    -------
    Nothing for objectives that are not in CONFORMAL; a class without a record is left out.

    References
    ----------
    Vovk, Gammerman and Shafer 2005, Algorithmic learning in a random world; by class (Mondrian): Vovk 2012.
    """
    if objective.kind not in CONFORMAL:
        return {}
    scores, found = _nonconformity(objective, outputs, targets), {}
    for column, name in enumerate(names_of(objective)):
        of = np.isfinite(targets[:, column]) if isinstance(objective, config.RegressionObjective) else targets == column
        if of.any():
            found[name] = _thinned(np.sort(scores[of, column]))
    return found


def names_of(objective: config.Objective) -> tuple[str, ...]:
    """The labels 0 and 1, classes, or columns of numbers: what has scores of its own."""
    return ("0", "1") if isinstance(objective, config.BinaryObjective) else objective.output_names


def sets_of(objective: config.Objective, fitted: dict[str, Array], outputs: Array, coverage: float) -> NDArray[np.bool_]:
    """Which classes (n, C) belong to the set of each record: those whose truth was as unlike in more than 1 - `coverage` of valid.

    A class that valid had no record of belongs to each set.
    """
    scores = _nonconformity(objective, outputs, None)
    inside = np.ones(scores.shape, dtype=bool)
    for column, name in enumerate(names_of(objective)):
        if name in fitted:
            inside[:, column] = scores[:, column] <= _quantile(fitted[name], coverage)
    return inside


def half_widths(objective: config.RegressionObjective, fitted: dict[str, Array], coverage: float) -> Array:
    """Of each column (C,), how far a number may be from what is said; infinite where valid had too few."""
    return np.array([_quantile(fitted.get(name, np.empty(0)), coverage) for name in objective.output_names])


def _nonconformity(objective: config.Objective, outputs: Array, targets: NDArray | None) -> Array:
    """(n, C): of each class, how unlike it the record is; of numbers, if targets are given, how far off what was said is."""
    if isinstance(objective, config.BinaryObjective):
        return np.concatenate([outputs, -outputs], axis=1)
    said = predictions_of(objective, outputs)
    return np.abs(said - targets) if isinstance(objective, config.RegressionObjective) and targets is not None else 1 - said


def _thinned(scores: Array) -> Array:
    return scores if len(scores) <= KEPT else np.quantile(scores, np.linspace(0, 1, KEPT), method="higher")


def _quantile(scores: Array, coverage: float) -> float:
    """The score that a new record stays at or below with a chance of `coverage` at least."""
    rank = math.ceil((len(scores) + 1) * coverage)
    return float(scores[rank - 1]) if rank <= len(scores) else math.inf
