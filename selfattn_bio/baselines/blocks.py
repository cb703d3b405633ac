"""Count k-mers as features: in the complete record, in equal parts of it, or at exact positions.

`KmerSlots` counts a block of features, and `KmerFeatures` scales and joins blocks. The feature sets
`KmerCounts`, `ExactPositions` and `Variants` choose the blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
import scipy
from numpy.typing import NDArray
from pydantic import Field

from selfattn_bio.arrays import Floats, Integers, compiled
from selfattn_bio.baselines.base import Array, Setup, State
from selfattn_bio.baselines.features import Candidates, Features, FeatureSet
from selfattn_bio.sequence.alphabet import Alphabet, Letters
from selfattn_bio.sequence.kmers import KmerTokenizer, kmer_windows, root_of_squares
from selfattn_bio.stored import Positive, Stored

Align = Literal["parts", "start", "end"]

TINY = 1e-12
LONGEST = 2_000  # maximum length of aligned records in letters
# Maximum number of letters of aligned training records, sampled if there are more; each takes about
# 150 bytes of memory
LETTERS = 10_000_000
# Minimum length as a fraction of the longest record; shorter records cannot be aligned
SHORTEST = 0.9
MOST_KINDS = 400  # maximum number of different k-mers at each position, so 2-mers of proteins
COUNTS = (1.0, 3.0)  # divisors of the counts of k-mers next to exact positions
VARIED = 0.2  # maximum fraction of letters in which variants of one sequence differ from it


@dataclass(frozen=True)
class KmerSlots:
    """The k-mers of one length, counted separately in each slot of the record.

    With k 1, two parts and the alphabet ACGT, AACN has two A in the first part and one C in the
    second.

    Parameters
    ----------
    k
        Length of a k-mer.
    slots
        Number of parts of equal size, or of positions, that are counted separately.
    align
        "parts" divides records of any length into slots. "start" and "end" give each exact position
        a slot, counted from the start or up to the end of the record. k-mers outside the slots are
        left out.
    divisor
        Number by which `KmerFeatures` may divide the counts.
    """

    alphabet: Alphabet
    k: int
    slots: int = 1
    align: Align = "parts"
    divisor: float = 1.0

    @property
    def size(self) -> int:
        """Return the number of features."""
        return self.slots * self.num_kmers

    @property
    def num_kmers(self) -> int:
        """Return the number of different k-mers."""
        return len(self.alphabet.letters) ** self.k

    def slot_of(self, at: Integers, windows: Integers) -> Integers:
        """Return the slot of windows `at` in records with `windows` windows; -1 for none."""
        match self.align:
            case "parts":
                return np.minimum(at * self.slots // np.maximum(windows, 1), self.slots - 1)
            case "start":
                return np.where(at < self.slots, at, -1)
            case "end":
                slot = at - windows + self.slots
                return np.where((slot >= 0) & (slot < self.slots), slot, -1)

    def counts(self, letters: Letters) -> scipy.sparse.csr_matrix:
        """Count the features of each record, (n, size), float32.

        k-mers with an ambiguous letter are left out.
        """
        chunks = []
        for features in self.features(letters):
            rows, at = np.nonzero(features >= 0)
            entries = np.ones(len(rows), np.float32), (rows, features[rows, at])
            # The sparse matrix sums repeated entries
            chunks.append(scipy.sparse.csr_matrix(entries, shape=(len(features), self.size)))
        return scipy.sparse.csr_matrix(scipy.sparse.vstack(chunks))

    def features(self, letters: Letters) -> Iterator[Integers]:
        """Yield the feature of each window of records, -1 for none, (n, N), in chunks."""
        for kmers, windows in kmer_windows(letters, KmerTokenizer(self.alphabet, k=self.k)):
            slots = self.slot_of(np.arange(kmers.shape[1])[None], windows)
            yield np.where((kmers < 0) | (slots < 0), -1, slots * self.num_kmers + kmers)

    def totals(self, letters: Letters, values: Floats) -> Floats:
        """Return the sum of `values` (size,) over the features of each record, and their squares.

        Returns
        -------
        `counts @ values` and the sum of squares of the counts, (2, n).
        """
        chunks = []
        for features in self.features(letters):
            chunks.append(np.zeros((2, len(features))))
            compiled(_totals)(features, values, *chunks[-1])
        return np.concatenate(chunks, axis=1)

    def substitutions(self, record: NDArray[np.uint8]) -> FeatureChanges:
        """Return the features that each substitution in a record removes and adds."""
        size, unknown = len(self.alphabet.letters), len(self.alphabet.letters)
        codes = self.alphabet.codes(record).astype(np.int64)
        codes = np.pad(codes, (0, max(0, self.k - len(codes))), constant_values=unknown)
        windows = np.lib.stride_tricks.sliding_window_view(codes, self.k)  # (N, k)
        number = len(windows)
        slots = self.slot_of(np.arange(number), np.array(number))
        powers = size ** np.arange(self.k - 1, -1, -1)
        known = windows < unknown
        worth = np.where(known, windows, 0) * powers
        # (N, k), ignoring this letter
        others_known = (~known).sum(axis=1, keepdims=True) - ~known == 0
        there = (slots >= 0)[:, None]
        is_feature = known.all(axis=1, keepdims=True) & there
        first = slots[:, None] * self.num_kmers  # the first feature of the slot
        feature = first + worth.sum(axis=1, keepdims=True)
        old = np.where(is_feature, feature, -1)
        rest = worth.sum(axis=1, keepdims=True) - worth  # (N, k)
        new = (first + rest)[..., None] + np.arange(size) * powers[:, None]  # (N, k, A)
        new = np.where((others_known & there)[..., None], new, -1)
        removed = np.full((len(codes), self.k), -1)
        added = np.full((len(codes), self.k, size), -1)
        for offset in range(self.k):  # position i is at `offset` of window i - offset
            removed[offset : offset + number, offset] = old[:, 0]
            added[offset : offset + number, offset] = new[:, offset]
        return FeatureChanges(removed[: len(record)], added[: len(record)])


def _totals(features: Integers, values: Floats, totals: Floats, squares: Floats) -> None:
    """Add to `totals` and `squares` (n,) for features (n, N), -1 for none; compiled by numba."""
    counts = np.zeros(len(values), np.int64)
    for row in range(len(features)):
        for feature in features[row]:
            if feature >= 0:
                totals[row] += values[feature]
                # (c + 1)^2 - c^2
                squares[row] += 2 * counts[feature] + 1
                counts[feature] += 1
        for feature in features[row]:
            if feature >= 0:
                counts[feature] = 0


@dataclass(frozen=True)
class FeatureChanges:
    """Features that substitutions remove and add; -1 for none.

    Attributes
    ----------
    removed
        Features of the windows over each position, (L, k).
    added
        New features for each position and new letter, (L, k, A).
    """

    removed: Integers
    added: Integers

    def total(self, values: Floats) -> Floats:
        """Sum `values` (size,) of the added features minus those of the removed ones, (L, A)."""
        padded = np.append(values, 0.0)  # feature -1 has the value 0
        return padded[self.added].sum(axis=1) - padded[self.removed].sum(axis=1)[:, None]

    def squares(self, counts: Floats) -> Floats:
        """Return the change of the sum of squares of `counts` (size,), (L, A)."""
        squared: Floats = compiled(_squared_changes)(self.removed, self.added)
        return 2 * self.total(counts) + squared


def _squared_changes(removed: Integers, added: Integers) -> Floats:
    """Return the sum of squared changes of the counts, (L, A), for the arrays of `FeatureChanges`.

    Compiled by numba.
    """
    length, width, size = added.shape
    squares = np.zeros((length, size))
    for at in range(length):
        for letter in range(size):
            features = np.concatenate((added[at, :, letter], removed[at]))
            for one in range(2 * width):
                if features[one] < 0:
                    continue
                squares[at, letter] += 1
                for other in range(one):
                    if features[other] == features[one]:
                        squares[at, letter] += 2 if (one < width) == (other < width) else -2
    return squares


class StoredBlock(Stored):
    """Settings of a `KmerSlots`."""

    k: Annotated[int, Field(ge=1, le=8)]
    slots: Annotated[int, Field(ge=1)]
    align: Align
    divisor: Positive


class KmerState(State):
    """Blocks of k-mers and their scaling."""

    blocks: Annotated[list[StoredBlock], Field(min_length=1)]
    by_record: bool


@dataclass(frozen=True)
class KmerFeatures(Features):
    """Counts of k-mers in blocks, which are scaled and concatenated.

    Attributes
    ----------
    by_record
        Divide the counts of each block by the Euclidean length of those of the record, which
        removes the effect of record length. Otherwise divide by the divisor of the block.
    """

    blocks: tuple[KmerSlots, ...]
    by_record: bool

    @property
    def size(self) -> int:  # type: ignore[override]
        return sum(block.size for block in self.blocks)

    def matrix(self, letters: Letters) -> scipy.sparse.csr_matrix:
        return self.scaled([block.counts(letters) for block in self.blocks])

    def scaled(self, counts: Sequence[scipy.sparse.csr_matrix]) -> scipy.sparse.csr_matrix:
        """Return the scaled counts of the blocks, (n, size) each, concatenated."""
        if self.by_record:
            counts = [
                scipy.sparse.diags_array(1 / np.maximum(root_of_squares(of_block), TINY)) @ of_block
                for of_block in counts
            ]
        else:
            counts = [
                of_block * of_block.dtype.type(1 / block.divisor)
                for block, of_block in zip(self.blocks, counts, strict=True)
            ]
        return scipy.sparse.csr_matrix(scipy.sparse.hstack(counts))

    def weighted(self, letters: Letters, weights: Array, bias: float) -> Array:
        found = np.full(len(letters), bias)
        for block, of_block in self._by_block(weights):
            totals, squares = block.totals(letters, of_block)
            scale = np.maximum(np.sqrt(squares), TINY) if self.by_record else block.divisor
            found += totals / scale
        return found

    def weighted_effects(self, record: NDArray[np.uint8], weights: Array) -> Array:
        return sum((self._of_block(*each, record) for each in self._by_block(weights)), np.zeros(1))

    def _by_block(self, weights: Array) -> Iterator[tuple[KmerSlots, Array]]:
        """Yield each block with its weights."""
        of_blocks = np.split(weights, np.cumsum([block.size for block in self.blocks])[:-1])
        return zip(self.blocks, of_blocks, strict=True)

    def _of_block(self, block: KmerSlots, weights: Array, record: NDArray[np.uint8]) -> Array:
        substitutions = block.substitutions(record)
        linear = substitutions.total(weights)
        if not self.by_record:
            return linear / block.divisor
        (features,) = block.features([record])
        counts = np.bincount(features[features >= 0], minlength=block.size).astype(np.float64)
        before, squares = weights @ counts, counts @ counts
        after = np.sqrt(np.maximum(squares + substitutions.squares(counts), 0))
        root = np.maximum(np.sqrt(squares), TINY)
        return (before + linear) / np.maximum(after, TINY) - before / root

    def chosen(self) -> dict[str, Any]:
        first, last = self.blocks[0], self.blocks[-1]
        if first.align == "parts":
            return {"scaling": "by record" if self.by_record else "by mean of train"}
        divided = {f"{last.k}-mers divided by": last.divisor}
        return {"positions from": first.align} | (divided if last.align == "parts" else {})

    def stored(self) -> KmerState:
        blocks = [StoredBlock.model_validate(vars(block)) for block in self.blocks]
        return KmerState(blocks=blocks, by_record=self.by_record)


class KmerSet(FeatureSet):
    """Base class of feature sets that are counts of k-mers."""

    state = KmerState

    def restore(self, setup: Setup, state: KmerState) -> KmerFeatures:
        blocks = tuple(KmerSlots(setup.alphabet, **vars(block)) for block in state.blocks)
        return KmerFeatures(blocks, state.by_record)


@dataclass(frozen=True)
class KmerCounts(KmerSet):
    """Counts of k-mers with a choice of scaling.

    Counts are divided by the Euclidean length of the record's counts, so that record length has no
    effect, or by the mean of these lengths over the training split, so that it has.

    Attributes
    ----------
    counted
        k, and the number of equal parts of the record, of each block.
    """

    counted: tuple[tuple[int, int], ...]
    reads = ("strands",)

    def candidates(self, setup: Setup, train: Letters, scaled: bool) -> Candidates:
        complete = [KmerSlots(setup.alphabet, *each) for each in self.counted]
        counts = [block.counts(train) for block in complete]
        blocks = tuple(
            replace(block, divisor=float(root_of_squares(of_block).mean()) or 1.0)
            for block, of_block in zip(complete, counts, strict=True)
        )
        for by_record in (True, False) if scaled else (False,):
            features = KmerFeatures(blocks, by_record)
            yield features, features.scaled(counts)


@dataclass(frozen=True)
class ExactPositions(KmerSet):
    """k-mers at exact positions, for aligned records such as promoters.

    Only the given strand is read, because positions have a direction. If lengths differ a little,
    the validation split decides whether positions count from the start or from the end.

    Attributes
    ----------
    sizes
        k of the k-mers at each position.
    counted
        k of the k-mers that are counted in a complete record of DNA or RNA; 0 for none.
    """

    sizes: tuple[int, ...]
    counted: int = 0
    is_sampled = True

    def obstacle(self, setup: Setup, train: Letters) -> str:
        """Return why records cannot be aligned: they are too long or differ in length."""
        lengths, unit = [len(record) for record in train], setup.alphabet.unit
        if max(lengths) > LONGEST:
            return f"the longest record has {max(lengths):,} {unit}, more than {LONGEST:,}"
        if min(lengths) < SHORTEST * max(lengths):
            return (
                f"training records have {min(lengths):,} to {max(lengths):,} {unit}, so their "
                "positions do not correspond"
            )
        return ""

    def most(self, setup: Setup, train: Letters) -> int:
        return max(2, LETTERS // max(len(record) for record in train))

    def candidates(self, setup: Setup, train: Letters, scaled: bool) -> Candidates:
        """Yield alignments and scales of the counted k-mers."""
        alphabet, lengths = setup.alphabet, {len(record) for record in train}
        longest = max(lengths)
        ends: tuple[Align, ...] = ("start",) if len(lengths) == 1 else ("start", "end")
        has_counts = self.counted and alphabet.is_nucleic
        complete = [KmerSlots(alphabet, self.counted)] if has_counts else []
        counted = [block.counts(train) for block in complete]
        for align in ends:
            blocks = [
                KmerSlots(alphabet, k, longest - k + 1, align)
                for k in self.sizes
                if k <= longest and len(alphabet.letters) ** k <= MOST_KINDS
            ]
            counts = [block.counts(train) for block in blocks]
            for divisor in COUNTS if scaled and complete else COUNTS[:1]:
                divided = [replace(block, divisor=divisor) for block in complete]
                features = KmerFeatures((*blocks, *divided), by_record=False)
                yield features, features.scaled([*counts, *counted])


class Variants(ExactPositions):
    """The letter at each position of variants of one sequence: one effect per substitution."""

    def obstacle(self, setup: Setup, train: Letters) -> str:
        """Return why records are no variants: they differ in length, or in too many letters."""
        if len({len(record) for record in train}) > 1:
            return "records differ in length, so they are not variants of one sequence"
        if obstacle := super().obstacle(setup, train):
            return obstacle
        if (differing := fraction_varied(setup.alphabet, train)) > VARIED:
            return f"records differ in {differing:.0%} of their letters from the commonest ones"
        return ""


def fraction_varied(alphabet: Alphabet, records: Letters) -> float:
    """Return the fraction of letters that differ from the commonest ones at their positions.

    All records have one length.
    """
    length = len(records[0])
    counts = KmerSlots(alphabet, 1, length, "start").counts(records).sum(axis=0)
    common = np.asarray(counts).reshape(length, -1).max(axis=1).sum() / len(records)
    return 1 - common / length
