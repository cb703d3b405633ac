"""First residue of proteins.

Complete chains begin with M; fragments usually do not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.baselines.figures import Figures
from selfattn_bio.data.composition import Letters


class FirstLetter(Figures):
    """Logistic regression on the first residue only."""

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
