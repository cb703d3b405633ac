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
from selfattn_bio.attention.kernels import band
from selfattn_bio.motifs.words import AMBIGUOUS, CODES, WordTables, words_of
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
            scores[rows] = _joined(*self._best_and_total(words, starts, lengths, most), axis=1)
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
        return _joined(best, total, axis=1)

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

    def score_substitutions(self, record: Ascii) -> tuple[Scores, Scores]:
        """Score a record, and its copies with one base replaced.

        Parameters
        ----------
        record
            ASCII bases, shape (L,).

        Returns
        -------
        Scores of the record, (2 M,), and of the copies by new base (ACGT) and position,
        (2 M, 4, L), float32. The first axis has the best hits, then the occupancies, as in
        `scores`.
        """
        shape = len(self), 4, len(record)
        codes = np.full(len(record) + self.widest, AMBIGUOUS, np.uint8)
        codes[: len(record)] = CODE_OF[record]
        best, total = np.full(len(self), -np.inf, np.float32), np.zeros(len(self))
        changed = np.full(shape, -np.inf, np.float32), np.zeros(shape)
        strands = 1 if self.one_strand else 2
        has_kernel = band.unavailable_reason() is None
        replace_bases = band.replace_bases if has_kernel else compiled(_replace_bases)
        replace_bases(codes, self.values, self.widths, strands, best, total, *changed)
        return _joined(best, total), _joined(*changed)


def _log_odds(p: Any) -> Any:
    return np.round(np.log((1 - PSEUDOCOUNT) * p * 4 + PSEUDOCOUNT) * STEP) / STEP


LOWEST, HIGHEST = float(_log_odds(0.0)), float(_log_odds(1.0))  # of a base


def _joined(best: Scores, total: Floats, axis: int = 0) -> Scores:
    """Join best hits and occupancies, from best hits and sums of exp(score)."""
    # A sum below the range of float32 is 0. The best hit is then the occupancy, within log(2 N).
    occupancy = np.maximum(total, np.finfo(np.float64).tiny)
    np.log(occupancy, out=occupancy)  # in place, because copies of large arrays take long
    np.maximum(occupancy, best, out=occupancy)
    occupancy *= OCCUPANCY_STEP
    np.rint(occupancy, out=occupancy)
    occupancy /= OCCUPANCY_STEP
    return np.concatenate([best, occupancy], axis, dtype=np.float32)


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


def _replace_bases(
    codes: NDArray[np.uint8],
    values: Scores,
    widths: Integers,
    strands: int,
    best: Scores,
    total: Floats,
    changed_best: Scores,
    changed_total: Floats,
) -> None:
    """Score a record, and its copies with one base replaced; compiled by numba.

    A replaced base changes only the windows that contain it. The compiled kernel does the same.

    Parameters
    ----------
    codes
        Bases 0 to 3, or AMBIGUOUS, (L + W,). The last W are AMBIGUOUS.
    values, widths
        As in `ScoreMatrices`, (M, W, 4) and (M,).
    strands
        1 to score only the given strand, otherwise 2.
    best, total
        Raised to the best hit of the record, and increased by the sum of exp(score), (M,) each.
    changed_best, changed_total
        The same of the copies, by motif, new base and position, (M, 4, L) each.
    """
    length = changed_best.shape[2]
    for motif in range(len(widths)):
        width = widths[motif]
        windows = max(length - width + 1, 1)
        matrix = np.zeros((width, CODES), np.float32)
        for strand in range(strands):
            given = values[motif, :width]
            matrix[:, :4] = given[::-1, ::-1] if strand else given
            factors = np.exp(matrix.astype(np.float64))
            scores, odds = np.zeros(windows, np.float32), np.ones(windows)
            for offset in range(width):
                for window in range(windows):
                    scores[window] += matrix[offset, codes[window + offset]]
                    odds[window] *= factors[offset, codes[window + offset]]
            # best hit and sum of the first i windows, and of those from window i
            first_best, last_best = np.full((2, windows + 1), np.float32(-np.inf))
            first_sum, last_sum = np.zeros((2, windows + 1))
            for i in range(windows):
                first_best[i + 1] = max(first_best[i], scores[i])
                first_sum[i + 1] = first_sum[i] + odds[i]
            for i in range(windows - 1, -1, -1):
                last_best[i] = max(last_best[i + 1], scores[i])
                last_sum[i] = last_sum[i + 1] + odds[i]
            best[motif] = max(best[motif], last_best[0])
            total[motif] += last_sum[0]
            for base in range(4):
                of_base, sum_of_base = changed_best[motif, base], changed_total[motif, base]
                for position in range(length):
                    # windows start, ..., stop - 1 contain the position
                    start, stop = max(position - width + 1, 0), min(position + 1, windows)
                    of_base[position] = max(of_base[position], first_best[start], last_best[stop])
                    sum_of_base[position] += first_sum[start] + last_sum[stop]
                # The inner loops run over windows, so that they become vector instructions.
                for offset in range(min(width, length)):
                    gains = matrix[offset, base] - matrix[offset]
                    ratios = factors[offset, base] / factors[offset]
                    for window in range(min(windows, length - offset)):
                        position = window + offset
                        score = scores[window] + gains[codes[position]]
                        of_base[position] = max(of_base[position], score)
                        sum_of_base[position] += odds[window] * ratios[codes[position]]
