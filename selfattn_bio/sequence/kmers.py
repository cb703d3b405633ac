"""Encode sequences as k-mer tokens, decode tokens, and count k-mers and bases.

Batches are encoded without a loop over letters. Tokens are computed per batch and never stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import iadd
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from selfattn_bio.arrays import Floats, Integers
from selfattn_bio.sequence.alphabet import PAD_CODE, PIECE, Alphabet, Ascii, Letters, get_alphabet

if TYPE_CHECKING:
    from selfattn_bio.config import RunFile

PAD, CLS, MASK, UNK = 0, 1, 2, 3
SPECIAL = ("[PAD]", "[CLS]", "[MASK]", "[UNK]")
MAX_K = 8
MAX_VOCABULARY = 1 << 18  # tokens; 8-mers of DNA and 4-mers of protein fit
TOKENS_AT_ONCE = 1 << 15  # letters encoded at a time, so that intermediate arrays stay in the cache

Array = NDArray[Any]
RECORDS_AT_ONCE = 1024  # records encoded at once, padded to the longest of them


@dataclass(frozen=True)
class KmerTokenizer:
    """Convert sequences to k-mer tokens and back.

    With k 3 and stride 1, ACGTN has the tokens ACG, CGT and [UNK]. Token numbers are 0 [PAD], 1
    [CLS], 2 [MASK], 3 [UNK], then the k-mers in the order of the alphabet (AAA = 4, AAC = 5, ...).
    A sequence of L letters has (L - k) // stride + 1 tokens. Letters after the end of the last
    token (at most stride - 1) are not covered.

    Parameters
    ----------
    alphabet
        Alphabet of the sequences.
    k
        Letters per token, 1-8, with at most 2^18 k-mers (k <= 4 for protein).
    stride
        Distance between the starts of consecutive tokens, 1-k, so that no letter between them is
        skipped.

    Raises
    ------
    ValueError
        If `k` or `stride` is out of range.
    """

    alphabet: Alphabet
    k: int
    stride: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.k <= MAX_K:
            raise ValueError(f"k = {self.k} is out of range (1 to {MAX_K})")
        if not 1 <= self.stride <= self.k:
            raise ValueError(f"stride = {self.stride} is out of range (1 to k = {self.k})")
        if self._num_kmers > MAX_VOCABULARY:
            raise ValueError(
                f"k = {self.k} gives {self._num_kmers} {self.alphabet.name} k-mers, more than the "
                f"maximum of {MAX_VOCABULARY}"
            )

    @property
    def _num_kmers(self) -> int:
        return len(self.alphabet.letters) ** self.k

    @property
    def vocabulary_size(self) -> int:
        """Return the number of tokens, including the four special ones."""
        return len(SPECIAL) + self._num_kmers

    @property
    def names(self) -> list[str]:
        """Return the names of the special tokens, and the letters of all others, in order."""
        kmers = self.decode(np.arange(len(SPECIAL), self.vocabulary_size)[:, None])
        return [*SPECIAL, *(row.tobytes().decode() for row in kmers)]

    @property
    def sha256(self) -> str:
        """Return the hexadecimal SHA-256 of the vocabulary; it does not depend on the stride."""
        return hashlib.sha256(
            f"{' '.join(SPECIAL)} {self.alphabet.letters} k={self.k}".encode()
        ).hexdigest()

    def num_tokens(self, num_letters: int) -> int:
        """Return the number of tokens of a sequence of `num_letters` letters.

        It is 0 for sequences shorter than k.
        """
        return max(0, (num_letters - self.k) // self.stride + 1)

    def encode(self, codes: NDArray[np.uint8]) -> NDArray[np.int32]:
        """Tokenize a batch.

        Parameters
        ----------
        codes
            Shape (B, L): the index of each letter in the alphabet, the size of the alphabet for an
            ambiguous letter, or 255 for padding at the end of rows.

        Returns
        -------
        Tokens, shape (B, N) with N = (L - k) // stride + 1. A k-mer that overlaps padding is [PAD];
        any other k-mer with an ambiguous letter is [UNK].

        Raises
        ------
        ValueError
            If a row has fewer than k letters.
        """
        num_rows, length = codes.shape
        tokens = np.empty((num_rows, self.num_tokens(length)), np.int32)
        rows = max(1, TOKENS_AT_ONCE // max(1, length))
        width = TOKENS_AT_ONCE // self.stride * self.stride
        for row in range(0, num_rows, rows):
            for start in range(0, length - self.k + 1, width):
                part = codes[row : row + rows, start : start + width + self.k - 1]
                at = start // self.stride
                self._encode(
                    part, tokens[row : row + rows, at : at + self.num_tokens(part.shape[1])]
                )
        short = np.flatnonzero(tokens[:, 0] == PAD) if tokens.shape[1] else np.arange(num_rows)
        if len(short):
            letters = int((codes[short[0]] != PAD_CODE).sum())
            message = f"the sequence in row {short[0]} has length {letters}, less than k = {self.k}"
            raise ValueError(message)
        return tokens

    def _encode(self, codes: Array, tokens: Array) -> None:
        """Fill `tokens` with the tokens of `codes`.

        Rows are joined end to end, because one long array is twice as fast as many short ones.
        """
        flat, base = codes.ravel(), len(self.alphabet.letters)

        def per_token(windows: Array) -> Array:
            """Return a view of the windows at token starts, (B, N); no window spans two rows."""
            steps = (codes.shape[1] * windows.itemsize, self.stride * windows.itemsize)
            return as_strided(windows, tokens.shape, steps, writeable=False)

        dtype = np.uint16 if self._num_kmers <= 1 << 16 else np.uint32
        # Codes of ambiguous letters and padding give wrong numbers, which are overwritten below.
        kmers = _windows(
            flat.astype(dtype),
            self.k,
            lambda left, right, width: iadd(left * dtype(base**width), right),
        )
        np.add(per_token(kmers), len(SPECIAL), out=tokens, dtype=tokens.dtype)
        if (flat >= base).any():
            # ambiguous letters have a higher code than all others, and padding has the highest
            highest = _windows(flat, self.k, lambda left, right, _: np.maximum(left, right))
            tokens[per_token(highest) >= base] = UNK
            tokens[per_token(highest) == PAD_CODE] = PAD

    def spans(self, num_tokens: int) -> Integers:
        """Return the interval of each token, shape (N, 2): start and end, 0-based half-open."""
        starts = np.arange(num_tokens) * self.stride
        return np.stack([starts, starts + self.k], axis=1)

    def complement(self) -> Integers:
        """Return the token of each k-mer's reverse complement, (V,); special tokens are their own.

        Raises
        ------
        ValueError
            If the alphabet has no complement, such as protein.
        """
        tokens = np.arange(self.vocabulary_size)
        kmers = self.decode(tokens[len(SPECIAL) :, None])  # (V - 4, k)
        tokens[len(SPECIAL) :] = self.encode(
            self.alphabet.codes(self.alphabet.reverse_complement(kmers))
        )[:, 0]
        return tokens

    def canonical(self) -> Integers:
        """Return the canonical token of each token, shape (V,).

        A k-mer and its reverse complement share the smaller token number.

        Raises
        ------
        ValueError
            If the alphabet has no complement, as protein.
        """
        return np.minimum(np.arange(self.vocabulary_size), self.complement())

    def decode(self, tokens: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
        """Convert a batch of tokens to letters; the exact inverse of `encode` if there is no [UNK].

        With k 3, ACG CGT [UNK] [UNK] [UNK] ACG gives ACGTNACG. A letter covered by a k-mer is
        known. A letter covered only by [UNK] or [MASK] becomes the alphabet's unknown letter (N),
        and one covered only by [PAD] becomes 0.

        Parameters
        ----------
        tokens
            Shape (B, N), N >= 1, without [CLS].

        Returns
        -------
        ASCII, shape (B, L) with L = (N - 1) * stride + k. Letters after the end of the last token
        are lost.

        Raises
        ------
        ValueError
            If `tokens` contains [CLS] or a number outside the vocabulary.
        """
        if ((tokens < 0) | (tokens >= self.vocabulary_size) | (tokens == CLS)).any():
            raise ValueError(
                f"invalid token in {tokens.min()}-{tokens.max()} (expected "
                f"0-{self.vocabulary_size - 1} without {CLS}, [CLS])"
            )
        alphabet = np.frombuffer(self.alphabet.letters.encode(), np.uint8)
        covered = (tokens.shape[1] - 1) * self.stride + 1
        letters = np.zeros((len(tokens), covered + self.k - 1), np.uint8)
        values = tokens.astype(np.int64) - len(SPECIAL)
        hidden, known = (tokens == UNK) | (tokens == MASK), values >= 0
        # Write unknown letters first, so that overlapping k-mers overwrite them
        for i in range(self.k):
            letters[:, i : i + covered : self.stride][hidden] = ord(self.alphabet.unknown)
        for i in range(self.k):
            digit = values // len(alphabet) ** (self.k - 1 - i) % len(alphabet)
            letters[:, i : i + covered : self.stride][known] = alphabet[digit[known]]
        return letters


def _windows(single: Array, k: int, join: Callable[[Array, Array, int], Array]) -> Array:
    """Combine every k neighbours of a flat array by doubling.

    For k = 6, windows grow from 1 to 2, 3 and 6 letters. `join(left, right, width)` combines a
    window with the next one, which is `width` letters wide.
    """
    result, width = single, 1
    for bit in bin(k)[3:]:
        result, width = join(result[:-width], result[width:], width), 2 * width
        if bit == "1":
            result, width = join(result[:-1], single[width:], 1), width + 1
    return result


def tokenizer_of(run: RunFile) -> KmerTokenizer:
    """Build the tokenizer that a run file describes."""
    return KmerTokenizer(get_alphabet(run.data.alphabet), k=run.tokens.k, stride=run.tokens.stride)


def partner_tokenizer_of(run: RunFile) -> KmerTokenizer:
    """Build the tokenizer of the second of two inputs."""
    assert run.partner is not None  # the run file is validated before
    return KmerTokenizer(
        get_alphabet(run.partner.alphabet), k=run.partner.k, stride=run.partner.stride
    )


def gc_content(letters: Letters) -> Floats:
    """Return the GC content of each record, (n,); ambiguous bases are not counted."""
    codes = get_alphabet("dna").codes
    fractions = []
    for record in letters:
        counts = np.zeros(4, np.int64)
        for start in range(0, len(record), PIECE):
            counts += np.bincount(codes(record[start : start + PIECE]), minlength=4)[:4]
        fractions.append(counts[1:3].sum() / max(counts.sum(), 1))
    return np.array(fractions, np.float64)


def kmer_windows(letters: Letters, tokenizer: KmerTokenizer) -> Iterator[tuple[Integers, Integers]]:
    """Yield the number of the k-mer in each window of records, in chunks of records.

    A record shorter than k is padded with the unknown letter, so it has one window without a k-mer.

    Yields
    ------
    Two arrays per chunk: the number of the k-mer in each window, (n, N), with -1 for ambiguous
    letters and past the end; and the number of windows of each record, (n, 1).
    """
    unknown = ord(tokenizer.alphabet.unknown)
    for start in range(0, len(letters), RECORDS_AT_ONCE):
        chunk = letters[start : start + RECORDS_AT_ONCE]
        filled = [
            np.pad(record, (0, missing), constant_values=unknown) if missing > 0 else record
            for record in chunk
            for missing in [tokenizer.k - len(record)]
        ]
        tokens = tokenizer.encode(tokenizer.alphabet.codes(pad_letters(filled))).astype(np.int64)
        lengths = np.array([len(record) for record in filled])[:, None] - tokenizer.k + 1
        yield np.maximum(tokens - len(SPECIAL), -1), lengths


def root_of_squares(counts: scipy.sparse.csr_matrix) -> Floats:
    """Return the Euclidean length of each row, (n,)."""
    return np.sqrt(np.asarray(counts.multiply(counts).sum(axis=1), dtype=np.float64).ravel())


def pad_letters(sequences: Letters) -> Ascii:
    """Pad ASCII arrays with 0 to the length of the longest, (B, L)."""
    padded = np.zeros((len(sequences), max(map(len, sequences))), np.uint8)
    for row, letters in zip(padded, sequences, strict=True):
        row[: len(letters)] = letters
    return padded
