"""Permute the columns of a motif, and find the hits of these meaningless motifs.

They have the composition and information content of the motif, so their hits and effects show what
the tests of `verdicts` find without a motif.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.evidence.held_out_records import HeldOut
from selfattn_bio.evidence.interventions import FEWER_RECORDS
from selfattn_bio.motifs.hits import find_hits
from selfattn_bio.sequence.intervals import counts_before

# Permuted motifs for each motif. At least 19 need enough hits: the rank among fewer cannot be .05.
NULLS = 20
# Windows that match as well as a hit, for each of these records. In small sets this needs a higher
# p-value threshold than that of the motif.
CANDIDATES = 10


def null_hits(
    ppm: NDArray[np.float64],
    num_sites: int,
    own: pd.DataFrame,
    held_out: HeldOut,
    hit_p: float,
    rng: np.random.Generator,
) -> list[pd.DataFrame]:
    """Find the hits of `NULLS` motifs whose columns are those of a motif in random order.

    Parameters
    ----------
    ppm, num_sites
        (width, A) probabilities of the motif, and its number of sites.
    own
        Hits of the motif itself in the records.
    held_out
        The records.
    hit_p
        As for `hits.find_hits`.

    Returns
    -------
    A table of hits as from `find_hits` for each permuted motif, with a column apart: whether the
    hit overlaps none of the motif. Hits have p-values below `hit_p`. If those apart are in fewer
    than `FEWER_RECORDS` records, the next best hits are added.
    """
    orders = [rng.permutation(len(ppm)) for _ in range(NULLS)]
    nulls = {str(number): ppm[order] for number, order in enumerate(orders)}
    alphabet = held_out.alphabet
    ends = np.cumsum([len(row) for row in held_out.sequences])
    loose_p = min(CANDIDATES * FEWER_RECORDS / (ends[-1] * (1 + alphabet.has_complement)), 1.0)
    sites = dict.fromkeys(nulls, num_sites)
    found = find_hits(nulls, sites, held_out.sequences, max(hit_p, loose_p), alphabet)
    first = np.concatenate(([0], ends[:-1]))
    change = np.zeros(ends[-1] + 1, dtype=np.int64)
    np.add.at(change, first[own["record"]] + own["start"].to_numpy(), 1)
    np.add.at(change, first[own["record"]] + own["end"].to_numpy(), -1)
    covered = counts_before(np.cumsum(change) > 0)
    start = first[found["record"]] + found["start"].to_numpy()
    found = found.assign(apart=covered[start + len(ppm)] == covered[start])
    by_name = dict(iter(found.groupby("name")))
    return [_best(by_name.get(name, found[:0]), hit_p) for name in nulls]


def _best(hits: pd.DataFrame, hit_p: float) -> pd.DataFrame:
    """Keep hits below `hit_p`, or up to the best `FEWER_RECORDS` records with hits apart."""
    best = hits[hits["apart"]].groupby("record")["p_value"].min().to_numpy()
    of_records = np.sort(best)[:FEWER_RECORDS]
    limit = max(hit_p, of_records.max(initial=0.0))
    return hits[hits["p_value"] <= limit]
