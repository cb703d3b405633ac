"""Logistic regression on a few numbers per record, such as GC content or length."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from selfattn_bio.baselines.base import Baseline, Labels, Logits, State
from selfattn_bio.data.composition import Letters

C = 1e6  # practically no penalty, so there is nothing to choose


class Figures(Baseline):
    """A baseline that describes each record by a few numbers."""

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

    def _state(self) -> State:
        return State({"weights": self.weights.tolist(), "bias": self.bias})

    def _restore(self, state: State) -> None:
        self.weights = np.array(state.settings["weights"], dtype=np.float64)
        self.bias = float(state.settings["bias"])
        number = self.figures([np.frombuffer(b"A", np.uint8)]).shape[1]
        if self.weights.shape != (number,):
            raise ValueError(f"there are {self.weights.size} weights instead of {number}")
