"""Baselines shared by objectives with one answer per sequence: a constant and a k-mer model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from selfattn_bio.data.composition import KmerCounts
from selfattn_bio.objectives.base import Array, Letters, Objective, Predict
from selfattn_bio.sequence.alphabet import Alphabet

STRENGTHS = (0.1, 1.0, 10.0, 100.0)  # of the penalty; one is chosen on the validation split
FittedLinear = Callable[[sparse.csr_matrix], Array]
# Counts and targets of the training records -> penalty strength -> fitted model
FitLinear = Callable[[sparse.csr_matrix, NDArray], Callable[[float], FittedLinear]]


def kmer_baselines(
    objective: Objective[Any],
    constant: Array,
    fit: FitLinear,
    alphabet: Alphabet,
    train: Letters,
    targets: NDArray,
    valid: Letters,
    valid_targets: NDArray,
) -> dict[str, Predict]:
    """Fit a constant prediction and a linear model of k-mers.

    Parameters
    ----------
    objective
        Chooses the penalty by its main metric on the validation split.
    constant
        The prediction of the first baseline, (C,).
    fit
        Fits the linear model.
    alphabet, train, targets, valid, valid_targets
        As in `Objective.fit_baselines`.
    """
    k = 6 if alphabet.name == "dna" else 2
    counts = KmerCounts(alphabet, k)
    linear, on_valid = fit(counts(train), targets), counts(valid)

    def worth(model: FittedLinear) -> float:
        value = objective.measure(model(on_valid), valid_targets)[objective.main_metric]
        return value if np.isfinite(value) else -np.inf

    fitted = max(map(linear, STRENGTHS), key=worth)
    return {
        "constant": lambda letters: np.tile(constant, (len(letters), 1)),
        f"kmer{k}_linear": lambda letters: fitted(counts(letters)),
    }
