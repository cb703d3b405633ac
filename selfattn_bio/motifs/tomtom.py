"""Compare motifs with Tomtom: the best alignment of each pair, and its p-value.

The functions for numba have plain loops over numbers only, which compile in about a second.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from selfattn_bio.arrays import Bools, Floats, Integers, compiled

MEDIAN_BINS = 1000  # of the histogram from which a median is computed


def compare(
    queries: Sequence[Floats],
    targets: Sequence[Floats],
    both_strands: bool = True,
    bins: tuple[int, int] = (100, 100),
) -> tuple[Floats, Integers, Bools]:
    """Compare all queries with all targets.

    The similarity of two columns is their negative Euclidean distance minus the median of those of
    the query's column and all columns of the targets, as an integer. The score of an alignment is
    the sum over its pairs of columns. For p-values, the columns of the targets are the background,
    and columns and alignments count as independent.

    Parameters
    ----------
    queries, targets
        Motifs (A, width). With fewer than 25 targets, p-values strongly depend on the targets.
    both_strands
        Whether the targets are also compared as reverse complements. The alphabet reversed is its
        complement.
    bins
        Number of steps between the lowest and the highest similarity of a query, and number of
        bins for each row of the targets; columns with the same bins are merged.

    Returns
    -------
    Three arrays with one row per query and one column per target: the probability that a random
    target of the same width has an alignment with at least the best score, the column of the target
    at the first column of the query, and whether the target is reverse-complemented.

    References
    ----------
    Gupta et al. 2007 (Tomtom); Schreiber 2025 (memelite, which has the same p-values for DNA:
    medians from histograms, merged columns, alignments with overhanging ends). For proteins it also
    merges some columns with different bins, because it numbers them by rounded floats.
    """
    strands = [*targets, *(target[::-1, ::-1] for target in targets if both_strands)]
    columns, number, counts = _merged(np.concatenate(strands, axis=1), bins[1])
    widths = np.array([strand.shape[1] for strand in strands])
    p, ends = np.empty((len(queries), len(strands))), np.cumsum(widths)
    score, offset = np.empty((2, *p.shape), dtype=np.int64)
    for row, query in enumerate(queries):
        squares = (query**2).sum(axis=0)[:, None] + (columns**2).sum(axis=0)
        for value, values in zip(query, columns, strict=True):
            squares -= 2 * value[:, None] * values
        similarity = np.empty((len(counts), len(squares)), dtype=np.int32)
        density = np.zeros((len(squares), bins[0] + 1))
        values = -np.sqrt(np.maximum(squares, 0))
        zero = compiled(_similarities)(values, counts, similarity, density)
        compiled(_alignments)(similarity, number, ends, score[row], offset[row])
        lowest = score[row].min()
        reached = np.zeros((widths.max() + 1, score[row].max() - lowest + 1))
        compiled(_tails)(density, zero, lowest, reached)
        p[row] = reached[widths, score[row] - lowest].clip(max=1)
    if not both_strands:
        return p, offset, np.zeros(p.shape, dtype=np.bool_)
    n = len(targets)
    is_reversed, best = score[:, :n] <= score[:, n:], np.minimum(p[:, :n], p[:, n:])
    # 1 - (1 - p)^2 would lose small p-values to rounding
    return best * (2 - best), np.where(is_reversed, offset[:, n:], offset[:, :n]), is_reversed


def _merged(columns: Floats, bins: int) -> tuple[Floats, Integers, Integers]:
    """Merge columns (A, n) with equal bins.

    Returns the first column of each group (A, m), the group of each column (n,), and the sizes of
    the groups (m,).
    """
    low, high = columns.min(axis=1, keepdims=True), columns.max(axis=1, keepdims=True)
    steps = np.around((columns - low) / np.where(high > low, high - low, 1) * (bins - 1))
    _, first, number, counts = np.unique(
        steps[::-1], axis=1, return_index=True, return_inverse=True, return_counts=True
    )
    return columns[:, first], number.reshape(-1), counts


def _similarities(values: Floats, counts: Integers, similarity: Integers, density: Floats) -> int:
    """Fill the similarities (m, width) and the distribution of each column (width, bins).

    Compiled by numba. `values` are the negative distances, (width, m). The similarities have the
    columns of the query in reverse order, and 0 at the median, whose index in the distributions is
    returned.
    """
    (width, size), total = values.shape, counts.sum()
    sums, sizes, medians = np.empty(MEDIAN_BINS), np.empty(MEDIAN_BINS), np.empty(width)
    lowest = highest = 0.0
    for row in range(width):
        low, high = 0.0, -np.inf
        for column in range(size):
            low, high = min(low, values[row, column]), max(high, values[row, column])
        for at in range(MEDIAN_BINS):
            sums[at] = sizes[at] = 0.0
        for column in range(size):
            at = int((values[row, column] - low) / max(high - low, 1e-99) * (MEDIAN_BINS - 1))
            sums[at] += values[row, column] * counts[column]
            sizes[at] += counts[column]
        at, below = 0, sizes[0]
        while 2 * below < total:
            at += 1
            below += sizes[at]
        medians[row] = sums[at] / sizes[at]
        lowest, highest = min(lowest, low - medians[row]), max(highest, high - medians[row])
    first = math.floor(lowest)
    scale = math.floor((density.shape[1] - 1) / max(highest - first, 1.0))
    for row in range(width):
        for column in range(size):
            at = math.floor((values[row, column] - (medians[row] + first)) * scale + 0.5)
            similarity[column, width - 1 - row] = at + first * scale
            density[row, at] += counts[column] / total
    return -first * scale


def _alignments(
    similarity: Integers, number: Integers, ends: Integers, score: Integers, offset: Integers
) -> None:
    """Fill the best score with each target, and the offset of the query; compiled by numba.

    `number` has the row of `similarity` (m, width) for each column of all targets, and `ends` the
    end of each target in it.
    """
    width, start = similarity.shape[1], 0
    totals = np.empty(width + len(number), np.int32)
    for target in range(len(ends)):
        size = ends[target] - start
        for at in range(size + width - 1):
            totals[at] = 0
        for at in range(size):
            for row in range(width):
                totals[at + row] += similarity[number[start + at], row]
        start, best = ends[target], totals[0]
        for at in range(size + width - 1):
            best = max(best, totals[at])
        score[target], offset[target] = best, -width
        for at in range(size + width - 1):
            overlap = min(at + 1, width) - max(0, at + 1 - size)
            if totals[at] == best and offset[target] < overlap:  # memelite's choice among equals
                offset[target] = at + 1 - width


def _tails(density: Floats, zero: int, lowest: int, reached: Floats) -> None:
    """Fill the probability that the best alignment scores at least `lowest`, one more, and so on.

    Compiled by numba. `reached` is (width of the target + 1, scores); `density` (width, bins) has
    the distributions of the columns, with 0 at `zero`.
    """
    width, bins = density.shape
    sums, tail = np.zeros((width, width * bins)), np.zeros(width * bins + 1)
    for first in range(width):
        sums[first, 0] = 1.0
    for length in range(1, width + 1):
        largest = length * (bins - 1)
        for first in range(width - length + 1):
            # the sum of `length` columns from `first` on, then the probability to reach it
            for at in range(largest + 2):
                tail[at] = 0.0
            for step in range(bins):
                for at in range(largest - bins + 2):
                    tail[at + step] += density[first + length - 1, step] * sums[first, at]
            for at in range(largest, -1, -1):
                sums[first, at] = tail[at]
                tail[at] = min(tail[at] + tail[at + 1], 1.0)
            for size in range(length, len(reached)):
                if size == length or first == 0 or first == width - length:
                    for _ in range(size - width + 1 if length == width else 1):
                        for at in range(reached.shape[1]):
                            p = tail[min(max(lowest + at + length * zero, 0), largest + 1)]
                            reached[size, at] += p * (1 - reached[size, at])
