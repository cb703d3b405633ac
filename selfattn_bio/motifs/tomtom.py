"""Compare motifs with Tomtom: the best alignment of each pair, and its p-value.

The functions for numba have plain loops over numbers only, which compile in about a second.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.arrays import Bools, Floats, Integers, compiled

MEDIAN_BINS = 1000  # of the histogram from which a median is computed


class Comparison(NamedTuple):
    """Best alignments, one row per query and one column per target.

    Attributes
    ----------
    p
        Probability that a random target of the same width has an alignment with as high a score.
    offset
        Column of the target, on its strand, that is aligned with the first column of the query.
    is_reversed
        Whether the target is reverse-complemented.
    """

    p: Floats
    offset: Integers
    is_reversed: Bools


def compare(
    queries: Sequence[Floats],
    targets: Sequence[Floats],
    *,
    both_strands: bool = True,
    score_bins: int = 100,
    column_bins: int = 100,
) -> Comparison:
    """Compare all queries with all targets.

    The similarity of two columns is their negative Euclidean distance minus the median distance of
    the query's column to all columns of the targets, as an integer. The score of an alignment is
    the sum over its pairs of columns. The p-value takes similarities of columns and scores of
    alignments as independent, and the columns of the targets as background.

    Parameters
    ----------
    queries, targets
        Motifs (A, width). With fewer than 25 targets, p-values strongly depend on the targets.
    both_strands
        Whether the targets are also compared as reverse complements. The alphabet reversed is its
        complement.
    score_bins
        Number of steps between the lowest and the highest similarity of a query.
    column_bins
        Columns of targets are merged if each value is in the same one of this number of bins.

    References
    ----------
    Gupta et al. 2007 (Tomtom); Schreiber 2025 (memelite, which has the same p-values: alignments
    may overhang, medians from histograms, merged columns).
    """
    strands = [*targets, *(target[::-1, ::-1] for target in targets if both_strands)]
    columns, number, counts = _merged(np.concatenate(strands, axis=1), column_bins)
    widths = np.array([strand.shape[1] for strand in strands])
    ends = np.cumsum(widths)
    p = np.empty((len(queries), len(strands)))
    score, offset = (np.empty(p.shape, dtype=np.int64) for _ in range(2))
    for row, query in enumerate(queries):
        # numba compiles again for read-only arrays and those in another order
        query = np.array(query, order="C", dtype=np.float64)
        width = query.shape[1]
        similarity = np.empty((len(counts), width), dtype=np.int32)
        density = np.zeros((width, score_bins + 1))
        norms = (query**2).sum(axis=0), (columns**2).sum(axis=0)
        zero = compiled(_similarities)(query, columns, norms, counts, similarity, density)
        compiled(_alignments)(similarity, number, ends, score[row], offset[row])
        lowest = score[row].min()
        reached = np.zeros((widths.max() + 1, score[row].max() - lowest + 1))
        compiled(_tails)(density, zero, lowest, reached)
        p[row] = reached[widths, score[row] - lowest]
    if not both_strands:
        return Comparison(p, offset, np.zeros(p.shape, dtype=np.bool_))
    (p, other_p), (score, other_score), (offset, other_offset) = (
        np.split(each, 2, axis=1) for each in (p, score, offset)
    )
    p, is_reversed = np.minimum(p, other_p), score <= other_score
    # 1 - (1 - p)^2 loses small p-values to rounding
    return Comparison(p * (2 - p), np.where(is_reversed, other_offset, offset), is_reversed)


def _merged(columns: Floats, bins: int) -> tuple[Floats, Integers, Integers]:
    """Merge similar columns (A, n): one per group (A, m), the group of each, their sizes (m,)."""
    low, high = columns.min(axis=1, keepdims=True), columns.max(axis=1, keepdims=True)
    steps = np.around((columns - low) / np.where(high > low, high - low, 1) * (bins - 1))
    keys = steps.T.dot(bins ** np.arange(len(columns)))
    _, first, number, counts = np.unique(
        keys, return_index=True, return_inverse=True, return_counts=True
    )
    return np.ascontiguousarray(columns[:, first]), number, counts


def _similarities(
    query: Floats,
    columns: Floats,
    norms: tuple[Floats, Floats],
    counts: Integers,
    similarity: NDArray[np.int32],
    density: Floats,
) -> int:
    """Fill the similarities (m, width) and the distribution of each column (width, bins).

    Compiled by numba. `norms` are the squared lengths of the columns of the query (A, width) and
    of the targets (A, m). The columns of the query are reversed in the similarities, 0 is the
    median. Returns its index in the distributions.
    """
    width, size, total = query.shape[1], columns.shape[1], counts.sum()
    values, medians = np.empty((width, size)), np.empty(width)
    sums, sizes = np.empty(MEDIAN_BINS), np.empty(MEDIAN_BINS)
    lowest = highest = 0.0
    for row in range(width):
        for column in range(size):
            values[row, column] = norms[0][row] + norms[1][column]
        for letter in range(len(query)):
            for column in range(size):
                values[row, column] -= 2 * query[letter, row] * columns[letter, column]
        low, high = 0.0, -np.inf
        for column in range(size):
            value = -math.sqrt(max(values[row, column], 0.0))
            low, high, values[row, column] = min(low, value), max(high, value), value
        medians[row] = low
        if high > low:
            for at in range(MEDIAN_BINS):
                sums[at] = sizes[at] = 0.0
            for column in range(size):
                at = int((values[row, column] - low) / (high - low) * (MEDIAN_BINS - 1))
                sums[at] += values[row, column] * counts[column]
                sizes[at] += counts[column]
            at, below = 0, sizes[0]
            while 2 * below < total:
                at += 1
                below += sizes[at]
            medians[row] = sums[at] / sizes[at]
        lowest = min(lowest, low - medians[row])
        highest = max(highest, high - medians[row])
    first = math.floor(lowest)
    scale = math.floor((density.shape[1] - 1) / max(highest - first, 1.0))
    for row in range(width):
        for column in range(size):
            at = math.floor((values[row, column] - (medians[row] + first)) * scale + 0.5)
            similarity[column, width - 1 - row] = at + first * scale
            density[row, at] += counts[column] / total
    return -first * scale


def _alignments(
    similarity: NDArray[np.int32],
    number: Integers,
    ends: Integers,
    score: Integers,
    offset: Integers,
) -> None:
    """Fill the best score with each target, and the offset of the query; compiled by numba.

    `number` has the row of `similarity` (m, width) for each column of all targets, of which the
    first ends at `ends[0]`.
    """
    width, start = similarity.shape[1], 0
    totals = np.empty(width + len(number), np.int32)
    for target in range(len(ends)):
        size = ends[target] - start
        for at in range(size + width - 1):
            totals[at] = 0
        for at in range(size):
            column = number[start + at]
            for row in range(width):
                totals[at + row] += similarity[column, row]
        start = ends[target]
        best = totals[0]
        for at in range(1, size + width - 1):
            best = max(best, totals[at])
        score[target], offset[target] = best, -width
        for at in range(size + width - 1):
            overlap = min(at + 1, width) - max(0, at + 1 - size)
            if totals[at] == best and offset[target] < overlap:  # memelite's choice among equals
                offset[target] = at + 1 - width


def _tails(density: Floats, zero: int, lowest: int, reached: Floats) -> None:
    """Fill the probability that the best alignment scores at least `lowest`, one more, and so on.

    Compiled by numba. `reached` (longest + 1, scores) has a row per width of the target, filled
    from 1 on; `density` (width, bins) has the distributions of the columns, with 0 at `zero`.
    """
    width, bins = density.shape
    sums, longer = np.zeros((width, width * bins)), np.empty(width * bins + 1)
    for first in range(width):
        sums[first, 0] = 1.0
    for length in range(1, width + 1):
        largest = length * (bins - 1)
        for first in range(width - length + 1):
            # the sum of `length` similarities from the column `first` on, then its tail
            for at in range(largest + 2):
                longer[at] = 0.0
            for step in range(bins):
                p = density[first + length - 1, step]
                for at in range(largest - bins + 2):
                    longer[at + step] += p * sums[first, at]
            for at in range(largest, -1, -1):
                sums[first, at] = longer[at]
                longer[at] = min(longer[at] + longer[at + 1], 1.0)
            for size in range(length, len(reached)):
                repeats = 0
                if size == length or first == 0 or first == width - length:
                    repeats = 1
                if length == width:
                    repeats = size - width + 1
                for _ in range(repeats):
                    for at in range(reached.shape[1]):
                        p = longer[min(max(lowest + at + length * zero, 0), largest + 1)]
                        reached[size, at] += p * (1 - reached[size, at])
