"""Score every window of DNA with many motifs, by tables of words of four bases.

The score of a window is a sum over its words, and exp(score) a product, so a window of twelve bases
costs three rows of each table, for all motifs at once, instead of twelve positions of each matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.arrays import Floats, Integers, Scores, compiled
from selfattn_bio.sequence.alphabet import Ascii

WORD = 4  # bases of a word; words of 5 bases took 10 % longer
CODES = 5  # A, C, G, T and an ambiguous base, which scores 0
AMBIGUOUS = 4
ABSENT = -50.0  # log-odds of every base on a strand that is not scored: below all others
BLOCK = 64  # motifs scored together; the tables of a block fit into the cache of a core


@dataclass(frozen=True, eq=False)
class WordTables:
    """Tables of the log-odds of words for a block of motifs.

    Attributes
    ----------
    motifs
        Indices of the m motifs, in ascending order of width.
    widths
        Their numbers of positions, (m,).
    scores
        Log-odds of each word at each offset 0, WORD, 2 WORD, ... of a window, (offsets, words,
        2 m), float32: first the forward matrices, then their reverse complements.
    odds
        exp(scores).
    """

    motifs: Integers
    widths: Integers
    scores: Scores
    odds: Scores

    @classmethod
    def blocks(cls, values: Scores, widths: Integers, one_strand: bool = False) -> list[WordTables]:
        """Return the tables of motifs with log-odds `values` (M, W, 4), in blocks of motifs."""
        order = np.argsort(widths, kind="stable")
        return [
            cls._of(motifs, widths[motifs], values[motifs], one_strand)
            for motifs in (order[start : start + BLOCK] for start in range(0, len(order), BLOCK))
        ]

    @classmethod
    def _of(cls, motifs: Integers, widths: Integers, values: Scores, one_strand: bool) -> Self:
        offsets = range(0, max(int(widths.max()), 2 * WORD), WORD)  # the kernel needs two
        matrices = np.zeros((2 * len(motifs), len(offsets) * WORD, CODES), np.float32)
        for row, (width, matrix) in enumerate(zip(widths, values, strict=True)):
            matrices[row, :width, :4] = matrix[:width]
            matrices[len(motifs) + row, :width, :4] = other_strand(matrix[:width], one_strand)
        tables = []
        for offset in offsets:
            table = np.zeros((len(matrices), 1), np.float32)
            for position in range(offset, offset + WORD):
                table = (table[:, :, None] + matrices[:, None, position]).reshape(len(matrices), -1)
            tables.append(table.T)
        scores = np.ascontiguousarray(np.stack(tables))
        return cls(motifs, widths, scores, np.exp(scores))

    def best_and_total(
        self, words: NDArray[np.int32], starts: Integers, lengths: Integers, most: int
    ) -> tuple[Scores, Floats]:
        """Return the highest score, and the sum of exp(score), over the windows of n records.

        Both are over both strands, (n, m). The sum is 0 if every score is below -87.

        Parameters
        ----------
        words
            The word at each base, see `words_of`.
        starts, lengths
            First base and number of bases of each record, (n,).
        most
            Score at most this many windows of each record. The first is scored if the record is
            shorter than the motif.
        """
        shape = len(starts), len(self.motifs)
        best, total = np.full(shape, -np.inf, np.float32), np.zeros(shape)
        # the scores are finite, so a maximum may be computed in any order
        fill = compiled(_best_and_total, fastmath=frozenset(("nnan", "nsz")))
        fill(words, starts, lengths, most, self.widths, self.scores, self.odds, best, total)
        return best, total


def other_strand(values: Scores, one_strand: bool) -> Scores:
    """Return log-odds (..., w, 4) of the reverse complement, or such that never contribute."""
    # Reversing the order ACGT gives the complement
    return np.full_like(values, ABSENT) if one_strand else values[..., ::-1, ::-1]


def words_of(codes: Ascii, widest: int) -> NDArray[np.int32]:
    """Return the number of the word that starts at each base, (P,) int32.

    Parameters
    ----------
    codes
        0 to 3 for ACGT, AMBIGUOUS for others and for the bases between records, (P,).
    widest
        Largest width of a motif: windows that start at the last base are scored, too.
    """
    padded = np.full(len(codes) + widest + 2 * WORD, AMBIGUOUS, np.int32)
    padded[: len(codes)] = codes
    words = np.zeros(len(padded) - WORD + 1, np.int32)
    for offset in range(WORD):
        words *= CODES
        words += padded[offset : offset + len(words)]
    return words


def _best_and_total(
    words: NDArray[np.int32],
    starts: Integers,
    lengths: Integers,
    most: int,
    widths: Integers,
    scores: Scores,
    odds: Scores,
    best: NDArray[Any],
    total: NDArray[Any],
) -> None:
    """Fill `best` and `total`, see `WordTables.best_and_total`; compiled by numba."""
    offsets, _, columns = scores.shape
    motifs = columns // 2
    # Each inner loop has one result, so that it becomes vector instructions
    score, odd = np.empty(columns, np.float32), np.empty(columns, np.float32)
    highest, summed = np.empty(motifs, np.float32), np.empty(motifs, np.float64)
    for row in range(len(starts)):
        highest[:] = -np.inf
        summed[:] = 0
        fitting = motifs  # the first motifs, which fit between the window's start and the end
        for position in range(most):
            while position and fitting and widths[fitting - 1] > lengths[row] - position:
                fitting -= 1
            if not fitting:
                break
            at = starts[row] + position
            first, second = words[at], words[at + WORD]
            if offsets == 2:
                for motif in range(fitting):
                    forward = scores[0, first, motif] + scores[1, second, motif]
                    reverse = scores[0, first, motifs + motif] + scores[1, second, motifs + motif]
                    better = forward if forward > reverse else reverse
                    highest[motif] = better if better > highest[motif] else highest[motif]
                for motif in range(fitting):
                    summed[motif] += (
                        odds[0, first, motif] * odds[1, second, motif]
                        + odds[0, first, motifs + motif] * odds[1, second, motifs + motif]
                    )
                continue
            for column in range(columns):
                score[column] = scores[0, first, column] + scores[1, second, column]
            for column in range(columns):
                odd[column] = odds[0, first, column] * odds[1, second, column]
            for offset in range(2, offsets):
                word = words[at + offset * WORD]
                for column in range(columns):
                    score[column] += scores[offset, word, column]
                for column in range(columns):
                    odd[column] *= odds[offset, word, column]
            for motif in range(fitting):
                better = max(score[motif], score[motifs + motif])
                highest[motif] = better if better > highest[motif] else highest[motif]
            for motif in range(fitting):
                summed[motif] += odd[motif] + odd[motifs + motif]
        best[row] = highest
        total[row] = summed
