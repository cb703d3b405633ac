"""Read sequences as numbered k-mers, in full or reduced alphabets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.arrays import Bools, Integers
from selfattn_bio.sequence.alphabet import Alphabet

# 12 classes of residues from Linclust (Steinegger and Söding 2018); other letters end a k-mer.
LINCLUST = ("AST", "C", "DN", "EQ", "FY", "G", "H", "IV", "KR", "LM", "P", "W")
DNA_K, REDUCED_K, RESIDUES_K = 12, 6, 5
LETTERS_AT_ONCE = 4_000_000
# Above this, an even sample of all k-mers is used (FracMinHash, Hera et al. 2023)
MAX_KMERS = 64_000_000
MANY_LETTERS = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class KmerSettings:
    """How letters become k-mers.

    Attributes
    ----------
    classes
        The class of each letter code, or -1 for letters that no k-mer may contain.
    k
        Length of the k-mers.
    canonical
        Whether a k-mer and its reverse complement count as the same k-mer.
    """

    classes: Integers
    k: int
    canonical: bool

    @property
    def num_classes(self) -> int:
        return int(self.classes.max()) + 1


def kmer_settings(alphabet: Alphabet, k: int | None = None) -> list[KmerSettings]:
    """Return the k-mer settings of an alphabet: one for DNA and RNA, two for protein.

    K-mers of DNA are canonical, those of RNA are not. Protein is read in a reduced alphabet, and
    also in full residues with k smaller by one, which helps with peptides: a match of seven reduced
    residues can be chance, a match of seven residues cannot.
    With `k` at most 27 (DNA) or 14 (protein), a k-mer number fits in 63 bits.
    """
    itself = np.array([*range(len(alphabet.letters)), -1])
    if alphabet.is_nucleic:
        return [KmerSettings(itself, k or DNA_K, canonical=alphabet.has_complement)]
    class_of = {letter: number for number, letters in enumerate(LINCLUST) for letter in letters}
    reduced = np.array([*(class_of[letter] for letter in alphabet.letters), -1])
    return [
        KmerSettings(reduced, k or REDUCED_K, canonical=False),
        KmerSettings(itself, (k - 1) if k else RESIDUES_K, canonical=False),
    ]


def kmers(letters: NDArray[np.uint8], alphabet: Alphabet, settings: KmerSettings) -> Integers:
    """Return the number of the k-mer that starts at each letter, shape (L,).

    The number is -1 if the k-mer extends past the end or contains a letter without a class. With
    canonical settings, the smaller number of the k-mer and its reverse complement is returned.
    """
    codes = settings.classes[np.minimum(alphabet.codes(letters), len(alphabet.letters))]
    base, k, length = settings.num_classes, settings.k, len(codes)
    bad = np.concatenate([codes < 0, np.ones(k - 1, bool)])
    codes = np.concatenate([codes, np.zeros(k - 1, np.int64)])
    number = np.zeros(length, np.int64)
    reverse = np.zeros(length, np.int64)
    hit = np.zeros(length, bool)
    for i in range(k):
        letter = codes[i : i + length]
        number = number * base + letter
        if settings.canonical:
            reverse += (base - 1 - letter) * base**i
        hit |= bad[i : i + length]
    return np.where(hit, -1, np.minimum(number, reverse) if settings.canonical else number)


def distinct_kmers(
    letters: NDArray[np.uint8],
    alphabet: Alphabet,
    settings: KmerSettings,
    fraction: float = 1.0,
    *,
    reverse: bool = False,
) -> Integers:
    """Return the distinct k-mers on one strand of a record, sorted.

    With `fraction` < 1, return an even sample of that fraction of all possible k-mers; the same
    k-mers are sampled in every record. With `reverse`, return the k-mers of the reverse complement.
    Long records are processed in pieces.
    """
    found, of_strand = [np.zeros(0, np.int64)], replace(settings, canonical=False)
    for start in range(0, len(letters), LETTERS_AT_ONCE):
        piece = letters[start : start + LETTERS_AT_ONCE + settings.k - 1]
        piece = alphabet.reverse_complement(piece) if reverse else piece
        numbers = kmers(piece, alphabet, of_strand)
        found.append(np.unique(numbers[(numbers >= 0) & sampled(numbers, fraction)]))
    return np.unique(np.concatenate(found))


def sampled(numbers: Integers, fraction: float) -> Bools | np.bool_:
    """Return which k-mers belong to an even sample of a fraction of all possible k-mers."""
    return np.bool_(True) if fraction >= 1 else hashed(numbers) < np.uint64(fraction * 2.0**64)


def hashed(numbers: Integers) -> NDArray[np.uint64]:
    """Hash numbers evenly over 64 bits: the finaliser of splitmix64 (Steele et al. 2014)."""
    z = numbers.astype(np.uint64) + MANY_LETTERS
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def all_kmers(
    letters: Sequence[NDArray[np.uint8]],
    alphabet: Alphabet,
    settings: KmerSettings,
    lengths: Integers,
) -> tuple[Integers, Integers, float]:
    """Return the k-mers of all records, their rows, and the chance that two letters match."""
    kept = min(1.0, MAX_KMERS / max(1, int(lengths.sum())))
    numbers, rows = [np.zeros(0, np.int64)], [np.zeros(0, np.int32)]
    counts = np.zeros(settings.num_classes, np.int64)
    for pieces in _blocks(lengths, settings.k):
        # A padding 0 after each piece, so that no k-mer spans two pieces.
        text = b"".join(letters[row][start:end].tobytes() + b"\0" for row, start, end in pieces)
        block = np.frombuffer(text, np.uint8)
        row_of = np.array([row for row, _, _ in pieces], np.int32)
        at = np.repeat(row_of, [end - start + 1 for _, start, end in pieces])
        found = kmers(block, alphabet, settings)
        wanted = (found >= 0) & sampled(found, kept)
        numbers.append(found[wanted])
        rows.append(at[wanted])
        classes = settings.classes[np.minimum(alphabet.codes(block), len(alphabet.letters))]
        counts += np.bincount(classes[classes >= 0], minlength=settings.num_classes)
    frequencies = counts / max(1, counts.sum())
    match = float(np.clip((frequencies**2).sum(), 1e-3, 0.99))
    return np.concatenate(numbers), np.concatenate(rows), match


def _blocks(lengths: Integers, k: int) -> Iterator[list[tuple[int, int, int]]]:
    """Yield pieces of records, (row, start, end), of LETTERS_AT_ONCE letters or a bit more.

    Long records are split into pieces that overlap by k - 1 letters.
    """
    block, size = [], 0
    for row, length in enumerate(lengths.tolist()):
        for start in range(0, length, LETTERS_AT_ONCE):
            end = min(length, start + LETTERS_AT_ONCE + k - 1)
            block.append((row, start, end))
            size += end - start
            if size >= LETTERS_AT_ONCE:
                yield block
                block, size = [], 0
    if block:
        yield block
