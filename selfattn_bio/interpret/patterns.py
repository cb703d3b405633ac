"""Patterns of seqlets: letters counted at places, and the part of them that is informative.

Hides: strands, places over the ends of a record, and what is too little to be a motif. Callers and `refine` build patterns with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.interpret.hits import one_hot
from selfattn_bio.sequence.alphabet import DNA, Alphabet

MIN_INFORMATION = 0.25  # bits: what a pattern's outer positions must have to stay
MAX_GAP = 4  # positions of less information in a row: beyond, what follows is not the same motif
MIN_WIDTH = {4: 6, 20: 3}  # letters, by the size of the alphabet: fewer are no hit at any p that tells them from chance
MIN_TOTAL = 6.0  # bits: a motif of less is hit by chance once in 64 letters, which is not worth a hit


@dataclass(frozen=True)
class Pattern:
    """What a group of seqlets has in common.

    Attributes
    ----------
    pfm
        (width, A) counts of the alphabet's letters in the seqlets, aligned.
    seqlets
        record (row), start, end (letters, 0-based half-open), strand (+ throughout where the alphabet has no complement); one row a
        seqlet, each `width` long.
    alphabet
        Whose letters the columns are.
    """

    pfm: NDArray[np.int64]
    seqlets: pd.DataFrame
    alphabet: Alphabet = field(default=DNA, kw_only=True)

    @property
    def num_sites(self) -> int:
        """Seqlets that were counted."""
        return len(self.seqlets)

    @property
    def ppm(self) -> NDArray[np.float64]:
        """(width, A) probabilities, rows summing to 1; even where nothing was counted."""
        total = self.pfm.sum(axis=1, keepdims=True)
        return np.where(total > 0, self.pfm / np.maximum(total, 1), 1 / self.pfm.shape[1])


@dataclass(frozen=True)
class Discovery:
    """The patterns found, most seqlets first, some of them parts of others, and in `note` why there are none (else empty)."""

    patterns: list[Pattern]
    num_seqlets: int
    note: str = ""


def check_scores(letters: NDArray[np.uint8], hypothetical: NDArray[np.float32], alphabet: Alphabet) -> None:
    """Refuse hypothetical scores that are not (n, L, A) of letters (n, L), or not finite, with a ValueError."""
    shape = (*letters.shape, len(alphabet.letters))
    if hypothetical.shape != shape:
        raise ValueError(f"hypothetical must be of shape {shape}, got {hypothetical.shape}")
    if not np.isfinite(hypothetical).all():
        raise ValueError(f"hypothetical must be finite, got {hypothetical[~np.isfinite(hypothetical)][0]}")


def align(places: pd.DataFrame, records: Sequence[NDArray[np.uint8]], alphabet: Alphabet = DNA) -> Pattern | None:
    """Places of one width as a pattern trimmed to its informative part; None where that is too little.

    Parameters
    ----------
    places
        record, start, end, strand; one row at least. A place may run over the ends of its record: what is not there is not counted,
        and a place whose part in the trimmed pattern is not whole is left out.
    records
        ASCII letters, one array a record.
    alphabet
        Of the letters.
    """
    bits = information(count_letters(places, records, alphabet))
    start, end = informative_span(bits)
    if end - start < MIN_WIDTH[len(alphabet.letters)] or bits[start:end].sum() < MIN_TOTAL:
        return None
    sites = _trimmed(places, start, end)
    lengths = np.array([len(row) for row in records])[sites["record"].to_numpy(dtype=int)]
    sites = sites[(sites["start"] >= 0) & (sites["end"] <= lengths)].reset_index(drop=True)
    return Pattern(count_letters(sites, records, alphabet), sites, alphabet=alphabet) if len(sites) else None


def count_letters(places: pd.DataFrame, records: Sequence[NDArray[np.uint8]], alphabet: Alphabet = DNA) -> NDArray[np.int64]:
    """How often each letter stands at each position of the places, read on their strands: (width, A); over an end, none does."""
    width = int((places["end"] - places["start"]).iloc[0]) if len(places) else 0
    sites = np.zeros((len(places), width), dtype=np.uint8)
    for site, record, start in zip(sites, places["record"], places["start"], strict=True):
        there = records[record][max(start, 0) : max(start + width, 0)]
        site[max(-start, 0) :][: len(there)] = there
    coded = one_hot(sites, alphabet).astype(np.int64)  # (sites, width, A)
    turned = (places["strand"] == "-").to_numpy()
    coded[turned] = coded[turned][:, ::-1, ::-1]  # ACGT backwards is its complement
    return coded.sum(axis=0)


def informative_span(bits: NDArray[np.float64]) -> tuple[int, int]:
    """Where the motif is in an aligned pattern: (width,) bits -> start, end; (0, 0) if nowhere.

    Of the stretches that begin and end with a position of MIN_INFORMATION and have no gap longer than MAX_GAP, the most informative.
    """
    informative = np.flatnonzero(bits >= MIN_INFORMATION)
    if not len(informative):
        return 0, 0
    stretches = np.split(informative, np.flatnonzero(np.diff(informative) > MAX_GAP + 1) + 1)
    best = max(stretches, key=lambda stretch: bits[stretch[0] : stretch[-1] + 1].sum())
    return int(best[0]), int(best[-1]) + 1


def information(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Information content of each position in bits, (width, A) -> (width,).

    log2 A less the entropy, less (A - 1) / (2 n ln 2): what n letters drawn evenly would show by chance. Never negative.
    Source: Schneider 1986.
    """
    total, size = counts.sum(axis=1), counts.shape[1]
    p = counts / np.maximum(total, 1)[:, None]
    entropy = -(p * np.log2(np.where(p > 0, p, 1))).sum(axis=1)
    chance = (size - 1) / (2 * np.log(2) * np.maximum(total, 1))
    return np.where(total > 0, np.maximum(np.log2(size) - entropy - chance, 0), 0.0)


def _trimmed(places: pd.DataFrame, start: int, end: int) -> pd.DataFrame:
    """The places' part [start, end) as read on their strands."""
    forward = places["strand"] == "+"
    return places.assign(
        start=np.where(forward, places["start"] + start, places["end"] - end),
        end=np.where(forward, places["start"] + end, places["end"] - start),
    )
