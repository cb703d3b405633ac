"""Baselines shared by objectives with one answer per sequence: a constant and a k-mer model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from selfattn_bio.objectives.base import Array, Objective, Predict, Sample, SectionT
from selfattn_bio.sequence.alphabet import Alphabet
from selfattn_bio.sequence.kmers import KmerCounts

STRENGTHS = (0.1, 1.0, 10.0, 100.0)  # of the penalty; one is chosen on the validation split
FittedLinear = Callable[[sparse.csr_matrix], Array]  # counts (n, k-mers) -> predictions (n, C)


class KmerBaselines(Objective[SectionT]):
    """Base class of objectives whose baselines are a constant and a linear model of k-mers.

    Attributes
    ----------
    penalty_metric
        The metric on the validation split that chooses the penalty; by default the main metric. A
        correlation cannot choose it, because it ignores shrinkage.
    """

    penalty_metric: ClassVar[str] = ""

    @abstractmethod
    def constant(self, targets: NDArray) -> Array:
        """Return the best prediction that ignores the sequence, (C,)."""

    @abstractmethod
    def fit_linear(
        self, counts: sparse.csr_matrix, targets: NDArray, strength: float
    ) -> FittedLinear:
        """Fit a linear model to k-mer counts with this strength of the penalty."""

    def fit_baselines(self, alphabet: Alphabet, train: Sample, valid: Sample) -> dict[str, Predict]:
        """Fit both; `penalty_metric` on the validation split chooses the penalty."""
        k = 6 if alphabet.name == "dna" else 2
        counts, constant = KmerCounts(alphabet, k), self.constant(train.targets)
        of_train, of_valid = counts(train.letters), counts(valid.letters)

        def worth(model: FittedLinear) -> float:
            metric = self.penalty_metric or self.main_metric
            value = self.measure(model(of_valid), valid.targets)[metric]
            return value if np.isfinite(value) else -np.inf

        models = (self.fit_linear(of_train, train.targets, strength) for strength in STRENGTHS)
        fitted = max(models, key=worth)
        return {
            "constant": lambda letters: np.tile(constant, (len(letters), 1)),
            f"kmer{k}_linear": lambda letters: fitted(counts(letters)),
        }
