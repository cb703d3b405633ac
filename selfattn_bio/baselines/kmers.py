"""Logistic regression on k-mer counts: 6-mers of DNA, residues and 2-mers of proteins."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from scipy import sparse

from selfattn_bio.baselines.blocks import KmerSlots
from selfattn_bio.baselines.linear import LinearKmers, Scaling
from selfattn_bio.sequence.alphabet import Letters
from selfattn_bio.sequence.kmers import root_of_squares


class CountedKmers(LinearKmers):
    """Logistic regression on k-mer counts with a choice of scaling.

    Counts are divided by the Euclidean length of the record's counts, so that record length has no
    effect, or by the mean of these lengths over the training split, so that it has.
    """

    counted: ClassVar[tuple[tuple[int, int], ...]]  # k, and number of equal parts of the record

    def candidates(
        self, train: Letters
    ) -> Iterator[tuple[tuple[KmerSlots, ...], list[sparse.csr_matrix], Scaling]]:
        """Yield both scalings of the counts."""
        blocks = tuple(KmerSlots(self.setup.alphabet, *each) for each in self.counted)
        counts = [block.counts(train) for block in blocks]
        fixed = tuple(float(root_of_squares(block).mean()) or 1.0 for block in counts)
        for by_record in (True, False):
            yield blocks, counts, Scaling(by_record, fixed)


class Kmers(CountedKmers):
    """Logistic regression on counts of 6-mers."""

    name, title, short_title = "kmer6_logistic", "logistic regression on 6-mers", "6-mers"
    alphabets = ("dna",)
    counted = ((6, 1),)


class PositionalKmers(CountedKmers):
    """Logistic regression on counts of 6-mers, and of 3-mers in ten equal parts of the record."""

    name = "kmer6_positional_logistic"
    title, short_title = "logistic regression on 6-mers and positional 3-mers", "positional 6-mers"
    alphabets = ("dna",)
    counted = ((6, 1), (3, 10))


class Composition(CountedKmers):
    """Logistic regression on counts of residues."""

    name, title, short_title = "composition", "logistic regression on composition", "composition"
    alphabets = ("protein",)
    # the fractions of 20 residues are small, so they need large weights
    penalties = (*CountedKmers.penalties, 50.0, 200.0, 1000.0)
    counted = ((1, 1),)


class Dipeptides(Composition):
    """Logistic regression on counts of 2-mers."""

    name, title, short_title = "kmer2_logistic", "logistic regression on 2-mers", "2-mers"
    counted = ((2, 1),)
