"""Logistic regression on a few numbers per record, such as GC content or length."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from selfattn_bio.baselines.base import Baseline, Labels, Logits, State
from selfattn_bio.sequence.alphabet import Letters
from selfattn_bio.sequence.kmers import base_counts, gc_content
from selfattn_bio.stored import ArrayOf, Finite

C = 1e6  # practically no penalty, so there is nothing to choose


class FiguresState(State):
    """Weights and intercept."""

    weights: Annotated[NDArray[np.float64], ArrayOf("float64")]
    bias: Finite


class Figures(Baseline):
    """A baseline that describes each record by a few numbers."""

    state = FiguresState

    weights: NDArray[np.float64]
    bias: float

    @abstractmethod
    def figures(self, letters: Letters) -> NDArray[np.float64]:
        """Return the numbers of each record, (n, numbers)."""

    def chosen(self) -> dict[str, Any]:
        """Return an empty dict: no setting is chosen."""
        return {}

    def _fit(
        self, train: Letters, labels: Labels, valid: tuple[Letters, ...], valid_labels: Labels
    ) -> None:
        model = LogisticRegression(C=C, max_iter=1000).fit(self.figures(train), labels)
        self.weights, self.bias = model.coef_[0], float(model.intercept_[0])

    def _logits(self, letters: Letters) -> Logits:
        return self.figures(letters) @ self.weights + self.bias

    def _state(self) -> FiguresState:
        return FiguresState(weights=self.weights, bias=self.bias)

    def _restore(self, state: FiguresState) -> None:
        self.weights, self.bias = state.weights, state.bias
        number = self.figures([np.frombuffer(b"A", np.uint8)]).shape[1]
        if len(self.weights) != number:
            raise ValueError(f"weights has {len(self.weights)} values, not {number}")


class GcContent(Figures):
    """Logistic regression on GC content only."""

    name, title, short_title = "gc", "GC content", "GC content"
    alphabets = ("dna",)

    def figures(self, letters: Letters) -> NDArray[np.float64]:
        """Return the GC content of each record, (n, 1)."""
        return gc_content(letters)[:, None]

    def _effects(self, letters: Letters) -> list[NDArray[np.float64]]:
        strong = np.array([0, 1, 1, 0])
        effects = []
        for record, counts in zip(letters, base_counts(letters), strict=True):
            codes = self.setup.alphabet.codes(record)
            # Replacing an ambiguous base increases the number of counted bases
            ambiguous = codes >= 4
            gc = (
                counts[1:3].sum()
                + strong[None]
                - np.where(ambiguous, 0, strong[np.minimum(codes, 3)])[:, None]
            )
            total = (counts.sum() + ambiguous)[:, None]
            before = counts[1:3].sum() / max(1, counts.sum())
            effects.append((gc / total - before) * self.weights[0])
        return effects


class Length(Figures):
    """Logistic regression on the logarithm of the length and its square.

    Length separates some data sets of proteins without any biology. With the square, medium lengths
    can have the highest probability.
    """

    name, title, short_title = "length", "length alone", "length"
    alphabets = ("protein",)

    def figures(self, letters: Letters) -> NDArray[np.float64]:
        """Return log(length) and its square of each record, (n, 2)."""
        logs = np.log([[len(record)] for record in letters])
        return np.hstack([logs, logs**2])

    def _effects(self, letters: Letters) -> list[NDArray[np.float64]]:
        return [np.zeros((len(record), len(self.setup.alphabet.letters))) for record in letters]


class FirstLetter(Figures):
    """Logistic regression on the first residue only.

    Complete chains begin with M; fragments usually do not.
    """

    name, title, short_title = "first_letter", "first residue alone", "first residue"
    alphabets = ("protein",)

    def figures(self, letters: Letters) -> NDArray[np.float64]:
        """Return the first residue of each record as one-hot, (n, A); all 0 if it is ambiguous."""
        return np.eye(256)[[record[0] for record in letters]][
            :, list(self.setup.alphabet.letters.encode())
        ]

    def _effects(self, letters: Letters) -> list[NDArray[np.float64]]:
        effects = [np.zeros((len(record), len(self.weights))) for record in letters]
        for of_record, before in zip(effects, self.figures(letters) @ self.weights, strict=True):
            of_record[0] = self.weights - before
        return effects
