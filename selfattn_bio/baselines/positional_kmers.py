"""6-mers of DNA, and 3-mers in each tenth of the record."""

from __future__ import annotations

from selfattn_bio.baselines.blocks import KmerSlots
from selfattn_bio.baselines.linear import CountedKmers


class PositionalKmers(CountedKmers):
    """Logistic regression on counts of 6-mers, and of 3-mers in ten equal parts of the record."""

    name = "kmer6_positional_logistic"
    title, short_title = "logistic regression on 6-mers and positional 3-mers", "positional 6-mers"
    alphabets = ("dna",)

    def features(self) -> tuple[KmerSlots, ...]:
        """Return 6-mers of the complete record and 3-mers of its tenths."""
        return KmerSlots(self.setup.alphabet, 6), KmerSlots(self.setup.alphabet, 3, slots=10)
