"""Score sequences with position weight matrices: best hit and total occupancy on both strands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.sequence.alphabet import DNA

Letters = Sequence[NDArray[np.uint8]]
PSEUDOCOUNT = 0.01  # fraction of uniform base frequencies that is mixed into each position
STEP = 256  # log-odds are multiples of 1 / STEP: their float32 sums are exact, whatever the order
OCCUPANCY_STEP = 64  # occupancies are rounded to multiples of 1 / OCCUPANCY_STEP
CHUNK = 1 << 14  # bp scored at once, unless a record is longer


@dataclass(frozen=True)
class ScoreMatrices:
    """Log-odds matrices of DNA motifs relative to uniform base frequencies.

    A record has two scores per motif. The best hit is the highest sum of log-odds (natural
    logarithm) over all windows on both strands. The occupancy is log(sum(exp(.))) over the same
    windows. Ambiguous bases score 0. A record shorter than a motif has one window, with the motif's
    first positions over the record's bases.

    Parameters
    ----------
    labels
        Motif names.
    values
        Log-odds (M, W, 4), float32, where W is the width of the widest motif; 0 past the end of a
        narrower one.
    widths
        Number of positions of each motif, (M,).
    """

    labels: tuple[str, ...]
    values: NDArray[np.float32]
    widths: NDArray[np.int64]

    @classmethod
    def of(cls, ppms: Mapping[str, NDArray[np.float64]]) -> ScoreMatrices:
        """Convert probabilities (width, 4) to log-odds."""
        widths = np.array([len(ppm) for ppm in ppms.values()], dtype=np.int64)
        values = np.zeros((len(ppms), int(widths.max(initial=0)), 4), np.float32)
        for row, ppm in zip(values, ppms.values(), strict=True):
            row[: len(ppm)] = (
                np.round(np.log((1 - PSEUDOCOUNT) * ppm * 4 + PSEUDOCOUNT) * STEP) / STEP
            )
        return cls(tuple(ppms), values, widths)

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def groups(self) -> list[tuple[int, NDArray[np.int64], NDArray[np.float32]]]:
        """Return the motifs grouped by width.

        Returns
        -------
        For each width w: the width, the rows of its motifs (m,), and their matrices on both strands
        (2 m, w, 4).
        """
        found = []
        for width in np.unique(self.widths):
            rows = np.flatnonzero(self.widths == width)
            forward = self.values[rows, :width]
            # Reversing the order ACGT gives the complement
            found.append((int(width), rows, np.concatenate([forward, forward[:, ::-1, ::-1]])))
        return found

    def scores(self, letters: Letters) -> NDArray[np.float32]:
        """Score records of any length.

        Returns
        -------
        Shape (n, 2 M): best hits, then occupancies.
        """
        scores = np.empty((len(letters), 2 * len(self)), np.float32)
        for rows in _chunks(letters):
            lengths = np.array([len(letters[row]) for row in rows])
            bases = one_hot(
                [letters[row] for row in rows],
                max(int(lengths.max()), int(self.widths.max(initial=0))),
            )
            for width, motifs, matrices in self.groups:
                best, total = _best_and_total(bases, lengths, width, matrices)
                half = len(motifs)
                both = np.maximum(best[:, :half], best[:, half:])
                # Both strands relative to their common best hit
                total = total * np.exp(best - np.tile(both, 2))
                scores[rows[:, None], motifs] = both
                scores[rows[:, None], motifs + len(self)] = _rounded(
                    both + np.log(total[:, :half] + total[:, half:])
                )
        return scores

    def substituted(
        self, record: NDArray[np.uint8], motifs: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Score a record and all records with one base replaced.

        Parameters
        ----------
        record
            ASCII bases, shape (L,).
        motifs
            Rows of the motifs to score, (m,).

        Returns
        -------
        Scores of the record, (2 m,), and of the substituted records, (L, 4, 2 m), in the layout of
        `scores`.
        """
        wanted = {int(motif): number for number, motif in enumerate(motifs)}
        given, changed = np.empty(2 * len(motifs)), np.empty((len(record), 4, 2 * len(motifs)))
        for width, rows, matrices in self.groups:
            inside = np.array([row in wanted for row in rows.tolist()])
            if not inside.any():
                continue
            columns = np.array([wanted[row] for row in rows[inside].tolist()])
            (best, occupancy), (new_best, new_occupancy) = _substituted(
                record, width, matrices[np.tile(inside, 2)]
            )
            given[columns], given[columns + len(motifs)] = best, occupancy
            changed[..., columns], changed[..., columns + len(motifs)] = new_best, new_occupancy
        return given, changed


def one_hot(letters: Letters, length: int) -> NDArray[np.float32]:
    """Return the bases one-hot encoded, (n, length, 4).

    Ambiguous bases and positions past the end are 0.
    """
    table = np.zeros((256, 4), np.float32)
    table[list(DNA.letters.encode())] = np.eye(4)
    padded = np.zeros((len(letters), length), np.uint8)
    for row, record in zip(padded, letters, strict=True):
        row[: len(record)] = record
    return table[padded]


def _rounded(occupancy: NDArray) -> NDArray:
    return np.round(occupancy * OCCUPANCY_STEP) / OCCUPANCY_STEP


def _chunks(letters: Letters) -> Iterator[NDArray[np.int64]]:
    """Yield row numbers of records of similar length, about CHUNK bp at a time."""
    lengths = np.array([len(record) for record in letters], dtype=np.int64)
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        rows = order[start : start + max(1, CHUNK // max(1, int(lengths[order[start]])))]
        start += len(rows)
        yield rows


def _best_and_total(
    bases: NDArray[np.float32],
    lengths: NDArray[np.int64],
    width: int,
    matrices: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the highest score and the sum of exp(score - highest), (n, 2 m) each."""
    windows = np.maximum(lengths - width + 1, 1)
    most = int(windows.max())
    flat = bases.reshape(len(bases), -1)
    # (n, N, 4 w)
    view = np.lib.stride_tricks.sliding_window_view(flat, 4 * width, axis=1)[:, : 4 * most : 4]
    scores = (
        np.ascontiguousarray(view).reshape(-1, 4 * width) @ matrices.reshape(len(matrices), -1).T
    )
    scores = scores.reshape(len(bases), most, -1)
    if windows.min() < most:
        scores[np.arange(most)[None] >= windows[:, None]] = -np.inf
    best = scores.max(axis=1)
    scores -= best[:, None]
    return best, np.exp(scores, out=scores).sum(axis=1)


def _substituted(
    record: NDArray[np.uint8], width: int, matrices: NDArray[np.float32]
) -> tuple[
    tuple[NDArray[np.float64], NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]
]:
    """Return scores of a record, and of the record with each base replaced.

    Parameters
    ----------
    record
        ASCII bases, shape (L,).
    width
        Width w of the motifs.
    matrices
        Log-odds of both strands, (2 m, w, 4).

    Returns
    -------
    Best hit and occupancy of the record, (m,) each, and after each replacement, (L, 4, m) each.
    """
    length, both = len(record), len(matrices)
    bases = one_hot([record], max(length, width))[0].astype(np.float64)
    view = np.lib.stride_tricks.sliding_window_view(bases.ravel(), 4 * width)[::4]
    scores = matrices.reshape(both, -1).astype(np.float64) @ view.T  # (2 m, N)
    top = np.maximum(*np.split(scores.max(axis=1), 2))  # (m,), over both strands
    ceiling = np.tile(top, 2)[:, None]
    exps = np.exp(scores - ceiling)

    codes = np.where(bases[:length].any(axis=1), bases[:length].argmax(axis=1), AMBIGUOUS)
    best, total = _kernel()(scores, exps, matrices.astype(np.float64), codes)
    half = both // 2
    new_best, new_total = np.maximum(best[:half], best[half:]), total[:half] + total[half:]
    given = top, _rounded(top + np.log(sum(np.split(exps.sum(axis=1), 2))))
    changed = new_best.transpose(1, 2, 0), _rounded(top + np.log(new_total).transpose(1, 2, 0))
    return given, changed


AMBIGUOUS = 4  # code of a base that scores 0


@cache
def _kernel() -> Callable[..., tuple[NDArray[np.float64], NDArray[np.float64]]]:
    import numba  # takes a second, and compiles the kernel at its first use

    return cast(Callable[..., Any], numba.njit(cache=True)(_replace_bases))


def _replace_bases(
    scores: NDArray[np.float64],
    exps: NDArray[np.float64],
    matrices: NDArray[np.float64],
    codes: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return best hit and sum of exponentials of a record with each base replaced.

    Compiled by numba. A replaced base changes only the windows that contain it; their exponentials
    are multiplied by a factor.

    Parameters
    ----------
    scores, exps
        Scores of the windows of the record, (m, N), and their exponentials relative to any maximum.
    matrices
        Log-odds, (m, w, 4).
    codes
        Bases 0 to 3, or AMBIGUOUS, (L,).

    Returns
    -------
    Shape (m, L, 4) each, indexed by the new base.
    """
    number, windows = scores.shape
    width, length = matrices.shape[1], len(codes)
    best, total = np.empty((number, length, 4)), np.empty((number, length, 4))
    factors = np.exp(matrices)
    # Highest score of the windows before each window, and from each window on
    before, after = np.empty(windows + 1), np.empty(windows + 1)
    sum_before, sum_after = np.empty(windows + 1), np.empty(windows + 1)
    for row in range(number):
        before[0], after[windows], sum_before[0], sum_after[windows] = -np.inf, -np.inf, 0.0, 0.0
        for window in range(windows):
            before[window + 1] = max(before[window], scores[row, window])
            sum_before[window + 1] = sum_before[window] + exps[row, window]
        for window in range(windows - 1, -1, -1):
            after[window] = max(after[window + 1], scores[row, window])
            sum_after[window] = sum_after[window + 1] + exps[row, window]
        for position in range(length):
            first, last = min(max(0, position - width + 1), windows), min(windows, position + 1)
            for base in range(4):
                highest = max(before[first], after[last])
                summed = sum_before[first] + sum_after[last]
                for window in range(first, last):
                    offset, old = position - window, codes[position]
                    change, factor = matrices[row, offset, base], factors[row, offset, base]
                    if old < 4:
                        change -= matrices[row, offset, old]
                        factor /= factors[row, offset, old]
                    highest = max(highest, scores[row, window] + change)
                    summed += exps[row, window] * factor
                best[row, position, base], total[row, position, base] = highest, summed
    return best, total
