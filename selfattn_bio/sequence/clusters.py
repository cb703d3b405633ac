"""Which records resemble each other by the k-mers they share, and the clusters that follow: no record is like one of another cluster.

Hides: k-mers as numbers, both strands, the reduced alphabet of protein, what chance explains, repeats, the sparse product that counts what
pairs share. numpy and scipy alone.

Two records are alike where the one with fewer k-mers shares at least a given part of them with the other, so that a window within a
longer record is as alike as a whole copy. Clusters are the connected components (single linkage), not greedy ones around a centre: there a
record may be like one of a neighbouring cluster, and that is the leak.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from selfattn_bio.sequence.alphabet import Alphabet

# Linclust's 12 classes of residues (Steinegger and Söding 2018); a letter of none of them ends a k-mer.
LINCLUST = ("A S T", "C", "D N", "E Q", "F Y", "G", "H", "I V", "K R", "L M", "P", "W")
DNA_K, REDUCED_K, RESIDUES_K = 12, 6, 5
SIMILARITY = {"dna": 0.15, "protein": 0.3}  # if not given: records of which a tenth is mutated are alike (benchmarks/leakage.py)
CHANCE = 0.01  # how many records, of all, may share by chance what is taken for a likeness
LETTERS_AT_ONCE = 4_000_000
MAX_KMERS = 64_000_000  # beyond, an even sample of all k-mers stands for them (FracMinHash, Hera et al. 2023)
PRODUCTS, AT_ONCE = 1_000_000_000, 10_000_000  # shared k-mers of pairs that are counted one by one, and how many at a time
ORDERS, BESIDE = 16, 4  # of records with repeats, and how many on each side in each order they are compared with
MANY_LETTERS = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Reading:
    """How letters become k-mers: the class of each letter, -1 for one that ends a k-mer, by its code; both strands alike or not."""

    classes: NDArray[np.int64]
    k: int
    canonical: bool

    @property
    def num_classes(self) -> int:
        return int(self.classes.max()) + 1


def readings(alphabet: Alphabet, k: int | None = None) -> list[Reading]:
    """DNA is read once, both strands alike; protein twice: in reduced letters, and in residues one letter shorter, for peptides.

    Seven reduced residues are shared by chance, seven residues are not.

    Raises
    ------
    ValueError
        If `k` is not from 3 to 27 (DNA) or 14 (protein): the number of a k-mer must fit 63 bits.
    """
    most = 27 if alphabet.has_complement else 14
    if k is not None and not 3 <= k <= most:
        raise ValueError(f"k must be from 3 to {most} for {alphabet.name}, got {k}")
    itself = np.array([*range(len(alphabet.letters)), -1])
    if alphabet.has_complement:
        return [Reading(itself, k or DNA_K, canonical=True)]
    class_of = {letter: number for number, letters in enumerate(LINCLUST) for letter in letters.split()}
    reduced = np.array([*(class_of[letter] for letter in alphabet.letters), -1])
    return [Reading(reduced, k or REDUCED_K, canonical=False), Reading(itself, (k - 1) if k else RESIDUES_K, canonical=False)]


def cluster_records(
    letters: Sequence[NDArray[np.uint8]], alphabet: Alphabet, similarity: float | None = None, k: int | None = None
) -> NDArray[np.int64]:
    """Number the records so that all that are alike, directly or through others, share a number.

    Parameters
    ----------
    letters
        ASCII upper case of each of n records.
    similarity
        Share of the k-mers from which two records are alike, in (0, 1]; that of `SIMILARITY` if not given.
    k
        Letters; `DNA_K`, or `REDUCED_K` reduced and `RESIDUES_K` whole residues, if not given.

    Returns
    -------
    Shape (n,), counted from 0 in the order of the records.

    Raises
    ------
    ValueError
        If `similarity` or `k` is out of range.
    """
    pairs = similar_pairs(letters, alphabet, similarity, k)
    return components(len(letters), pairs["first"].to_numpy(), pairs["second"].to_numpy())


def components(num_records: int, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number the records by what pairs connect, in the order of the records."""
    graph = coo_array((np.ones(len(first), bool), (first, second)), shape=(num_records, num_records))
    return pd.factorize(connected_components(graph, directed=False)[1])[0].astype(np.int64)


def similar_pairs(
    letters: Sequence[NDArray[np.uint8]],
    alphabet: Alphabet,
    similarity: float | None = None,
    k: int | None = None,
    sides: NDArray[np.bool_] | None = None,
) -> pd.DataFrame:
    """All pairs of records that are alike, on either strand.

    ACGTACGT has the 3-mers ACG and GTA (and CGT and TAC, which are these on the other strand), TTACGTAC has TAA, GTA and ACG: with k 3 they
    share two of the two that the first has, a similarity of 1, were they not so short that chance explains it.

    Parameters
    ----------
    letters, similarity, k
        As for `cluster_records`.
    sides
        If given, only pairs of a record with False (`first`) and one with True (`second`), (n,).

    Returns
    -------
    first, second (rows), similarity (share of the k-mers of the record that has fewer; the larger of both readings of protein). Each pair
    once; without `sides`, first < second. A pair of which chance would give more than `CHANCE` of all records an equal is none. Beyond
    `MAX_KMERS` k-mers in all, shares are those of an even sample.

    Raises
    ------
    ValueError
        If `similarity` or `k` is out of range.
    """
    similarity = SIMILARITY[alphabet.name] if similarity is None else similarity
    if not 0 < similarity <= 1:
        raise ValueError(f"similarity must be in (0, 1], got {similarity}")
    found = [pd.DataFrame({"first": np.zeros(0, np.int64), "second": np.zeros(0, np.int64), "similarity": np.zeros(0)})]
    for reading in readings(alphabet, k):
        shared = _Shared(letters, alphabet, reading, similarity)
        found += [shared.exact(first, second) for first, second in shared.candidates(sides)]
    return pd.concat(found, ignore_index=True).groupby(["first", "second"], as_index=False).max()


def kmers(letters: NDArray[np.uint8], alphabet: Alphabet, reading: Reading, *, canonical: bool | None = None) -> NDArray[np.int64]:
    """The number of the k-mer that begins at each letter, (L,); -1 where it holds a letter of no class or runs over the end.

    With `canonical` the smaller of the numbers of both strands (of DNA).
    """
    codes = reading.classes[np.minimum(alphabet.codes(letters), len(alphabet.letters))]
    base, k, length = reading.num_classes, reading.k, len(codes)
    bad = np.concatenate([codes < 0, np.ones(k - 1, bool)])
    codes = np.concatenate([codes, np.zeros(k - 1, np.int64)])
    number, turned, hit = np.zeros(length, np.int64), np.zeros(length, np.int64), np.zeros(length, bool)
    both = reading.canonical if canonical is None else canonical
    for i in range(k):
        letter = codes[i : i + length]
        number = number * base + letter
        if both:
            turned += (base - 1 - letter) * base**i
        hit |= bad[i : i + length]
    return np.where(hit, -1, np.minimum(number, turned) if both else number)


def distinct_kmers(
    letters: NDArray[np.uint8], alphabet: Alphabet, reading: Reading, share: float = 1.0, *, turned: bool = False
) -> NDArray[np.int64]:
    """The different k-mers of one strand of a record, or an even sample of `share` of all there are; with `turned` of the other strand.

    The same k-mers are in the sample of each record. A long one is read in pieces.
    """
    found = [np.zeros(0, np.int64)]
    for start in range(0, len(letters), LETTERS_AT_ONCE):
        piece = letters[start : start + LETTERS_AT_ONCE + reading.k - 1]
        numbers = kmers(alphabet.reverse_complement(piece) if turned else piece, alphabet, reading, canonical=False)
        found.append(np.unique(numbers[(numbers >= 0) & _sampled(numbers, share)]))
    return np.unique(np.concatenate(found))


def _sampled(numbers: NDArray[np.int64], share: float) -> NDArray[np.bool_] | np.bool_:
    """Which k-mers belong to an even sample of `share` of all there are."""
    return np.bool_(True) if share >= 1 else _mixed(numbers) < np.uint64(share * 2.0**64)


def _mixed(numbers: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Numbers spread evenly over 64 bits: the finaliser of splitmix64 (Steele et al. 2014)."""
    z = numbers.astype(np.uint64) + MANY_LETTERS
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


class _Shared:
    """The distinct k-mers of the records as a sparse matrix, and the pairs of rows that share enough of them.

    Columns that few rows have are multiplied out, which gives all pairs that share one; those that many have, repeats, would make the
    product quadratic, and are counted for the pairs that the rest cannot rule out.
    """

    def __init__(self, letters: Sequence[NDArray[np.uint8]], alphabet: Alphabet, reading: Reading, similarity: float) -> None:
        self.reading, self.similarity, self.num_records = reading, similarity, len(letters)
        lengths = np.array([len(row) for row in letters], np.int64)
        self.log_lengths = np.log(np.maximum(lengths, 1))
        numbers, rows, self.match = _all_kmers(letters, alphabet, reading, lengths)
        names, columns = np.unique(numbers, return_inverse=True)
        columns = columns.astype(np.int32)
        matrix = csr_array((np.ones(len(rows), np.int32), (rows, columns)), shape=(self.num_records, len(names)))
        del numbers, rows, columns
        matrix.sum_duplicates()
        matrix.data[:] = 1
        self.sizes = np.diff(matrix.indptr).astype(np.int64)
        spread = np.bincount(matrix.indices, minlength=len(names))
        cost = np.cumsum(np.bincount(spread, minlength=2) * np.arange(max(2, int(spread.max(initial=0)) + 1), dtype=np.float64) ** 2)
        self.rare = _columns(matrix, (spread > 1) & (cost[spread] <= max(PRODUCTS, cost[1])))
        self.frequent = _columns(matrix, (spread > 1) & (cost[spread] > max(PRODUCTS, cost[1])))
        self.repeats = np.diff(self.frequent.indptr).astype(np.int64)

    def needed(self, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
        """Shared k-mers from which these pairs are alike: the share that is asked for, and more than chance explains.

        A run of r k-mers is k + r - 1 letters that agree; of all records, the expected number of those that hold a run that long of a
        given one is n * places * places * match^letters (as BLAST's E, Altschul et al. 1990).
        """
        return self._least(np.minimum(self.sizes[first], self.sizes[second]), self.log_lengths[first] + self.log_lengths[second])

    def _least(self, sizes: NDArray[np.int64], log_places: NDArray[np.float64]) -> NDArray[np.int64]:
        share = np.ceil(self.similarity * sizes - 1e-9)
        run = (math.log(self.num_records * (1 + self.reading.canonical) / CHANCE) + log_places) / -math.log(self.match) - self.reading.k + 1
        return np.maximum(np.maximum(share, np.ceil(run)), 1).astype(np.int64)

    def candidates(self, sides: NDArray[np.bool_] | None) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Pairs that may share what is needed, block by block of rows."""
        left = np.arange(self.num_records) if sides is None else np.flatnonzero(~sides)
        right = np.arange(self.num_records) if sides is None else np.flatnonzero(sides)
        if not self.sizes.any():
            return
        least = self._least(self.sizes[self.sizes > 0].min(), 2 * self.log_lengths[self.sizes > 0].min()) - self.repeats.max()
        ours, theirs = self.rare[left], csr_array(self.rare[right].T)
        work = np.cumsum(ours @ np.diff(theirs.indptr).astype(np.float64))
        inner = np.unique(np.searchsorted(work, np.arange(AT_ONCE, work.max(initial=0), AT_ONCE)) + 1)
        for start, stop in pairwise([0, *inner[inner < len(left)], len(left)]):
            product = (ours[start:stop] @ theirs).tocoo()
            some = product.data >= least  # most pairs share a k-mer or two by chance, and need no closer look
            first, second, shared = left[start:stop][product.coords[0][some]], right[product.coords[1][some]], product.data[some]
            possible = shared + np.minimum(self.repeats[first], self.repeats[second]) >= self.needed(first, second)
            yield self._kept(first, second, possible, sides)
        if self.repeats.any():
            yield self._neighbours(sides)

    def _kept(
        self, first: NDArray[np.int64], second: NDArray[np.int64], wanted: NDArray[np.bool_], sides: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        wanted = wanted & (first < second) if sides is None else wanted
        return first[wanted].astype(np.int64), second[wanted].astype(np.int64)

    def _neighbours(self, sides: NDArray[np.bool_] | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Records that may share only repeats: those next to each other ordered by their smallest k-mer (min-hash), in several orders."""
        rows = np.flatnonzero(self.repeats)
        pairs = [np.zeros((2, 0), np.int64)]
        for number in range(ORDERS):
            hashes = _mixed(self.frequent.indices.astype(np.int64) + (number << 40))
            order = rows[np.argsort(np.minimum.reduceat(hashes, self.frequent.indptr[rows]), kind="stable")]
            pairs += [np.stack([order[:-apart], order[apart:]]) for apart in range(1, min(BESIDE + 1, len(order)))]
        one, other = np.unique(np.sort(np.concatenate(pairs, axis=1), axis=0), axis=1)
        if sides is not None:
            one, other = np.where(sides[one], other, one), np.where(sides[one], one, other)
        return self._kept(one, other, np.ones(len(one), bool) if sides is None else ~sides[one] & sides[other], sides)

    def exact(self, first: NDArray[np.int64], second: NDArray[np.int64]) -> pd.DataFrame:
        """Count all k-mers that each pair shares; the pairs that share enough."""
        found = np.zeros(len(first), np.int64)
        step = max(1, AT_ONCE // max(1, int(self.sizes.max(initial=1))))
        for start in range(0, len(first), step):
            a, b = first[start : start + step], second[start : start + step]
            for matrix in (self.rare, self.frequent):
                found[start : start + step] += matrix[a].multiply(matrix[b]).sum(axis=1).astype(np.int64)
        enough = found >= self.needed(first, second)
        first, second, found = first[enough], second[enough], found[enough]
        return pd.DataFrame({"first": first, "second": second, "similarity": found / np.minimum(self.sizes[first], self.sizes[second])})


def _all_kmers(
    letters: Sequence[NDArray[np.uint8]], alphabet: Alphabet, reading: Reading, lengths: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], float]:
    """The k-mers of all records, the row of each, and the chance that two letters agree."""
    kept = min(1.0, MAX_KMERS / max(1, int(lengths.sum())))
    numbers, rows, counts = [], [], np.zeros(reading.num_classes, np.int64)
    # A long record in pieces, each with the letters behind it that its last k-mers hold; any other is one piece.
    number = np.maximum(1, -(-lengths // LETTERS_AT_ONCE))
    of_row = np.repeat(np.arange(len(lengths), dtype=np.int32), number)
    begins = (np.arange(len(of_row)) - np.repeat(np.cumsum(number) - number, number)) * LETTERS_AT_ONCE
    sizes = np.minimum(lengths[of_row] - begins, LETTERS_AT_ONCE + reading.k - 1)
    ends = np.cumsum(sizes + 1)
    starts = np.unique(np.searchsorted(ends, np.arange(0, ends.max(initial=0), LETTERS_AT_ONCE), side="right"))
    for start, stop in pairwise([*starts, len(sizes)]):
        # A 0 behind each piece: padding, so that no k-mer runs from one into the next.
        block = np.zeros(int((sizes[start:stop] + 1).sum()), np.uint8)
        at = np.repeat(of_row[start:stop], sizes[start:stop] + 1)
        offsets = np.concatenate([[0], np.cumsum(sizes[start:stop] + 1)])
        for piece, offset in zip(range(start, stop), offsets, strict=False):
            block[offset : offset + sizes[piece]] = letters[of_row[piece]][begins[piece] : begins[piece] + sizes[piece]]
        found = kmers(block, alphabet, reading)
        wanted = (found >= 0) & _sampled(found, kept)
        numbers.append(found[wanted])
        rows.append(at[wanted])
        classes = reading.classes[np.minimum(alphabet.codes(block), len(alphabet.letters))]
        counts += np.bincount(classes[classes >= 0], minlength=reading.num_classes)
    shares = counts / max(1, counts.sum())
    match = float(np.clip((shares**2).sum(), 1e-3, 0.99))
    return np.concatenate(numbers or [np.zeros(0, np.int64)]), np.concatenate(rows or [np.zeros(0, np.int64)]), match


def _columns(matrix: csr_array, wanted: NDArray[np.bool_]) -> csr_array:
    """The columns that are wanted; as `matrix[:, wanted]`, which takes many times the memory."""
    renumbered = np.cumsum(wanted) - 1
    keep = wanted[matrix.indices]
    indptr = np.concatenate([[0], np.cumsum(keep)])[matrix.indptr]
    indices = renumbered[matrix.indices[keep]]
    return csr_array((matrix.data[keep], indices, indptr), shape=(matrix.shape[0], int(wanted.sum())))
