"""Which records make a batch, in which order, and how they become letters of one shape.

Hides: length buckets, padding, and augmentation that depends on seed, epoch and record alone, so that a run can be taken up at any
batch. Training imports it; no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.data.corpus import Corpus

# Batches sorted by length together: little padding, and still a random order. With 50 a tenth of the places was padding on lengths like
# those of proteins, with 200 it is a thirtieth.
POOL = 200
# Lengths are sorted as if each were up to this share longer, drawn anew each epoch: else all epochs of a set that is one pool have the same
# batches. On lengths like those of proteins it costs half a hundredth of the places.
NOISE = 0.02

Letters = NDArray[np.uint8]


def pad_letters(sequences: list[Letters]) -> Letters:
    """ASCII arrays of any length -> (B, L) with L of the longest, padded with 0."""
    padded = np.zeros((len(sequences), max(map(len, sequences))), np.uint8)
    for row, letters in zip(padded, sequences, strict=True):
        row[: len(letters)] = letters
    return padded


@dataclass(frozen=True)
class BatchOrder:
    """The batches of an epoch: all records once, those of a batch of similar length, in an order drawn from seed and epoch.

    Parameters
    ----------
    lengths
        Letters per record, (n,).
    batch_size
        Records to a batch; the last of an epoch may be smaller.
    """

    lengths: NDArray[np.int64]
    batch_size: int
    seed: int

    def epoch(self, number: int) -> list[NDArray[np.int64]]:
        """Row numbers into `lengths`, batch by batch."""
        rng = np.random.default_rng((self.seed, number))
        order = rng.permutation(len(self.lengths))
        if np.ptp(self.lengths):  # else there is nothing to sort
            as_sorted, pool = self.lengths * rng.uniform(1, 1 + NOISE, len(order)), POOL * self.batch_size
            for start in range(0, len(order), pool):
                part = order[start : start + pool]
                order[start : start + pool] = part[np.argsort(as_sorted[part])]
        batches = [order[i : i + self.batch_size] for i in range(0, len(order), self.batch_size)]
        return [batches[i] for i in rng.permutation(len(batches))]

    def efficiency(self) -> float:
        """Share of the places of the first epoch's batches that hold letters, not padding."""
        batches = self.epoch(0)
        return float(self.lengths.sum() / sum(len(rows) * int(self.lengths[rows].max()) for rows in batches))


class View(NamedTuple):
    """How an epoch shows a record: its letters [first, last), 0-based, or their reverse complement."""

    first: int
    last: int
    turned: bool


@dataclass(frozen=True)
class Augmentation:
    """Each record, each epoch anew: moved by up to `shift` letters, turned to the other strand half of the times, some letters drawn anew.

    A shift by s drops the first s letters (s > 0) or the last -s (s < 0): the edge moves, and no letter is made up. A record that
    would come out shorter than `min_length` letters stays as it is. A share `substitution` of the letters becomes any letter of the
    alphabet, the one it was included.

    With `multiple` a moved record has the same number of letters wherever it moved, a multiple of it, if it is long enough: long records
    of one length then need no padding, which cost a third of their steps.
    """

    shift: int
    reverse_complement: bool
    min_length: int
    seed: int
    substitution: float = 0.0
    multiple: int = 0

    def view(self, corpus: Corpus, record: int, epoch: int) -> tuple[Letters, View]:
        """The letters of a record of the corpus as epoch `epoch` shows them, and which of its letters they are."""
        letters = corpus.letters(record)
        if not (self.shift or self.reverse_complement or self.substitution):
            return letters, View(0, len(letters), False)
        rng = np.random.default_rng((self.seed, epoch, record))
        by = int(rng.integers(-self.shift, self.shift + 1))
        if len(letters) - abs(by) < self.min_length:
            by = 0
        first, last = max(by, 0), len(letters) + min(by, 0)
        if self.multiple and (length := (len(letters) - 2 * self.shift) // self.multiple * self.multiple):
            first, last = self.shift + by, self.shift + by + length
        view = View(first, last, bool(self.reverse_complement and rng.random() < 0.5))
        letters = letters[view.first : view.last]
        if view.turned:
            letters = corpus.alphabet.reverse_complement(letters)
        if self.substitution:
            drawn = rng.choice(np.frombuffer(corpus.alphabet.letters.encode(), np.uint8), len(letters))
            letters = np.where(rng.random(len(letters)) < self.substitution, drawn, letters)
        return letters, view

    def letters(self, corpus: Corpus, record: int, epoch: int) -> Letters:
        """The letters of a record of the corpus as epoch `epoch` shows them."""
        return self.view(corpus, record, epoch)[0]
