"""First residue of proteins: complete chains begin with M, parts cut out of chains do not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.baselines.figures import Figures
from selfattn_bio.evaluation.composition import Letters


class FirstLetter(Figures):
    """Logistic regression on the first residue alone."""

    name, title, short_title = "first_letter", "first residue alone", "first residue"
    alphabets = ("protein",)

    def figures(self, letters: Letters) -> NDArray[np.float64]:
        """Return which residue each record begins with, (n, A); an ambiguous one is none of them."""
        return np.eye(256)[[record[0] for record in letters]][:, list(self.setup.alphabet.letters.encode())]

    def _effects(self, letters: Letters) -> list[NDArray[np.float64]]:
        effects = [np.zeros((len(record), len(self.weights))) for record in letters]
        for of_record, before in zip(effects, self.figures(letters) @ self.weights, strict=True):
            of_record[0] = self.weights - before
        return effects
