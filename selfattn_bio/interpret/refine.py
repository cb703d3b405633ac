"""From a pattern of seqlets to the motif in the sequences: one round of scanning and counting again.

Hides: the round. `Explanation.motifs` runs it between `seqlets` and `motifs`.

TF-MoDISco aligns short windows, a share of all, by what the network says of them: its patterns are right in the middle and blurred or
cut at the ends. So each pattern is searched for in the explained sequences, the hits that carry relevance are lined up with some letters
on each side, and the motif is counted and trimmed on these. Evidence is weighed on other records, so nothing is proved by it here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.interpret.hits import HIT_P, find_hits, relevant_hits
from selfattn_bio.interpret.patterns import Pattern, align
from selfattn_bio.sequence.alphabet import DNA

MARGIN = 6  # letters on each side that may turn out to belong to the motif
MIN_SITES = 20
SHARED = 0.5  # of its sites: a pattern that shares more with a larger one is the same motif


def refine_patterns(
    patterns: Sequence[Pattern], sequences: Sequence[NDArray[np.uint8]], relevance: Sequence[NDArray[np.float32]]
) -> list[Pattern]:
    """Build each pattern again from its relevant hits, and keep one of those that turn out to be the same motif.

    Parameters
    ----------
    patterns
        As a caller found them (`patterns.Discovery`).
    sequences
        ASCII letters of the explained records, one array a record.
    relevance
        Importance of each letter, one array a record.

    Returns
    -------
    Most sites first. A pattern with fewer than MIN_SITES relevant hits, or of too little information on them, stays as it was.
    """
    names = {f"pattern_{number}": pattern for number, pattern in enumerate(patterns)}
    ppms = {name: pattern.ppm for name, pattern in names.items()}
    alphabet = patterns[0].alphabet if patterns else DNA
    hits = find_hits(ppms, {name: pattern.num_sites for name, pattern in names.items()}, sequences, HIT_P, alphabet)
    hits = relevant_hits(hits, dict(enumerate(relevance)))
    longest = max(map(len, sequences), default=0)
    refined = []
    for name, pattern in names.items():
        mine = hits[hits["name"] == name]
        wide = mine.assign(start=mine["start"] - MARGIN, end=mine["end"] + MARGIN)[["record", "start", "end", "strand"]]
        again = align(wide.reset_index(drop=True), sequences, alphabet) if len(wide) >= MIN_SITES else None
        refined.append(again or pattern)
    return _distinct(sorted(refined, key=lambda pattern: -pattern.num_sites), len(sequences), longest)


def _distinct(patterns: list[Pattern], num_records: int, length: int) -> list[Pattern]:
    """The patterns of whose sites no more than SHARED have their middle in a site of one before."""
    taken = np.zeros((num_records, length), dtype=bool)
    kept = []
    for pattern in patterns:
        record, start, end = (pattern.seqlets[column].to_numpy(dtype=int) for column in ("record", "start", "end"))
        if taken[record, (start + end) // 2].mean() > SHARED:
            continue
        kept.append(pattern)
        for row, first, last in zip(record, start, end, strict=True):
            taken[row, first:last] = True
    return kept
