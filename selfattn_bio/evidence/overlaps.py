"""Find hits of permuted motifs, and hits of a motif that overlap those of another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from selfattn_bio.arrays import Bools, Floats
from selfattn_bio.evidence.positions import MIN_SITES
from selfattn_bio.evidence.records import FEWER_RECORDS, HeldOut
from selfattn_bio.motifs.matching import find_hits
from selfattn_bio.sequence.intervals import merge_intervals

# Permuted motifs for each motif. At least 19 need enough hits: the rank among fewer cannot be .05.
NULLS = 20
MANY_NULLS = 200  # if permuted motifs have hits in fewer records than the motif
# Windows that match as well as a hit, for each of these records. In small sets this needs a higher
# p-value threshold than that of the motif.
CANDIDATES = 10


def overlaps(hits: pd.DataFrame, others: pd.DataFrame) -> Bools:
    """Return which hits (record, start, end) overlap one of `others` in their record, (n,)."""
    # so that intervals of two records do not touch
    size = int(np.concatenate([hits["end"], others["end"]]).max(initial=0)) + 1
    a, b = (each[["start", "end"]].add(size * each["record"], axis=0) for each in (hits, others))
    first, last = merge_intervals(b["start"], b["end"])
    next_start = np.append(first, np.iinfo(np.int64).max)[
        np.searchsorted(last, a["start"], "right")
    ]
    return next_start < a["end"].to_numpy()


def null_hits(
    ppm: Floats,
    num_sites: int,
    own: pd.DataFrame,
    held_out: HeldOut,
    hit_p: float,
    rng: np.random.Generator,
    number: int = NULLS,
) -> list[pd.DataFrame]:
    """Find the hits of a number of motifs whose columns are those of a motif in random order.

    They have its composition and information content, so their hits and effects show what the tests
    find without a motif.

    Parameters
    ----------
    ppm, num_sites
        (width, A) probabilities of the motif, and its number of sites.
    own
        Hits of the motif itself in the records.
    held_out
        The records.
    hit_p
        As for `matching.find_hits`.

    Returns
    -------
    A table of hits as from `find_hits` for each permuted motif, with a column apart: whether the
    hit overlaps none of the motif. Hits have p-values below `hit_p`. If those apart are in fewer
    than `FEWER_RECORDS` records, the next best hits are added.
    """
    orders = [rng.permutation(len(ppm)) for _ in range(number)]
    # the order of the motif itself, one of 24 for four columns, is no control
    orders = [np.roll(order, 1) if (np.diff(order) == 1).all() else order for order in orders]
    nulls = {str(index): ppm[order] for index, order in enumerate(orders)}
    alphabet = held_out.alphabet
    size = sum(map(len, held_out.sequences)) * (1 + alphabet.has_complement)
    loose_p = min(CANDIDATES * FEWER_RECORDS / size, 1.0)
    sites = dict.fromkeys(nulls, num_sites)
    found = find_hits(nulls, sites, held_out.sequences, max(hit_p, loose_p), alphabet)
    found = found.assign(apart=~overlaps(found, own))
    by_name = dict(iter(found.groupby("name")))
    return [_best(by_name.get(name, found[:0]), hit_p) for name in nulls]


def _best(hits: pd.DataFrame, hit_p: float) -> pd.DataFrame:
    """Keep hits below `hit_p`, or up to the best `FEWER_RECORDS` records with hits apart."""
    best = hits[hits["apart"]].groupby("record")["p_value"].min().to_numpy()
    of_records = np.sort(best)[:FEWER_RECORDS]
    limit = max(hit_p, of_records.max(initial=0.0))
    return hits[hits["p_value"] <= limit]


def described_elsewhere(
    nulls: Sequence[pd.DataFrame], held_out: HeldOut, hit_p: float
) -> list[pd.DataFrame]:
    """Return the hits of permuted motifs with which the positions of a motif are compared.

    They are in described records and overlap no hit of the motif, because others are where the
    motif is. If fewer than `MIN_SITES` records have a hit, the next best matches are added up to
    that number: permuted motifs are that rare if only the best matches of a motif are hits.
    """
    apart = [each[each["apart"] & each["record"].isin(held_out.described)] for each in nulls]
    best = pd.concat(apart).groupby("record")["p_value"].min().nsmallest(MIN_SITES)
    limit = np.fmax(np.nextafter(hit_p, 0), best.max())  # without a match, the first
    return [each[each["p_value"] <= limit] for each in apart]
