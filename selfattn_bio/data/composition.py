"""Count bases, residues and k-mers of records.

Simple baselines and slices use these counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from selfattn_bio.data.batches import pad_letters
from selfattn_bio.sequence.alphabet import Alphabet
from selfattn_bio.sequence.kmers import SPECIAL, KmerTokenizer

Letters = Sequence[NDArray[np.uint8]]  # one array of ASCII letters per record
PIECE = 1 << 20  # positions counted at once; each takes eight bytes
CHUNK = 1024  # records encoded at once, padded to the longest of them


def gc_content(letters: Letters) -> NDArray[np.float64]:
    """Return the GC content of each record, (n,); ambiguous bases are not counted."""
    counts = base_counts(letters)
    return counts[:, 1:3].sum(axis=1) / np.maximum(counts.sum(axis=1), 1)


def base_counts(letters: Letters) -> NDArray[np.int64]:
    """Count A, C, G and T in each record, (n, 4)."""
    pieces = (
        (record[start : start + PIECE] for start in range(0, max(1, len(record)), PIECE))
        for record in letters
    )
    counts = [
        sum(np.bincount(piece, minlength=256)[list(b"ACGT")] for piece in of_record)
        for of_record in pieces
    ]
    return np.array(counts, dtype=np.int64).reshape(-1, 4)


def kmer_windows(
    letters: Letters, tokenizer: KmerTokenizer
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the number of the k-mer in each window of records, in chunks of records.

    A record shorter than k is padded with the unknown letter, so it has one window without a k-mer.

    Yields
    ------
    Two arrays per chunk: the number of the k-mer in each window, (n, N), with -1 for ambiguous
    letters and past the end; and the number of windows of each record, (n, 1).
    """
    unknown = ord(tokenizer.alphabet.unknown)
    for start in range(0, len(letters), CHUNK):
        chunk = letters[start : start + CHUNK]
        filled = [
            np.pad(record, (0, missing), constant_values=unknown) if missing > 0 else record
            for record in chunk
            for missing in [tokenizer.k - len(record)]
        ]
        tokens = tokenizer.encode(tokenizer.alphabet.codes(pad_letters(filled))).astype(np.int64)
        lengths = np.array([len(record) for record in filled])[:, None] - tokenizer.k + 1
        yield np.maximum(tokens - len(SPECIAL), -1), lengths


def count_kmers(letters: Letters, alphabet: Alphabet, k: int) -> sparse.csr_matrix:
    """Count the k-mers of each record, (n, k-mers), except those with an ambiguous letter."""
    tokenizer = KmerTokenizer(alphabet, k=k, stride=1)
    size, chunks = tokenizer.vocabulary_size - len(SPECIAL), []
    for kmers, _ in kmer_windows(letters, tokenizer):
        rows, at = np.nonzero(kmers >= 0)
        # The sparse matrix sums repeated entries
        chunks.append(
            sparse.csr_matrix(
                (np.ones(len(rows)), (rows, kmers[rows, at])), shape=(len(kmers), size)
            )
        )
    return sparse.csr_matrix(sparse.vstack(chunks))


def root_of_squares(counts: sparse.csr_matrix) -> NDArray[np.float64]:
    """Return the Euclidean length of each row, (n,)."""
    return np.sqrt(np.asarray(counts.multiply(counts).sum(axis=1), dtype=np.float64).ravel())


@dataclass(frozen=True)
class KmerCounts:
    """Count k-mers and divide each record's counts by their Euclidean length: (n, k-mers)."""

    alphabet: Alphabet
    k: int

    def __call__(self, letters: Letters) -> sparse.csr_matrix:
        counts = count_kmers(letters, self.alphabet, self.k)
        return sparse.csr_matrix(
            sparse.diags_array(1 / np.maximum(root_of_squares(counts), 1e-12)) @ counts
        )
