"""GC content of DNA."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.baselines.figures import Figures
from selfattn_bio.data.composition import Letters, base_counts, gc_content


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
