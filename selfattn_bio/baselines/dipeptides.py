"""2-mers of proteins."""

from __future__ import annotations

from selfattn_bio.baselines.blocks import KmerSlots
from selfattn_bio.baselines.composition import PROTEIN_PENALTIES
from selfattn_bio.baselines.linear import CountedKmers


class Dipeptides(CountedKmers):
    """Logistic regression on counts of 2-mers."""

    name, title, short_title = "kmer2_logistic", "logistic regression on 2-mers", "2-mers"
    alphabets = ("protein",)
    penalties = PROTEIN_PENALTIES

    def features(self) -> tuple[KmerSlots, ...]:
        """Return the 2-mers."""
        return (KmerSlots(self.setup.alphabet, 2),)
