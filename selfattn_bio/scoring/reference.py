"""Summarise a model's training data, so that unusual inputs can be reported.

The summary is a Markov chain, limits on length and ambiguity, and the errors on the validation
split. Training saves it next to the weights. Folders without it can still be used for scoring.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Annotated

import numpy as np
from safetensors.numpy import save

from selfattn_bio.arrays import Bools, Floats, Integers, Scores
from selfattn_bio.errors import ModelFolderError
from selfattn_bio.model.checkpoint import REFERENCE
from selfattn_bio.sequence.alphabet import Alphabet, Ascii
from selfattn_bio.stored import ArrayOf, Stored, checked, read_arrays

ENTRIES = 8000  # of the chain at most: order 5 for DNA, 2 for protein
OUTSIDE = 0.01  # fraction of the validation records that is out of distribution by composition
LETTERS = 5_000_000  # maximum number of positions for fitting the chain
PIECE = 1 << 16  # positions processed together, so that their arrays fit into the cache
CONFORMAL = "conformal/"  # begins the names of arrays with nonconformity scores
COPY_AGAIN = "Copy the complete model folder again, or remove this file"
INSIDE, LENGTH, AMBIGUOUS, COMPOSITION = "no", "length", "ambiguous", "composition"

Sequences = Sequence[Ascii]


@dataclass(frozen=True)
class Reference:
    """Summary of the training data of one model.

    Attributes
    ----------
    chain
        Log-probability of each symbol after each context, (A^order, A), in the training records.
    center
        Mean log-probability per symbol on the validation split.
    limits
        Five values: shortest and longest record, largest fraction of ambiguous symbols, and the
        smallest and largest `typicality`. The fraction OUTSIDE of the validation records is below
        the smallest. The largest is stored, but very typical records are not reported.
    simplest
        Smallest entropy in bits of a record's k-mers (k = 3 for DNA, 1 for protein).
    conformal
        Nonconformity scores of the validation split by class or column (`fit_conformal`).
    """

    alphabet: Alphabet
    chain: Scores
    center: float
    limits: Floats
    conformal: dict[str, Floats] = field(default_factory=dict)
    simplest: float = 0.0

    @classmethod
    def of(
        cls, alphabet: Alphabet, train: Sequences, valid: Sequences, conformal: dict[str, Floats]
    ) -> Reference:
        """Fit the chain on the training records and the limits on the validation split.

        Splits with more than LETTERS positions are subsampled evenly. The order of the chain is the
        one that gives the validation records the highest likelihood.
        """
        train, valid = _some(train), _some(valid)
        held = _joined(alphabet, valid)
        orders = _orders(len(alphabet.letters))
        chains = [fit_chain(alphabet, train, order).astype(np.float32) for order in orders]
        means = [
            found.mean() if (found := chain[_contexts(alphabet, held, order)[:2]]).size else -np.inf
            for order, chain in enumerate(chains)
        ]
        best = int(np.argmax(means))
        center = float(means[best]) if np.isfinite(means[best]) else 0.0
        typical = cls(alphabet, chains[best], center, np.zeros(5)).typicality(valid)
        both = [*train, *valid]
        lengths, ambiguous = [len(row) for row in both], _ambiguous(alphabet, both)
        low = np.quantile(typical, OUTSIDE)
        limits = np.array([min(lengths), max(lengths), ambiguous.max(), low, typical.max()])
        simplest = float(_variety(alphabet, both).min())
        return cls(alphabet, chains[best], center, limits, conformal, simplest)

    def typicality(self, letters: Sequences) -> Floats:
        """Return how unusual the log-probability of each record is, (n,).

        The difference between a record's mean log-probability per symbol and that of the validation
        split is scaled so that it does not depend on the length.
        """
        order = round(math.log(len(self.chain), len(self.alphabet.letters)))
        totals, counts = log_likelihoods(self.alphabet, self.chain, letters, order)
        return (totals / np.maximum(counts, 1) - self.center) * np.sqrt(counts)

    def out_of_distribution(self, letters: Sequences) -> list[str]:
        """Return why each record differs from the training data.

        Values are "length", "ambiguous" (too many ambiguous symbols), "composition" or "no".
        """
        shortest, longest, most, low, _ = self.limits
        lengths, typical = np.array([len(row) for row in letters]), self.typicality(letters)
        # `typicality` alone would accept a repeat of common k-mers
        simple = _variety(self.alphabet, letters) < self.simplest
        reasons = {
            LENGTH: (lengths < shortest) | (lengths > longest),
            AMBIGUOUS: _ambiguous(self.alphabet, letters) > most,
            COMPOSITION: (typical < low) | simple,
        }
        return [str(why) for why in np.select(list(reasons.values()), list(reasons), INSIDE)]

    def save(self, folder: Path, weights_sha256: str) -> None:
        """Write the summary into a model folder."""
        tensors = {
            "chain": self.chain,
            "center": np.array([self.center]),
            "limits": self.limits,
            "simplest": np.array([self.simplest]),
        }
        for name, scores in self.conformal.items():
            tensors[f"{CONFORMAL}{name}"] = scores.astype(np.float64)
        (folder / REFERENCE).write_bytes(save(tensors, metadata={"weights_sha256": weights_sha256}))


class StoredReference(Stored):
    """The arrays of a `Reference`, as its file has them."""

    chain: Annotated[Scores, ArrayOf("float32", ("contexts", "letters"), high=0)]
    center: Annotated[Floats, ArrayOf("float64", (1,))]
    limits: Annotated[Floats, ArrayOf("float64", (5,))]
    simplest: Annotated[Floats, ArrayOf("float64", (1,), low=0)]
    conformal: dict[str, Annotated[Floats, ArrayOf("float64")]]


def load_reference(folder: Path, alphabet: Alphabet, weights_sha256: str) -> Reference | None:
    """Read the summary from a model folder; return None if the folder has none.

    Raises
    ------
    ModelFolderError
        If the file is damaged, an array has a wrong type, size or value, or it belongs to other
        weights.
    """
    path = folder / REFERENCE
    if not path.exists():
        return None
    arrays, metadata = read_arrays(path, COPY_AGAIN)
    conformal = {
        name.removeprefix(CONFORMAL): scores
        for name, scores in arrays.items()
        if name.startswith(CONFORMAL)
    }
    stored = checked(StoredReference, arrays | {"conformal": conformal}, path, COPY_AGAIN)
    size = len(alphabet.letters)
    message = ""
    if stored.chain.shape not in [(size**order, size) for order in _orders(size)]:
        message = f"chain has shape {stored.chain.shape}, which does not fit {size} letters"
    elif unsorted := [name for name, scores in conformal.items() if (np.diff(scores) < 0).any()]:
        message = f"conformal.{unsorted[0]} is not sorted"
    elif (there := metadata.get("weights_sha256", "none")) != weights_sha256:
        here = weights_sha256[:12]
        message = f"this file belongs to the weights {there[:12]}, but the folder has {here}"
    if message:
        raise ModelFolderError(message, place=str(path), hint=COPY_AGAIN)
    center, simplest = float(stored.center[0]), float(stored.simplest[0])
    return Reference(alphabet, stored.chain, center, stored.limits, conformal, simplest)


def _orders(size: int) -> list[int]:
    """Return the possible orders of a chain of an alphabet with `size` letters."""
    return [order for order in range(8) if size ** (order + 1) <= ENTRIES]


def _some(letters: Sequences) -> Sequences:
    """Return all records, or every n-th so that they have about LETTERS positions."""
    total = sum(len(row) for row in letters)
    return letters[:: math.ceil(total / LETTERS)] if total > LETTERS else letters


def _joined(alphabet: Alphabet, letters: Sequences) -> Ascii:
    """Concatenate the codes of all records.

    An ambiguous symbol between records prevents contexts that span two of them.
    """
    between = np.array([len(alphabet.letters)], np.uint8)
    return np.concatenate([part for row in letters for part in (alphabet.codes(row), between)])


def fit_chain(alphabet: Alphabet, letters: Sequences, order: int) -> Floats:
    """Return the log-probabilities (A^order, A) of a Markov chain, with a pseudocount of 1."""
    size = len(alphabet.letters)
    counts = np.ones(size ** (order + 1))
    for _, _, context, letter in _batches(alphabet, letters, order):
        counts += np.bincount(context * size + letter, minlength=len(counts))
    table = counts.reshape(-1, size)
    return np.log(table / table.sum(axis=1, keepdims=True))


def log_likelihoods(
    alphabet: Alphabet, chain: Floats | Scores, letters: Sequences, order: int
) -> tuple[Floats, Floats]:
    """Return the sum of the log-probabilities of each record, and its number of symbols, both (n,).

    Symbols count if they and the `order` symbols before them are not ambiguous. The chain may have
    a lower order.
    """
    totals, counts = np.zeros((2, len(letters)))
    for first, rows, context, letter in _batches(alphabet, letters, order):
        number = np.bincount(rows)
        found = slice(first, first + len(number))
        totals[found] += np.bincount(rows, chain[context % len(chain), letter])
        counts[found] += number
    return totals, counts


def _contexts(alphabet: Alphabet, codes: Ascii, order: int) -> tuple[Integers, Ascii, Bools]:
    """Return context and symbol, each (m,), of every position with `order` symbols before it.

    Positions with an ambiguous symbol are left out. The third array tells which of the N - order
    positions are left, in the order of the record.
    """
    size, m = len(alphabet.letters), max(0, len(codes) - order)
    unambiguous = codes < size
    known, context = unambiguous[order:].copy(), np.zeros(m, np.int64)
    for offset in range(order):
        known &= unambiguous[offset : offset + m]
        context *= size
        context += codes[offset : offset + m]
    return context[known], codes[order:][known], known


def _batches(
    alphabet: Alphabet, letters: Sequences, order: int
) -> Iterator[tuple[int, Integers, Integers, Ascii]]:
    """Yield contexts and symbols of all records, for about PIECE positions at a time.

    Records that are longer are cut.

    Yields
    ------
    Number of the first record; then for each position the number of its record, counted from that
    one, its context and its symbol.
    """
    pieces = [
        (number, record[start : start + PIECE + order])
        for number, record in enumerate(letters)
        for start in range(0, max(1, len(record) - order), PIECE)
    ]
    groups = np.cumsum([len(piece) for _, piece in pieces]) // PIECE
    for _, group in groupby(range(len(pieces)), key=groups.tolist().__getitem__):
        numbers, parts = zip(*(pieces[i] for i in group), strict=True)
        context, letter, known = _contexts(alphabet, _joined(alphabet, parts), order)
        rows = np.repeat(np.subtract(numbers, numbers[0]), [len(part) + 1 for part in parts])
        yield numbers[0], rows[order:][known], context, letter


def _variety(alphabet: Alphabet, letters: Sequences) -> Floats:
    """Return the entropy of each record's k-mers in bits, (n,).

    It is 0 for a homopolymer, 1 for two alternating symbols and at most 6 for DNA.
    """
    size = len(alphabet.letters)
    order = 2 if size == 4 else 0
    counts = np.zeros((len(letters), size ** (order + 1)))
    for first, rows, context, letter in _batches(alphabet, letters, order):
        found = np.bincount(rows * counts.shape[1] + context * size + letter)
        counts.ravel()[first * counts.shape[1] :][: len(found)] += found
    frequencies = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    return -(frequencies * np.log2(np.where(counts > 0, frequencies, 1))).sum(axis=1)


def _ambiguous(alphabet: Alphabet, letters: Sequences) -> Floats:
    """Return the fraction of ambiguous symbols of each record, (n,)."""
    every = np.zeros((1, len(alphabet.letters)))  # a chain of order 0
    _, known = log_likelihoods(alphabet, every, letters, 0)
    lengths = np.maximum([len(row) for row in letters], 1)
    return (lengths - known) / lengths
