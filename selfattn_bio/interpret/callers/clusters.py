"""The caller `clusters`: seqlets by a recursive test, grouped by comparing all with all, fragments merged where they stand.

DNA and protein. Hides: how seqlets are compared and which of them share a motif. It needs no clustering library and no null by shuffling.

1. Seqlets: spans that carry more relevance than chance, whatever part of them is looked at (`interpret.seqlets`).
2. Each seqlet is compared with each, on both strands of DNA, by Tomtom: by what the model says of all letters there, not by those it has.
3. Stars: the seqlet to which most others are alike is a centre, and these are its group; then the next one among the rest.
4. Each group is lined up on its centre, counted, and trimmed to its informative part; `refine` searches for it in all records and keeps one
   of the patterns that stand at the same sites. That merges halves of a motif and its reverse complements, whatever they look like.
5. Once more from 2 with the seqlets that lie in no site yet: a motif of thirty sites is not drowned by one of a thousand.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.interpret.hits import one_hot
from selfattn_bio.interpret.patterns import Discovery, Pattern, align, check_scores
from selfattn_bio.interpret.refine import refine_patterns
from selfattn_bio.interpret.seqlets import call_seqlets
from selfattn_bio.sequence.alphabet import Alphabet

THRESHOLD = 0.01  # p of a seqlet
ALIKE = 1e-4  # Tomtom p below which two seqlets are of one group: of 2,000 seqlets that are noise each has .2 such neighbours by chance
COMPARED = 2000  # seqlets compared with each other at once: about 2 s
ROUNDS = 4
MIN_GROUP = 20  # seqlets, as modisco-lite asks of a group
FLANK = 3  # letters around a seqlet that are compared with it
MARGIN = 6  # letters around a centre that may turn out to belong to the motif
SCORE_BINS, TARGET_BINS = 25, 10  # of Tomtom: eight times as fast as 100 and 100, and of its pairs 98 % are the same


@dataclass(frozen=True)
class Clusters:
    """Our own caller: fast, and for any alphabet.

    Parameters
    ----------
    max_seqlets
        To group; those of highest relevance.

    References
    ----------
    Schreiber 2025 (tangermeme, memelite), whose recursive seqlets and Tomtom these are after and by.
    """

    max_seqlets: int = 20_000

    def call(self, letters: NDArray[np.uint8], hypothetical: NDArray[np.float32], alphabet: Alphabet) -> Discovery:
        """Call seqlets and group them, as the module says.

        Parameters
        ----------
        letters
            (n, L) ASCII, padded with 0.
        hypothetical
            (n, L, A) score of each letter at each position, in the order of the alphabet, 0 in padding.
        alphabet
            Of the letters.

        Raises
        ------
        ValueError
            If the shapes do not belong together, or a score is not finite.
        """
        check_scores(letters, hypothetical, alphabet)
        records = [row[: np.count_nonzero(row)] for row in letters]
        relevance = [row[: len(record)] for row, record in zip(np.linalg.norm(hypothetical, axis=2), records, strict=True)]
        seqlets = _speaking_for(call_seqlets(relevance, threshold=THRESHOLD), letters, hypothetical, alphabet)
        rest = seqlets.sort_values("relevance", ascending=False, kind="stable", ignore_index=True).head(self.max_seqlets)
        patterns: list[Pattern] = []
        for _ in range(ROUNDS):
            groups = list(_groups(rest.head(COMPARED), hypothetical, records, alphabet)) if len(rest) >= MIN_GROUP else []
            aligned = [pattern for group in groups if (pattern := align(group, records, alphabet)) is not None]
            if not aligned:
                break
            patterns = refine_patterns([*patterns, *aligned], records, relevance)
            rest = _unexplained(rest, patterns, letters.shape)
        note = "" if patterns else f"no group of the {len(seqlets)} seqlets is large and alike enough"
        return Discovery(patterns, len(seqlets), note)


def _speaking_for(seqlets: pd.DataFrame, letters: NDArray[np.uint8], hypothetical: NDArray[np.float32], alphabet: Alphabet) -> pd.DataFrame:
    """Those whose own letters speak for label 1: in positives, what speaks against them is not what makes them so."""
    own = (hypothetical * one_hot(letters, alphabet)).sum(axis=2, dtype=np.float64)
    sums = np.concatenate([np.zeros((len(own), 1)), np.cumsum(own, axis=1)], axis=1)
    record, start, end = (seqlets[column].to_numpy() for column in ("record", "start", "end"))
    return seqlets[sums[record, end] > sums[record, start]]


def _groups(
    seqlets: pd.DataFrame, hypothetical: NDArray[np.float32], records: list[NDArray[np.uint8]], alphabet: Alphabet
) -> Iterator[pd.DataFrame]:
    """The stars among some seqlets: places (record, start, end, strand) of one width, lined up on the centre with MARGIN on each side."""
    record = seqlets["record"].to_numpy()
    first = np.maximum(seqlets["start"].to_numpy() - FLANK, 0)
    last = np.minimum(seqlets["end"].to_numpy() + FLANK, np.array([len(row) for row in records])[record])
    scores = [hypothetical[row, start:end].T.astype(np.float64) for row, start, end in zip(record, first, last, strict=True)]
    p, offset, turned = _compared([of / np.linalg.norm(of, axis=0).max() for of in scores], alphabet)
    alike, width = p < ALIKE, last - first
    np.fill_diagonal(alike, True)
    free = np.ones(len(seqlets), dtype=bool)
    while True:
        sizes = (alike & free).sum(axis=1) * free
        centre = int(sizes.argmax())
        if sizes[centre] < MIN_GROUP:
            return
        members = np.flatnonzero(alike[centre] & free)
        free[members] = False
        # A centre of 10 letters that begins at 5 of a turned seqlet of 20 ends 5 letters after that one's start.
        at = np.where(turned[centre], width - offset[centre] - width[centre], offset[centre])[members] + first[members]
        yield pd.DataFrame(
            {
                "record": record[members],
                "start": at - MARGIN,
                "end": at + width[centre] + MARGIN,
                "strand": np.where(turned[centre, members], "-", "+"),
            }
        )


def _compared(scores: list[NDArray[np.float64]], alphabet: Alphabet) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_]]:
    """Tomtom of each (A, width) with each: p, where in the other one it begins, and whether the other one is turned; (n, n) each."""
    from memelite import tomtom  # compiles at its first use

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="tomtom was given")
        p, _, offset, _, strand = tomtom(
            scores, scores, n_score_bins=SCORE_BINS, n_target_bins=TARGET_BINS, reverse_complement=alphabet.has_complement
        )
    return p, offset.astype(np.int64), strand == 1


def _unexplained(seqlets: pd.DataFrame, patterns: list[Pattern], shape: tuple[int, ...]) -> pd.DataFrame:
    """The seqlets whose middle is in no site of a pattern."""
    explained = np.zeros(shape, dtype=bool)
    for pattern in patterns:
        for row, start, end in pattern.seqlets[["record", "start", "end"]].itertuples(index=False):
            explained[row, start:end] = True
    middle = (seqlets["start"] + seqlets["end"]).to_numpy() // 2
    return seqlets[~explained[seqlets["record"].to_numpy(), middle]]
