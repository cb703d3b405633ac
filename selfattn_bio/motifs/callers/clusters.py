"""Find motifs by clustering seqlets: recursive calling, all-against-all comparison, merging.

Works for DNA and protein, needs no clustering library and no null distribution from shuffling.

1. Call seqlets: spans with more attribution than expected by chance, as well as all their parts
   (`call_seqlets`).
2. Compare all pairs of seqlets with Tomtom, on both strands for DNA. The comparison uses the
   hypothetical scores of all letters, not only of those in the sequence. In proteins it uses only
   those in the sequence: the scores of twenty residues are similar at sites of different motifs.
3. Form star-shaped groups. The seqlet similar to most others is a centre and these others are its
   group. Repeat with the remaining seqlets.
4. Align each group on its centre, count letters and trim to the informative part.
   `patterns.refine_patterns` then searches all records for each pattern and keeps one of the
   patterns that share sites. This merges halves of a motif and reverse complements, even if the
   patterns look different.
5. Repeat from step 2 with the seqlets that are in no site yet, so that a motif with a thousand
   sites does not mask one with thirty.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from selfattn_bio.arrays import Floats, Integers, Scores
from selfattn_bio.motifs.matching import one_hot
from selfattn_bio.motifs.patterns import (
    CallerResult,
    SeqletPattern,
    align,
    check_scores,
    refine_patterns,
)
from selfattn_bio.motifs.tomtom import compare
from selfattn_bio.sequence.alphabet import Alphabet, Ascii
from selfattn_bio.sequence.intervals import disjoint

# same group below this Tomtom p, by alphabet size; among 2,000 noise seqlets of DNA each has 0.2
# chance neighbours
SIMILAR_P = {4: 1e-4, 20: 1e-2}
COMPARED = 2000  # seqlets compared per round; about 2 s
ROUNDS = 4
MIN_GROUP = 20  # seqlets; the minimum of modisco-lite as well
FLANK = 3  # positions on each side of a seqlet that are included in the comparison
# positions on each side of a centre that may turn out to belong to the motif, by alphabet size; in
# proteins also the other half of a motif with a gap
MARGIN = {4: 6, 20: 20}
# Tomtom bins: 8 times faster than 100 and 100, with 98 % of the same pairs
TOMTOM_BINS = 25, 10


@dataclass(frozen=True)
class Clusters:
    """Fast caller for any alphabet.

    Parameters
    ----------
    max_seqlets
        Largest number of seqlets to group; those with the highest attribution are kept.

    References
    ----------
    Schreiber 2025 (tangermeme): the recursive seqlet algorithm. Gupta et al. 2007 (Tomtom).
    """

    max_seqlets: int = 20_000

    def call(self, letters: Ascii, hypothetical: Scores, alphabet: Alphabet) -> CallerResult:
        """Call seqlets and group them as described in the module docstring.

        Parameters
        ----------
        letters
            (n, L) ASCII, padded with 0.
        hypothetical
            (n, L, A) score of each letter at each position, in alphabet order, 0 in padding.
        alphabet
            Alphabet of `letters`.

        Raises
        ------
        ValueError
            If the shapes do not match, or a score is not finite.
        """
        check_scores(letters, hypothetical, alphabet)
        records = [row[: np.count_nonzero(row)] for row in letters]
        attribution = [
            row[: len(record)]
            for row, record in zip(np.linalg.norm(hypothetical, axis=2), records, strict=True)
        ]
        seqlets = _positive_only(call_seqlets(attribution), letters, hypothetical, alphabet)
        rest = seqlets.sort_values(
            "attribution", ascending=False, kind="stable", ignore_index=True
        ).head(self.max_seqlets)
        if not alphabet.is_nucleic:
            hypothetical = hypothetical * one_hot(letters, alphabet)
        patterns: list[SeqletPattern] = []
        for _ in range(ROUNDS):
            if len(rest) < MIN_GROUP:
                break
            groups = _groups(rest.head(COMPARED), hypothetical, records, alphabet)
            aligned = [found for group in groups if (found := align(group, records, alphabet))]
            if not aligned:
                break
            patterns = refine_patterns([*patterns, *aligned], records, attribution)
            rest = _unexplained(rest, patterns, letters.shape)
        return CallerResult(patterns, len(seqlets))


def _positive_only(
    seqlets: pd.DataFrame, letters: Ascii, hypothetical: Scores, alphabet: Alphabet
) -> pd.DataFrame:
    """Keep seqlets whose observed letters increase the score of label 1.

    Evidence against label 1 does not explain why a record is positive.
    """
    own = (hypothetical * one_hot(letters, alphabet)).sum(axis=2, dtype=np.float64)
    sums = np.concatenate([np.zeros((len(own), 1)), np.cumsum(own, axis=1)], axis=1)
    record, start, end = (seqlets[column].to_numpy() for column in ("record", "start", "end"))
    return seqlets[sums[record, end] > sums[record, start]]


def _groups(
    seqlets: pd.DataFrame, hypothetical: Scores, records: list[Ascii], alphabet: Alphabet
) -> Iterator[pd.DataFrame]:
    """Yield star-shaped groups of seqlets as intervals (record, start, end, strand).

    The intervals of a group have the same width: they are aligned on its centre, with MARGIN
    positions on each side.
    """
    margin = MARGIN[len(alphabet.letters)]
    record = seqlets["record"].to_numpy()
    first = np.maximum(seqlets["start"].to_numpy() - FLANK, 0)
    last = np.minimum(
        seqlets["end"].to_numpy() + FLANK, np.array([len(row) for row in records])[record]
    )
    scores = [
        hypothetical[row, start:end].T.astype(np.float64)
        for row, start, end in zip(record, first, last, strict=True)
    ]
    scaled = [of / np.linalg.norm(of, axis=0).max() for of in scores]
    p, offset, is_reversed = compare(scaled, scaled, alphabet.has_complement, TOMTOM_BINS)
    similar, width = p < SIMILAR_P[len(alphabet.letters)], last - first
    np.fill_diagonal(similar, True)
    free = np.ones(len(seqlets), dtype=bool)
    while True:
        sizes = (similar & free).sum(axis=1) * free
        centre = int(sizes.argmax())
        if sizes[centre] < MIN_GROUP:
            return
        members = np.flatnonzero(similar[centre] & free)
        free[members] = False
        # Example: a centre of width 10 at offset 5 of a reverse-complemented seqlet of width 20
        # starts 20 - 5 - 10 = 5 positions after the start of that seqlet.
        reversed_at = width - offset[centre] - width[centre]
        at = (first + np.where(is_reversed[centre], reversed_at, offset[centre]))[members]
        yield pd.DataFrame(
            {
                "record": record[members],
                "start": at - margin,
                "end": at + width[centre] + margin,
                "strand": np.where(is_reversed[centre, members], "-", "+"),
            }
        )


def _unexplained(
    seqlets: pd.DataFrame, patterns: list[SeqletPattern], shape: tuple[int, ...]
) -> pd.DataFrame:
    """Return the seqlets whose middle is in no site of a pattern."""
    explained = np.zeros(shape, dtype=bool)
    for pattern in patterns:
        for row, start, end in pattern.seqlets[["record", "start", "end"]].itertuples(index=False):
            explained[row, start:end] = True
    middle = (seqlets["start"] + seqlets["end"]).to_numpy() // 2
    return seqlets[~explained[seqlets["record"].to_numpy(), middle]]


THRESHOLD = 0.01  # p-value of a seqlet
MIN_LENGTH, MAX_LENGTH = 4, 25  # width of a seqlet
BINS = 1000  # of the histogram of attributions per letter
CHUNK = 256  # records tested together: 10 MB at 200 bp


def call_seqlets(attribution: Sequence[Scores]) -> pd.DataFrame:
    """Find spans with more attribution than the same number of randomly sampled letters.

    A seqlet is the longest span in which each part of at least `MIN_LENGTH` letters is significant
    as well. It therefore does not grow over letters without attribution, however large the
    attribution of the others. Example: with attributions 0 0 9 9 9 9 9 0 among many zeros, the
    spans [2, 6), [3, 7) and [2, 7) are significant and the seqlet is [2, 7). A span is significant
    if its p-value, the probability that the same number of letters, sampled from all records, has
    at least the same sum, is below `THRESHOLD`. It has at most `MAX_LENGTH` letters.

    Parameters
    ----------
    attribution
        Attribution of each letter, one array of finite numbers per record, of any lengths.

    Returns
    -------
    One row per seqlet: record (row of `attribution`), start, end (0-based half-open), attribution
    (sum), p_value; sorted by record and position. Seqlets of a record do not overlap.

    References
    ----------
    Schreiber 2025, tangermeme 1.0 `seqlet.recursive_seqlets`: the idea and the null distribution.
    In tangermeme a span that starts before a called seqlet may overlap it; here it may not.
    """
    lengths = np.array([len(row) for row in attribution])
    rows = np.zeros((len(attribution), max(lengths.max(initial=0), MAX_LENGTH)))
    for row, values in zip(rows, attribution, strict=True):
        row[: len(values)] = values
    known = rows[np.arange(rows.shape[1]) < lengths[:, None]]
    if not len(known) or known.min() == known.max():  # constant attributions have no seqlets
        return _table([])
    low = float(known.min())
    width = (float(known.max()) - low) / (BINS - 1)
    bins = ((known - low) / width).astype(np.int64)
    tails = _tails(np.bincount(bins, minlength=BINS) / len(known))
    found = []
    for first in range(0, len(rows), CHUNK):
        part = slice(first, first + CHUNK)
        for record, *span in _decoded(rows[part], lengths[part], low, width, tails):
            found.append((first + record, *span))
    return _table(found)


def _table(rows: list[tuple[float, ...]]) -> pd.DataFrame:
    types = {"record": int, "start": int, "end": int, "attribution": float, "p_value": float}
    table = pd.DataFrame(rows, columns=list(types)).astype(types)
    return table.sort_values(["record", "start"], ignore_index=True)


def _tails(density: Floats) -> list[Floats]:
    """Return the probability that a sum is in each bin or higher, for 0 to `MAX_LENGTH` letters."""
    tails, of_sum = [np.ones(1)], np.ones(1)
    for _ in range(MAX_LENGTH):
        of_sum = np.convolve(of_sum, density)
        tails.append(np.cumsum(of_sum[::-1])[::-1].clip(0, 1))
    return tails


def _decoded(
    rows: Floats, lengths: Integers, low: float, width: float, tails: list[Floats]
) -> Floats:
    """Return the seqlets of some records, (n, 5): record, start, end, sum, p-value.

    If spans overlap, the longest wins, then the one with the lowest p-value.
    """
    sums = np.concatenate([np.zeros((len(rows), 1)), np.cumsum(rows, axis=1)], axis=1)
    candidates, before = [], None
    for length in range(MIN_LENGTH, len(tails)):
        totals = sums[:, length:] - sums[:, :-length]  # (records, starts)
        bins = np.floor((totals - low * length) / width).astype(np.int64)
        p = tails[length][bins.clip(0, len(tails[length]) - 1)]
        significant = (p < THRESHOLD) & (np.arange(totals.shape[1]) + length <= lengths[:, None])
        if before is not None:
            # its two longest parts are significant, and so are all parts of these
            significant &= before[:, :-1] & before[:, 1:]
        before = significant
        record, start = np.nonzero(significant)
        sums_and_p = totals[record, start], p[record, start]
        candidates.append(np.column_stack([record, start, start + length, *sums_and_p]))
        if not len(record):
            break
    spans = np.concatenate(candidates)
    best_first = spans[np.lexsort((spans[:, 1], spans[:, 4], spans[:, 1] - spans[:, 2]))]
    record, start, end = best_first[:, :3].astype(np.int64).T
    return best_first[disjoint(record, start, end)]
