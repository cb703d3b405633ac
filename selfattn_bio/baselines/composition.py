"""Amino acid composition of proteins."""

from __future__ import annotations

from selfattn_bio.baselines.blocks import KmerSlots
from selfattn_bio.baselines.linear import CountedKmers

# The fractions of 20 residues are small, so they need large weights
PROTEIN_PENALTIES = (*CountedKmers.penalties, 50.0, 200.0, 1000.0)


class Composition(CountedKmers):
    """Logistic regression on counts of residues."""

    name, title, short_title = "composition", "logistic regression on composition", "composition"
    alphabets = ("protein",)
    penalties = PROTEIN_PENALTIES

    def features(self) -> tuple[KmerSlots, ...]:
        """Return the residues."""
        return (KmerSlots(self.setup.alphabet, 1),)
