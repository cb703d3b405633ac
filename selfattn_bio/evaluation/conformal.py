"""Compute prediction sets and intervals with a chosen coverage (split conformal prediction).

Scores are calibrated on the validation split, separately for each class or numeric column. Training
fits them and `score_sequences` uses them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.objectives import Objective

Array = NDArray[np.float64]
KEPT = 999  # scores per class; enough to meet the coverage to 0.001


def fit_conformal(objective: Objective[Any], outputs: Array, targets: NDArray) -> dict[str, Array]:
    """Return the sorted nonconformity scores of the validation records, by class or column.

    The score of a record for its class is high if the model gives that class a low output. For
    numeric columns it is the absolute error. More than KEPT scores are reduced to KEPT quantiles,
    each rounded up to the next score. This can enlarge prediction sets but never shrinks them.

    Parameters
    ----------
    outputs
        Network outputs on the validation split, (n, C), as from `Scorer.outputs`.
    targets
        Targets as from `Objective.targets`.

    Returns
    -------
    Scores by class or column. Empty for objectives without prediction sets; classes without a
    record are left out.

    References
    ----------
    Vovk, Gammerman and Shafer 2005, Algorithmic learning in a random world; by class (Mondrian):
    Vovk 2012.
    """
    if not objective.has_coverage:
        return {}
    scores, counted = objective.nonconformity(outputs, targets), objective.counted(targets)
    found = {}
    for column, name in enumerate(objective.coverage_names):
        if counted[:, column].any():
            found[name] = np.sort(scores[counted[:, column], column])
            if len(found[name]) > KEPT:
                fractions = np.linspace(0, 1, KEPT)
                found[name] = np.quantile(found[name], fractions, method="higher")
    return found


def quantiles_of(fitted: Mapping[str, Array], names: Sequence[str], coverage: float) -> Array:
    """Return scores that a new record exceeds with a probability of at most 1 - `coverage`.

    Parameters
    ----------
    fitted
        Scores from `fit_conformal`.
    names
        Classes or numeric columns.
    coverage
        Between 0 and 1.

    Returns
    -------
    One score per name, (C,); infinite if the validation split has too few records of it.
    """
    return np.array([_quantile(fitted.get(name, np.empty(0)), coverage) for name in names])


def _quantile(scores: Array, coverage: float) -> float:
    """Return the smallest calibration score with at least this coverage; infinite if too few."""
    rank = math.ceil((len(scores) + 1) * coverage)
    return float(scores[rank - 1]) if rank <= len(scores) else math.inf
