"""Score DNA or RNA with position weight matrices: the best hit and the occupancy of each motif."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from selfattn_bio.arrays import Floats, Integers, Scores, compiled
from selfattn_bio.motifs.words import AMBIGUOUS, WordTables, other_strand, words_of
from selfattn_bio.sequence.alphabet import Ascii, Letters

PSEUDOCOUNT = 0.01  # weight of uniform base frequencies, which are mixed into each position
# Log-odds are rounded to multiples of 1 / STEP, so that float32 sums are exact in any order.
STEP = 256
OCCUPANCY_STEP = 64  # occupancies are rounded to multiples of 1 / OCCUPANCY_STEP
CHUNK = 1 << 14  # bp scored at once; a longer record is scored alone
CODE_OF = np.full(256, AMBIGUOUS, np.uint8)  # of each ASCII letter
CODE_OF[list(b"ACGT")] = CODE_OF[list(b"ACGU")] = range(4)


@dataclass(frozen=True)
class ScoreMatrices:
    """Log-odds matrices of DNA motifs relative to uniform base frequencies.

    The score of a window is its sum of log-odds (natural logarithm). A record has two scores per
    motif: the best hit is the highest window score on either strand, and the occupancy is
    log(sum(exp(score))) over the windows of both strands, or of one. Ambiguous bases score 0. A
    record shorter than a motif has one window, which aligns its bases with the first positions of
    the matrix.

    Parameters
    ----------
    labels
        Motif names.
    values
        Log-odds (M, W, 4), float32, in the order ACGT. W is the width of the widest motif; narrower
        motifs are padded with 0 at the end.
    widths
        Number of positions of each motif, (M,).
    one_strand
        Whether only the given strand is scored.
    """

    labels: tuple[str, ...]
    values: Scores
    widths: Integers
    one_strand: bool = False

    @classmethod
    def from_probabilities(cls, ppms: Mapping[str, Floats], one_strand: bool = False) -> Self:
        """Convert motifs, name -> probabilities (width, 4), to log-odds."""
        widths = np.array([len(ppm) for ppm in ppms.values()], dtype=np.int64)
        values = np.zeros((len(ppms), int(widths.max(initial=0)), 4), np.float32)
        for row, ppm in zip(values, ppms.values(), strict=True):
            row[: len(ppm)] = _log_odds(ppm)
        return cls(tuple(ppms), values, widths, one_strand)

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def widest(self) -> int:
        """Return the largest width."""
        return int(self.widths.max(initial=0))

    @cached_property
    def _tables(self) -> list[WordTables]:
        return WordTables.blocks(self.values, self.widths, self.one_strand)

    def by_width(self, motifs: Integers) -> Iterator[tuple[int, Integers, Scores]]:
        """Group motifs, given by their indices (m,), by width.

        Yields
        ------
        For each width w: the width; the rows of `motifs` that have it; and their log-odds,
        (2 rows, w, 4), first all forward matrices, then all reverse complements.
        """
        widths = self.widths[motifs]
        for width in np.unique(widths):
            rows = np.flatnonzero(widths == width)
            forward = self.values[motifs[rows], :width]
            reverse = other_strand(forward, self.one_strand)
            yield int(width), rows, np.concatenate([forward, reverse])

    def scores(self, letters: Letters) -> Scores:
        """Score records of any length.

        Parameters
        ----------
        letters
            ASCII bases, one array per record.

        Returns
        -------
        Shape (n, 2 M): the best hit of each motif, then the occupancy of each motif.
        """
        scores = np.empty((len(letters), 2 * len(self)), np.float32)
        for rows in _chunks(letters):
            lengths = np.array([len(record) for record in letters[rows]], dtype=np.int64)
            # Words of ambiguous bases between the records, so that no window spans two of them
            ends = np.cumsum(lengths + self.widest)
            codes = np.full(int(ends[-1]), AMBIGUOUS, np.uint8)
            starts = ends - self.widest - lengths
            for start, record in zip(starts, letters[rows], strict=True):
                codes[start : start + len(record)] = CODE_OF[record]
            words = words_of(codes, self.widest)
            most = max(1, int(lengths.max()))
            scores[rows] = _joined(*self._best_and_total(words, starts, lengths, most))
        return scores

    def window_scores(self, letters: Ascii, size: int, stride: int) -> Scores:
        """Score overlapping windows of a sequence, as `scores` does, sharing work between them.

        Parameters
        ----------
        letters
            ASCII bases, (L,).
        size, stride
            Length of a window, and distance between the starts of neighbouring ones.

        Returns
        -------
        Shape (n, 2 M) for the n windows [0, size), [stride, stride + size), ... within L.
        """
        if size < self.widest:  # a motif wider than the window must not read its neighbours
            return self.scores(list(sliding_window_view(letters, size)[::stride]))
        number = (len(letters) - size) // stride + 1
        words = words_of(CODE_OF[letters], self.widest)
        # A window consists of `shared` intervals of `stride` bases, where every motif fits and
        # which belong to several windows, and of the rest
        shared = (size - self.widest) // stride
        starts = np.arange(number + shared) * stride
        best, total = self._best_and_total(
            words, starts[shared:], np.full(number, size - shared * stride), size
        )
        if shared:
            intervals = starts[:-1], np.full(number + shared - 1, stride + self.widest)
            best_of, total_of = self._best_and_total(words, *intervals, stride)
            for first in range(shared):
                np.maximum(best, best_of[first : first + number], out=best)
                total += total_of[first : first + number]
        return _joined(best, total)

    def _best_and_total(
        self, words: NDArray[np.int32], starts: Integers, lengths: Integers, most: int
    ) -> tuple[Scores, Floats]:
        """Return the results of `WordTables.best_and_total` for all motifs, (n, M) each."""
        shape = len(starts), len(self)
        best, total = np.empty(shape, np.float32), np.empty(shape)
        for block in self._tables:
            best[:, block.motifs], total[:, block.motifs] = block.best_and_total(
                words, starts, lengths, most
            )
        return best, total

    def score_substitutions(self, record: Ascii, motifs: Integers) -> tuple[Floats, Floats]:
        """Score a record, and its copies with one base replaced.

        Parameters
        ----------
        record
            ASCII bases, shape (L,).
        motifs
            Indices of the m motifs to score, (m,).

        Returns
        -------
        Scores of the record, (2 m,), and of the copies by new base (ACGT) and position,
        (2 m, 4, L). The first axis has the best hits, then the occupancies, as in `scores`.
        """
        codes, length = CODE_OF[record], len(record)
        bases = np.zeros((max(length, self.widest), 4))
        bases[:length] = np.eye(5, 4)[codes]  # a row of 0 for ambiguous bases
        scores, changed = np.empty((2, len(motifs))), np.empty((2, len(motifs), 4, length))
        for width, rows, matrices in self.by_width(motifs):
            found = _score_substitutions(bases[: max(length, width)], codes, matrices)
            scores[0, rows], scores[1, rows], changed[0, rows], changed[1, rows] = found
        scores[1] = _rounded(scores[0] + np.log(scores[1]))
        changed[1] = _rounded(scores[0, :, None, None] + np.log(changed[1]))
        return scores.ravel(), changed.reshape(-1, 4, length)


def _log_odds(p: Any) -> Any:
    return np.round(np.log((1 - PSEUDOCOUNT) * p * 4 + PSEUDOCOUNT) * STEP) / STEP


LOWEST, HIGHEST = float(_log_odds(0.0)), float(_log_odds(1.0))  # of a base


def _rounded(occupancy: NDArray) -> NDArray:
    return np.round(occupancy * OCCUPANCY_STEP) / OCCUPANCY_STEP


def _joined(best: Scores, total: Floats) -> Scores:
    """Return best hits and occupancies, (n, 2 M), from best hits and sums of exp(score)."""
    # A sum below the range of float32 is 0. The best hit is then the occupancy, within log(2 N).
    occupancy = np.maximum(np.log(np.maximum(total, np.finfo(np.float64).tiny)), best)
    return np.concatenate([best, _rounded(occupancy).astype(np.float32)], axis=1)


def _chunks(letters: Letters) -> Iterator[slice]:
    """Yield slices of records with at most CHUNK bp, or of one record."""
    start, total = 0, 0
    for end, record in enumerate(letters):
        if end > start and total + len(record) > CHUNK:
            yield slice(start, end)
            start, total = end, 0
        total += len(record)
    if start < len(letters):
        yield slice(start, len(letters))


def _score_substitutions(
    bases: Floats, codes: NDArray[np.uint8], matrices: Scores
) -> tuple[Floats, Floats, Floats, Floats]:
    """Score a record, and its copies with one base replaced, with motifs of one width.

    Parameters
    ----------
    bases, codes
        The record, one-hot (N, 4), at least as long as the motifs, and as codes (L,).
    matrices
        Log-odds of both strands, (2 m, w, 4), as in `by_width`.

    Returns
    -------
    Best hit of the record, c, and sum of exp(score - c) over its windows, (m,) each; the same of
    the copies, (m, 4, L) each, with the c of the record.
    """
    (both, width, _), exact = matrices.shape, matrices.astype(np.float64)
    view = sliding_window_view(bases.ravel(), 4 * width)[::4]
    scores = exact.reshape(both, -1) @ view.T  # (2 m, N)
    highest = scores.max(axis=1).reshape(2, -1)
    top = np.maximum(*highest)  # (m,), over both strands
    exps = np.exp(scores - np.tile(top, 2)[:, None])
    total = exps.sum(axis=1).reshape(2, -1).sum(axis=0)
    return top, total, *compiled(_replace_bases)(scores, exps, exact, codes)


def _replace_bases(
    scores: Floats, exps: Floats, matrices: Floats, codes: NDArray[np.uint8]
) -> tuple[Floats, Floats]:
    """Return the best hit, and the sum of exponentials, after replacing each base of a record.

    Compiled by numba. A replaced base changes only the windows that contain it. Running maxima and
    sums give the result for all other windows.

    Parameters
    ----------
    scores
        Scores of the N windows of the record, (2 m, N), for each matrix: first all forward
        matrices, then all reverse complements.
    exps
        exp(score - c), (2 m, N), for any constant c of each motif.
    matrices
        Log-odds, (2 m, w, 4).
    codes
        Bases 0 to 3, or AMBIGUOUS, (L,).

    Returns
    -------
    Highest score, and sum of exp(score - c), over both strands by motif, new base and position,
    (m, 4, L) each.
    """
    number, windows = scores.shape
    width, length, motifs = matrices.shape[1], len(codes), number // 2
    best, total = np.full((motifs, 4, length), -np.inf), np.zeros((motifs, 4, length))
    highest, summed = np.empty((4, length)), np.empty((4, length))
    # Highest score, and sum of exponentials, over the windows before i and over the windows from i
    before, after = np.empty(windows + 1), np.empty(windows + 1)
    sum_before, sum_after = np.empty(windows + 1), np.empty(windows + 1)
    # Score and exponential of each window without the base at one offset
    rest, exp_of_rest = np.empty(windows), np.empty(windows)
    old, old_factor = np.zeros((width, 5)), np.ones((width, 5))
    for row in range(number):
        old[:, :4] = matrices[row]
        old_factor[:, :4] = np.exp(-matrices[row])
        factors = np.exp(matrices[row])
        before[0], after[windows], sum_before[0], sum_after[windows] = -np.inf, -np.inf, 0.0, 0.0
        for window in range(windows):
            before[window + 1] = max(before[window], scores[row, window])
            sum_before[window + 1] = sum_before[window] + exps[row, window]
        for window in range(windows - 1, -1, -1):
            after[window] = max(after[window + 1], scores[row, window])
            sum_after[window] = sum_after[window + 1] + exps[row, window]
        for position in range(length):
            # windows [first, last) contain the position
            first, last = min(max(0, position - width + 1), windows), min(windows, position + 1)
            highest[:, position] = max(before[first], after[last])
            summed[:, position] = sum_before[first] + sum_after[last]
        # The inner loops run over windows, so that they become vector instructions.
        for offset in range(min(width, length)):
            count = min(windows, length - offset)
            for window in range(count):
                code = codes[window + offset]
                rest[window] = scores[row, window] - old[offset, code]
                exp_of_rest[window] = exps[row, window] * old_factor[offset, code]
            for base in range(4):
                score, factor = matrices[row, offset, base], factors[offset, base]
                of_base, sum_of_base = highest[base, offset:], summed[base, offset:]
                for window in range(count):
                    new = rest[window] + score
                    of_base[window] = new if new > of_base[window] else of_base[window]
                    sum_of_base[window] += exp_of_rest[window] * factor
        best[row % motifs] = np.maximum(best[row % motifs], highest)
        total[row % motifs] += summed
    return best, total
