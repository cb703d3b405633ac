"""Seqlets: spans of letters that carry more relevance than chance, by a test of each span and all that it holds.

Hides: the null distribution of each length, and how overlapping spans are told apart. The caller of clusters uses it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MIN_LENGTH, MAX_LENGTH = 4, 25  # letters of a seqlet
BINS = 1000  # of the relevance of one letter, for its distribution
CHUNK = 256  # records tested at once: 10 MB at 200 letters


def call_seqlets(
    relevance: Sequence[NDArray[np.float32]], *, threshold: float = 0.01, min_length: int = MIN_LENGTH, max_length: int = MAX_LENGTH
) -> pd.DataFrame:
    """Find spans of letters that carry more relevance than as many letters drawn at random.

    With relevance 0 0 9 9 9 9 0 0 among many zeros and `min_length` 3, the spans [2, 5), [3, 6) and [2, 6) stand out: the one seqlet is
    [2, 6), the longest of which each part of at least `min_length` letters stands out as well. So a seqlet does not grow over letters
    that carry nothing, however much the others do.

    Parameters
    ----------
    relevance
        Of each letter, one array a record, of any lengths.
    threshold
        p below which a span stands out, in (0, 1): the share of draws of as many letters from all records with at least this sum.
    min_length, max_length
        Letters of a seqlet, 1 <= min_length <= max_length.

    Returns
    -------
    One row a seqlet: record (row of `relevance`), start, end (letters, 0-based, half-open; those of one record do not overlap), relevance
    (sum), p_value; by record and place.

    Raises
    ------
    ValueError
        If `threshold` is not in (0, 1), the lengths are not in order, or a relevance is not finite.

    References
    ----------
    Schreiber 2025, tangermeme 1.0 `seqlet.recursive_seqlets`: the idea, and the null. There a span before one that is already called may
    run into it; here it may not.
    """
    if not 0 < threshold < 1:
        raise ValueError(f"threshold must be in (0, 1), got {threshold}")
    if not 1 <= min_length <= max_length:
        raise ValueError(f"lengths must be 1 <= min_length <= max_length, got {min_length} and {max_length}")
    lengths = np.array([len(row) for row in relevance])
    rows = np.zeros((len(relevance), max(lengths.max(initial=0), max_length)))
    for row, values in zip(rows, relevance, strict=True):
        row[: len(values)] = values
    if not np.isfinite(rows).all():
        raise ValueError(f"relevance must be finite, got {rows[~np.isfinite(rows)][0]}")
    inside = np.arange(rows.shape[1]) < lengths[:, None]
    low, high = (float(rows[inside].min()), float(rows[inside].max())) if inside.any() else (0.0, 0.0)
    if low == high:  # all letters alike: none stands out
        return _table([])
    width = (high - low) / (BINS - 1)
    tails = _tails(np.bincount(((rows[inside] - low) / width).astype(np.int64), minlength=BINS) / inside.sum(), max_length)
    found = []
    for first in range(0, len(rows), CHUNK):
        part = slice(first, first + CHUNK)
        for record, start, end, total, p in _decoded(rows[part], lengths[part], low, width, tails, threshold, min_length):
            found.append((first + record, start, end, total, p))
    return _table(found)


def _table(rows: list[tuple[int, int, int, float, float]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["record", "start", "end", "relevance", "p_value"])
    table = table.astype({"record": int, "start": int, "end": int, "relevance": float, "p_value": float})
    return table.sort_values(["record", "start"], ignore_index=True)


def _tails(density: NDArray[np.float64], max_length: int) -> list[NDArray[np.float64]]:
    """For each number of letters from 0 to `max_length` the share of draws whose sum falls into a bin or a higher one."""
    tails, of_sum = [np.ones(1)], np.ones(1)
    for _ in range(max_length):
        of_sum = np.convolve(of_sum, density)
        tails.append(np.cumsum(of_sum[::-1])[::-1].clip(0, 1))
    return tails


def _decoded(
    rows: NDArray[np.float64],
    lengths: NDArray[np.int64],
    low: float,
    width: float,
    tails: list[NDArray[np.float64]],
    threshold: float,
    min_length: int,
) -> list[tuple[int, int, int, float, float]]:
    """The seqlets of some records: record, start, end, sum, p; of spans that overlap the longest, of equally long ones that of least p."""
    sums = np.concatenate([np.zeros((len(rows), 1)), np.cumsum(rows, axis=1)], axis=1)
    candidates, before = [], None
    for length in range(min_length, len(tails)):
        totals = sums[:, length:] - sums[:, :-length]  # (records, starts)
        bins = np.floor((totals - low * length) / width).astype(np.int64).clip(0, len(tails[length]) - 1)
        p = tails[length][bins]
        stands_out = (p < threshold) & (np.arange(totals.shape[1]) + length <= lengths[:, None])
        if before is not None:
            stands_out &= before[:, :-1] & before[:, 1:]  # its two longest parts, and so all that these hold
        before = stands_out
        record, start = np.nonzero(stands_out)
        candidates.append(np.column_stack([record, start, start + length, totals[record, start], p[record, start]]))
        if not len(record):
            break
    spans = np.concatenate(candidates)
    taken = np.zeros(rows.shape, dtype=bool)
    found = []
    for record, start, end, total, p_value in spans[np.lexsort((spans[:, 1], spans[:, 4], spans[:, 1] - spans[:, 2]))].tolist():
        place = (int(record), slice(int(start), int(end)))
        if not taken[place].any():
            taken[place] = True
            found.append((place[0], place[1].start, place[1].stop, total, p_value))
    return found
