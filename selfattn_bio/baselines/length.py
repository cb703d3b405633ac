"""Length of proteins, which separates some data sets without any biology."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.baselines.figures import Figures
from selfattn_bio.data.composition import Letters


class Length(Figures):
    """Logistic regression on the logarithm of the length and its square.

    With the square, medium lengths can have the highest probability.
    """

    name, title, short_title = "length", "length alone", "length"
    alphabets = ("protein",)

    def figures(self, letters: Letters) -> NDArray[np.float64]:
        """Return log(length) and its square of each record, (n, 2)."""
        logs = np.log([[len(record)] for record in letters])
        return np.hstack([logs, logs**2])

    def _effects(self, letters: Letters) -> list[NDArray[np.float64]]:
        return [np.zeros((len(record), len(self.setup.alphabet.letters))) for record in letters]
