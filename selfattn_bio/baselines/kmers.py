"""6-mers of DNA."""

from __future__ import annotations

from selfattn_bio.baselines.blocks import KmerSlots
from selfattn_bio.baselines.linear import CountedKmers


class Kmers(CountedKmers):
    """Logistic regression on counts of 6-mers."""

    name, title, short_title = "kmer6_logistic", "logistic regression on 6-mers", "6-mers"
    alphabets = ("dna",)

    def features(self) -> tuple[KmerSlots, ...]:
        """Return 6-mers of the complete record."""
        return (KmerSlots(self.setup.alphabet, 6),)
