"""Count k-mers as features: in the complete record, in equal parts of it, or at exact positions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from selfattn_bio.arrays import compiled
from selfattn_bio.sequence.alphabet import Alphabet, Letters
from selfattn_bio.sequence.kmers import KmerTokenizer, kmer_windows

Align = Literal["parts", "start", "end"]


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
    """

    alphabet: Alphabet
    k: int
    slots: int = 1
    align: Align = "parts"

    @property
    def size(self) -> int:
        """Return the number of features."""
        return self.slots * self.num_kmers

    @property
    def num_kmers(self) -> int:
        """Return the number of different k-mers."""
        return len(self.alphabet.letters) ** self.k

    def slot_of(self, at: NDArray[np.int64], windows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the slot of windows `at` in records with `windows` windows; -1 for none."""
        match self.align:
            case "parts":
                return np.minimum(at * self.slots // np.maximum(windows, 1), self.slots - 1)
            case "start":
                return np.where(at < self.slots, at, -1)
            case "end":
                slot = at - windows + self.slots
                return np.where((slot >= 0) & (slot < self.slots), slot, -1)

    def counts(self, letters: Letters) -> sparse.csr_matrix:
        """Count the features of each record, (n, size), float32.

        k-mers with an ambiguous letter are left out.
        """
        chunks = []
        for kmers, windows in kmer_windows(letters, KmerTokenizer(self.alphabet, k=self.k)):
            slots = self.slot_of(np.arange(kmers.shape[1])[None], windows)
            rows, at = np.nonzero((kmers >= 0) & (slots >= 0))
            slots = np.broadcast_to(slots, kmers.shape)
            columns = slots[rows, at] * self.num_kmers + kmers[rows, at]
            shape = (len(kmers), self.size)
            # The sparse matrix sums repeated entries
            chunks.append(
                sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)
            )
        return sparse.csr_matrix(sparse.vstack(chunks))

    def totals(
        self, letters: Letters, values: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the sum of `values` (size,) over the features of each record, and their squares.

        Returns
        -------
        `counts @ values` and the sum of squares of the counts, (n,) each.
        """
        totals, squares = [], []
        for kmers, windows in kmer_windows(letters, KmerTokenizer(self.alphabet, k=self.k)):
            slots = self.slot_of(np.arange(kmers.shape[1])[None], windows)
            features = np.where((kmers < 0) | (slots < 0), -1, slots * self.num_kmers + kmers)
            of_chunk = np.zeros((2, len(features)))
            compiled(_totals)(features, values, *of_chunk)
            totals.append(of_chunk[0])
            squares.append(of_chunk[1])
        return np.concatenate(totals), np.concatenate(squares)

    def substitutions(self, record: NDArray[np.uint8]) -> Substitutions:
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
        old = np.where(
            known.all(axis=1, keepdims=True) & there,
            slots[:, None] * self.num_kmers + worth.sum(axis=1, keepdims=True),
            -1,
        )
        rest = worth.sum(axis=1, keepdims=True) - worth  # (N, k)
        new = (
            slots[:, None, None] * self.num_kmers
            + rest[..., None]
            + np.arange(size) * powers[:, None]
        )  # (N, k, A)
        new = np.where((others_known & there)[..., None], new, -1)
        removed = np.full((len(codes), self.k), -1)
        added = np.full((len(codes), self.k, size), -1)
        for offset in range(self.k):  # position i is at `offset` of window i - offset
            removed[offset : offset + number, offset] = old[:, 0]
            added[offset : offset + number, offset] = new[:, offset]
        return Substitutions(removed[: len(record)], added[: len(record)])


def _totals(
    features: NDArray[np.int64],
    values: NDArray[np.float64],
    totals: NDArray[np.float64],
    squares: NDArray[np.float64],
) -> None:
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
class Substitutions:
    """Features that substitutions remove and add; -1 for none.

    Attributes
    ----------
    removed
        Features of the windows over each position, (L, k).
    added
        New features for each position and new letter, (L, k, A).
    """

    removed: NDArray[np.int64]
    added: NDArray[np.int64]

    def total(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum `values` (size,) of the added features minus those of the removed ones, (L, A)."""
        padded = np.append(values, 0.0)  # feature -1 has the value 0
        return padded[self.added].sum(axis=1) - padded[self.removed].sum(axis=1)[:, None]

    def squares(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the change of the sum of squares of `counts` (size,), (L, A)."""
        squared: NDArray[np.float64] = compiled(_squared_changes)(self.removed, self.added)
        return 2 * self.total(counts) + squared


def _squared_changes(removed: NDArray[np.int64], added: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the sum of squared changes of the counts, (L, A), for the arrays of `Substitutions`.

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
