"""Build patterns from aligned seqlets: count letters and trim to the informative part.

Handles strands, sites that cross the end of a record and patterns too weak to be motifs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.interpret.hits import one_hot
from selfattn_bio.sequence.alphabet import DNA, Alphabet

MIN_INFORMATION = 0.25  # bits required at the first and last position of a pattern
MAX_GAP = 4  # positions with less information in a row; a longer gap separates two motifs
# alphabet size to width: shorter motifs cannot reach a significant p-value
MIN_WIDTH = {4: 6, 20: 3}
MIN_TOTAL = 6.0  # bits; a weaker motif has a hit by chance every 64 positions


@dataclass(frozen=True)
class SeqletPattern:
    """Alignment of a group of seqlets.

    Attributes
    ----------
    pfm
        (width, A) counts of each letter of the alphabet at each position.
    seqlets
        record (row), start, end (0-based half-open), strand (always + without a complement). One
        row per seqlet, each `width` long.
    alphabet
        Alphabet of the columns.
    """

    pfm: NDArray[np.int64]
    seqlets: pd.DataFrame
    alphabet: Alphabet = field(default=DNA, kw_only=True)

    @property
    def num_sites(self) -> int:
        """Return the number of seqlets."""
        return len(self.seqlets)

    @property
    def ppm(self) -> NDArray[np.float64]:
        """Return (width, A) probabilities; uniform at positions without counts."""
        total = self.pfm.sum(axis=1, keepdims=True)
        return np.where(total > 0, self.pfm / np.maximum(total, 1), 1 / self.pfm.shape[1])


@dataclass(frozen=True)
class Discovery:
    """Patterns found by a caller, most seqlets first; patterns may be parts of others.

    If there are none, `note` has the reason; otherwise it is empty.
    """

    patterns: list[SeqletPattern]
    num_seqlets: int
    note: str = ""


def check_scores(
    letters: NDArray[np.uint8], hypothetical: NDArray[np.float32], alphabet: Alphabet
) -> None:
    """Raise ValueError unless hypothetical scores are (n, L, A) and finite, for letters (n, L)."""
    shape = (*letters.shape, len(alphabet.letters))
    if hypothetical.shape != shape:
        raise ValueError(f"hypothetical has shape {hypothetical.shape} instead of {shape}")
    if not np.isfinite(hypothetical).all():
        raise ValueError(f"hypothetical contains {hypothetical[~np.isfinite(hypothetical)][0]}")


def align(
    intervals: pd.DataFrame, records: Sequence[NDArray[np.uint8]], alphabet: Alphabet = DNA
) -> SeqletPattern | None:
    """Build a pattern from intervals of one width and trim it to its informative part.

    Returns None if the informative part is too short or too weak.

    Parameters
    ----------
    intervals
        record, start, end, strand; at least one row. An interval may cross the end of its record:
        missing positions are not counted, and an interval that is incomplete after trimming is left
        out.
    records
        ASCII letters, one array per record.
    alphabet
        Alphabet of the records.
    """
    bits = information(count_letters(intervals, records, alphabet))
    start, end = informative_span(bits)
    if end - start < MIN_WIDTH[len(alphabet.letters)] or bits[start:end].sum() < MIN_TOTAL:
        return None
    sites = _trimmed(intervals, start, end)
    lengths = np.array([len(row) for row in records])[sites["record"].to_numpy(dtype=int)]
    sites = sites[(sites["start"] >= 0) & (sites["end"] <= lengths)].reset_index(drop=True)
    return (
        SeqletPattern(count_letters(sites, records, alphabet), sites, alphabet=alphabet)
        if len(sites)
        else None
    )


def count_letters(
    intervals: pd.DataFrame, records: Sequence[NDArray[np.uint8]], alphabet: Alphabet = DNA
) -> NDArray[np.int64]:
    """Count each letter at each position of the intervals, read on their strands: (width, A).

    Positions beyond the end of a record are not counted.
    """
    width = int((intervals["end"] - intervals["start"]).iloc[0]) if len(intervals) else 0
    sites = np.zeros((len(intervals), width), dtype=np.uint8)
    for site, record, start in zip(sites, intervals["record"], intervals["start"], strict=True):
        there = records[record][max(start, 0) : max(start + width, 0)]
        site[max(-start, 0) :][: len(there)] = there
    coded = one_hot(sites, alphabet).astype(np.int64)  # (sites, width, A)
    is_reversed = (intervals["strand"] == "-").to_numpy()
    coded[is_reversed] = coded[is_reversed][:, ::-1, ::-1]  # ACGT reversed is its complement
    return coded.sum(axis=0)


def informative_span(bits: NDArray[np.float64]) -> tuple[int, int]:
    """Return start and end of the motif in an aligned pattern with (width,) bits.

    A candidate starts and ends with a position of at least MIN_INFORMATION bits and has no gap
    longer than MAX_GAP. The most informative candidate is returned; (0, 0) if there is none.
    """
    informative = np.flatnonzero(bits >= MIN_INFORMATION)
    if not len(informative):
        return 0, 0
    stretches = np.split(informative, np.flatnonzero(np.diff(informative) > MAX_GAP + 1) + 1)
    best = max(stretches, key=lambda stretch: bits[stretch[0] : stretch[-1] + 1].sum())
    return int(best[0]), int(best[-1]) + 1


def information(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the information content of each position in bits, (width, A) to (width,).

    It is log2 A minus the entropy, minus (A - 1) / (2 n ln 2), the value expected for n uniformly
    sampled letters. Never negative.

    References
    ----------
    Schneider 1986.
    """
    total, size = counts.sum(axis=1), counts.shape[1]
    p = counts / np.maximum(total, 1)[:, None]
    entropy = -(p * np.log2(np.where(p > 0, p, 1))).sum(axis=1)
    chance = (size - 1) / (2 * np.log(2) * np.maximum(total, 1))
    return np.where(total > 0, np.maximum(np.log2(size) - entropy - chance, 0), 0.0)


def _trimmed(intervals: pd.DataFrame, start: int, end: int) -> pd.DataFrame:
    """Cut the intervals to [start, end), in coordinates of their strands."""
    forward = intervals["strand"] == "+"
    return intervals.assign(
        start=np.where(forward, intervals["start"] + start, intervals["end"] - end),
        end=np.where(forward, intervals["start"] + end, intervals["end"] - start),
    )
