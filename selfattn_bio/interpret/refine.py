"""Refine patterns of seqlets by scanning the sequences and counting letters again.

TF-MoDISco aligns a subset of short windows by their attributions. Its patterns are accurate in the
middle and blurred or truncated at the ends. Therefore each pattern is searched for in the explained
sequences, its hits with high attribution are aligned with flanks, and the motif is counted and
trimmed on them. This is not circular, because evidence is tested on other records.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.interpret.hits import HIT_P, find_hits, relevant_hits
from selfattn_bio.interpret.patterns import SeqletPattern, align
from selfattn_bio.sequence.alphabet import DNA

MARGIN = 6  # positions on each side of a hit that may turn out to belong to the motif
MIN_SITES = 20  # relevant hits that are needed to rebuild a pattern
SHARED = 0.5  # fraction of sites; a pattern that shares more with a larger one is the same motif


def refine_patterns(
    patterns: Sequence[SeqletPattern],
    sequences: Sequence[NDArray[np.uint8]],
    attribution: Sequence[NDArray[np.float32]],
) -> list[SeqletPattern]:
    """Rebuild each pattern from its relevant hits and remove duplicates.

    Parameters
    ----------
    patterns
        Patterns of a caller (`patterns.CallerResult`).
    sequences
        ASCII letters of the explained records, one array per record.
    attribution
        Attribution of each letter, one array per record.

    Returns
    -------
    Patterns, most sites first. A pattern is unchanged if it has fewer than MIN_SITES relevant hits
    or these have too little information.
    """
    names = {f"pattern_{number}": pattern for number, pattern in enumerate(patterns)}
    ppms = {name: pattern.ppm for name, pattern in names.items()}
    alphabet = patterns[0].alphabet if patterns else DNA
    hits = find_hits(
        ppms,
        {name: pattern.num_sites for name, pattern in names.items()},
        sequences,
        HIT_P,
        alphabet,
    )
    hits = relevant_hits(hits, dict(enumerate(attribution)))
    longest = max(map(len, sequences), default=0)
    refined = []
    for name, pattern in names.items():
        mine = hits[hits["name"] == name]
        wide = mine.assign(start=mine["start"] - MARGIN, end=mine["end"] + MARGIN)[
            ["record", "start", "end", "strand"]
        ]
        again = (
            align(wide.reset_index(drop=True), sequences, alphabet)
            if len(wide) >= MIN_SITES
            else None
        )
        refined.append(again or pattern)
    return _distinct(
        sorted(refined, key=lambda pattern: -pattern.num_sites), len(sequences), longest
    )


def _distinct(patterns: list[SeqletPattern], num_records: int, length: int) -> list[SeqletPattern]:
    """Drop patterns with more than SHARED of their site centres in sites of earlier ones."""
    taken = np.zeros((num_records, length), dtype=bool)
    kept = []
    for pattern in patterns:
        record, start, end = (
            pattern.seqlets[column].to_numpy(dtype=int) for column in ("record", "start", "end")
        )
        if taken[record, (start + end) // 2].mean() > SHARED:
            continue
        kept.append(pattern)
        for row, first, last in zip(record, start, end, strict=True):
            taken[row, first:last] = True
    return kept
