"""1-mers and 3-mers of DNA at exact positions, for aligned records such as promoters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from scipy import sparse

from selfattn_bio.baselines.base import Labels, Setup, sample_rows
from selfattn_bio.baselines.blocks import KmerSlots
from selfattn_bio.baselines.linear import LinearKmers, Scaling
from selfattn_bio.sequence.alphabet import Letters

LONGEST = 2_000  # maximum length of a record in bp
# Maximum number of training bp, sampled if there are more; each takes about 150 bytes of memory
LETTERS = 10_000_000
# Minimum length as a fraction of the longest record; shorter records cannot be aligned
SHORTEST = 0.9
COUNTS = (1.0, 3.0)  # divisors of 5-mer counts


class ExactPositions(LinearKmers):
    """Logistic regression on 1-mers and 3-mers at exact positions, and on counts of 5-mers.

    Only the given strand is read, because positions have a direction. If lengths differ a little,
    the validation split decides whether positions count from the start or from the end.
    """

    name = "exact_positions"
    title = "logistic regression on exact positions"
    short_title = "exact positions"
    alphabets = ("dna",)
    reads_strands = False
    penalties = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
    tolerance = 1e-3

    @classmethod
    def obstacle(cls, setup: Setup, train: Letters) -> str:
        """Return why records cannot be aligned: they are too long or differ in length."""
        lengths = [len(record) for record in train]
        if max(lengths) > LONGEST:
            return f"the longest record has {max(lengths):,} bp, more than {LONGEST:,}"
        if min(lengths) < SHORTEST * max(lengths):
            return (
                f"records have {min(lengths):,} to {max(lengths):,} bp, so their positions do "
                "not correspond"
            )
        return ""

    def _fit(
        self, train: Letters, labels: Labels, valid: tuple[Letters, ...], valid_labels: Labels
    ) -> None:
        rows = sample_rows(labels, max(2, LETTERS // max(len(record) for record in train)))
        self.records = len(rows)
        super()._fit([train[int(row)] for row in rows], labels[rows], valid, valid_labels)

    def candidates(
        self, train: Letters
    ) -> Iterator[tuple[tuple[KmerSlots, ...], list[sparse.csr_matrix], Scaling]]:
        """Yield alignments and scales of the 5-mers."""
        alphabet, lengths = self.setup.alphabet, {len(record) for record in train}
        longest, counted = max(lengths), KmerSlots(alphabet, 5)
        ends: tuple[Literal["start", "end"], ...] = (
            ("start",) if len(lengths) == 1 else ("start", "end")
        )
        fives = counted.counts(train)
        for align in ends:
            placed = [KmerSlots(alphabet, k, longest - k + 1, align) for k in (1, 3)]
            counts = [block.counts(train) for block in placed]
            for scale in COUNTS:
                yield (*placed, counted), [*counts, fives], Scaling(False, (1.0, 1.0, scale))

    def chosen(self) -> dict[str, Any]:
        """Return the penalty, number of records, alignment and scale of the 5-mer counts."""
        return {
            "C": self.penalty,
            "records": self.records,
            "positions from": self.blocks[0].align,
            "5-mers divided by": self.scaling.fixed[-1],
        }
