"""Find seqlets: spans that have more attribution than expected by chance, like all their parts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MIN_LENGTH, MAX_LENGTH = 4, 25  # width of a seqlet
BINS = 1000  # of the histogram of attributions per letter
CHUNK = 256  # records tested together: 10 MB at 200 bp


def call_seqlets(
    attribution: Sequence[NDArray[np.float32]],
    *,
    threshold: float = 0.01,
    min_length: int = MIN_LENGTH,
    max_length: int = MAX_LENGTH,
) -> pd.DataFrame:
    """Find spans with more attribution than the same number of randomly sampled letters.

    A seqlet is the longest span in which each part of at least `min_length` letters is significant
    as well. It therefore does not grow over letters without attribution, however large the
    attribution of the others. Example: with attributions 0 0 9 9 9 9 0 0 among many zeros and
    `min_length` 3, the spans [2, 5), [3, 6) and [2, 6) are significant and the seqlet is [2, 6).

    Parameters
    ----------
    attribution
        Attribution of each letter, one array per record, of any lengths.
    threshold
        p-value threshold in (0, 1). The p-value is the probability that the same number of letters,
        sampled from all records, has at least the same sum.
    min_length, max_length
        Width of a seqlet, 1 <= min_length <= max_length.

    Returns
    -------
    One row per seqlet: record (row of `attribution`), start, end (0-based half-open), attribution
    (sum), p_value; sorted by record and position. Seqlets of a record do not overlap.

    Raises
    ------
    ValueError
        If `threshold` is not in (0, 1), the widths are not in order, or an attribution is not
        finite.

    References
    ----------
    Schreiber 2025, tangermeme 1.0 `seqlet.recursive_seqlets`: the idea and the null distribution.
    In tangermeme a span that starts before a called seqlet may overlap it; here it may not.
    """
    if not 0 < threshold < 1:
        raise ValueError(f"threshold is {threshold}; choose a value between 0 and 1")
    if not 1 <= min_length <= max_length:
        raise ValueError(
            f"min_length {min_length} and max_length {max_length} are not positive lengths in "
            "increasing order"
        )
    lengths = np.array([len(row) for row in attribution])
    rows = np.zeros((len(attribution), max(lengths.max(initial=0), max_length)))
    for row, values in zip(rows, attribution, strict=True):
        row[: len(values)] = values
    if not np.isfinite(rows).all():
        raise ValueError(f"attribution contains {rows[~np.isfinite(rows)][0]}")
    inside = np.arange(rows.shape[1]) < lengths[:, None]
    low, high = (
        (float(rows[inside].min()), float(rows[inside].max())) if inside.any() else (0.0, 0.0)
    )
    if low == high:  # constant attributions have no seqlets
        return _table([])
    width = (high - low) / (BINS - 1)
    tails = _tails(
        np.bincount(((rows[inside] - low) / width).astype(np.int64), minlength=BINS) / inside.sum(),
        max_length,
    )
    found = []
    for first in range(0, len(rows), CHUNK):
        part = slice(first, first + CHUNK)
        for record, start, end, total, p in _decoded(
            rows[part], lengths[part], low, width, tails, threshold, min_length
        ):
            found.append((first + record, start, end, total, p))
    return _table(found)


def _table(rows: list[tuple[int, int, int, float, float]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["record", "start", "end", "attribution", "p_value"])
    table = table.astype(
        {"record": int, "start": int, "end": int, "attribution": float, "p_value": float}
    )
    return table.sort_values(["record", "start"], ignore_index=True)


def _tails(density: NDArray[np.float64], max_length: int) -> list[NDArray[np.float64]]:
    """Return the probability that a sum is in each bin or higher, for 0 to `max_length` letters."""
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
    """Return the seqlets of some records: record, start, end, sum, p-value.

    If spans overlap, the longest wins, then the one with the lowest p-value.
    """
    sums = np.concatenate([np.zeros((len(rows), 1)), np.cumsum(rows, axis=1)], axis=1)
    candidates, before = [], None
    for length in range(min_length, len(tails)):
        totals = sums[:, length:] - sums[:, :-length]  # (records, starts)
        bins = (
            np.floor((totals - low * length) / width)
            .astype(np.int64)
            .clip(0, len(tails[length]) - 1)
        )
        p = tails[length][bins]
        stands_out = (p < threshold) & (np.arange(totals.shape[1]) + length <= lengths[:, None])
        if before is not None:
            # its two longest parts are significant, and so are all parts of these
            stands_out &= before[:, :-1] & before[:, 1:]
        before = stands_out
        record, start = np.nonzero(stands_out)
        candidates.append(
            np.column_stack(
                [record, start, start + length, totals[record, start], p[record, start]]
            )
        )
        if not len(record):
            break
    spans = np.concatenate(candidates)
    taken = np.zeros(rows.shape, dtype=bool)
    found = []
    for record, start, end, total, p_value in spans[
        np.lexsort((spans[:, 1], spans[:, 4], spans[:, 1] - spans[:, 2]))
    ].tolist():
        interval = (int(record), slice(int(start), int(end)))
        if not taken[interval].any():
            taken[interval] = True
            found.append((interval[0], interval[1].start, interval[1].stop, total, p_value))
    return found
