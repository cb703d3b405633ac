"""Test whether the sites of two motifs prefer a distance or an orientation, by permutation.

The tests use sites only, no model. For the null distribution, the sites of the second motif keep
their positions but are moved to another record of similar length. Both motifs thus keep their
preferred positions (for example upstream of a start), and only the relation between sites of the
same record is lost. In a record of another length, distances would differ for that reason alone.
"""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.interpret.associations import quantile_groups

MAX_GAP = 150  # maximum number of positions between two sites of a pair
BIN = 5  # width of a bin of gaps
ORIENTATIONS = ("++", "+-", "-+", "--")
MAX_RECORDS = 400  # with both motifs, sampled at random; all pairs of these records are compared
PERMUTATIONS = 1000
GROUP_SIZE = 20  # records of similar length, among which sites are permuted
FAR = np.iinfo(np.int64).max

Numbers = NDArray[np.int64]


def gaps(start_a: Numbers, end_a: Numbers, start_b: Numbers, end_b: Numbers) -> Numbers:
    """Return the number of positions between two sites; negative if they overlap.

    It is 4 for [2, 5) and [9, 12).
    """
    return np.maximum(start_b - end_a, start_a - end_b)


def orientations(
    first_is_a: NDArray[np.bool_], minus_a: NDArray[np.bool_], minus_b: NDArray[np.bool_]
) -> Numbers:
    """Return indices into `ORIENTATIONS` of pairs of sites, in the shape of the arguments.

    The orientation is the strands of a and b, read in the direction in which a comes first.
    a on + before b on - is +-, and so is b on + before a on -, which is the same arrangement on the
    other strand. b on + before a on + is --.
    """
    is_swapped = ~first_is_a
    return 2 * (minus_a ^ is_swapped).astype(np.int64) + (minus_b ^ is_swapped).astype(np.int64)


def spacing(
    a: pd.DataFrame, b: pd.DataFrame, lengths: Numbers, rng: np.random.Generator
) -> dict[Hashable, object]:
    """Test whether the closest sites of two motifs prefer a gap or an orientation.

    Parameters
    ----------
    a, b
        Sites of each motif in any order: record, start, end (0-based half-open), strand.
    lengths
        (n,) length of every record.
    rng
        Generator for sampling records and for permutations.

    Returns
    -------
    spacings: number of records by gap, in bins of `BIN` positions from 0, joined by ";".
    spacing_start, spacing_end: the bin (half-open, positions between the sites) with the largest
    excess over the permutations. spacing_fold: the fold excess. spacing_p: p-value for an excess
    in any bin. orientation, orientation_fold, orientation_p: the same for orientations. Empty if
    no record has a pair within `MAX_GAP` positions.
    """
    both = np.intersect1d(a["record"], b["record"])
    both = np.sort(rng.permutation(both)[:MAX_RECORDS])
    code = _closest(_of_records(a, both), _of_records(b, both))  # (R, R)
    own = np.diagonal(code)
    if not len(both) or (own == FAR).all():
        return {}
    length_groups = quantile_groups(lengths[both], max(1, len(both) // GROUP_SIZE))
    order = np.argsort(length_groups, kind="stable")
    others = np.empty((PERMUTATIONS, len(both)), dtype=np.int64)
    for row in others:
        row[order] = np.lexsort(
            (rng.random(len(both)), length_groups)
        )  # random order within each group
    shuffled = code[np.arange(len(both)), others]  # (P, R)
    codes = np.vstack([own, shuffled])
    there = codes != FAR
    bins = _counts(np.where(there, codes // len(ORIENTATIONS) // BIN, -1), MAX_GAP // BIN + 1)
    ways = _counts(np.where(there, codes % len(ORIENTATIONS), -1), len(ORIENTATIONS))
    (bin_at, bin_fold, bin_p), (way_at, way_fold, way_p) = _excess(bins), _excess(ways)
    return {
        "spacings": ";".join(map(str, bins[0])),
        **{
            "spacing_start": bin_at * BIN,
            "spacing_end": (bin_at + 1) * BIN,
            "spacing_fold": bin_fold,
            "spacing_p": bin_p,
        },
        **{
            "orientation": ORIENTATIONS[way_at],
            "orientation_fold": way_fold,
            "orientation_p": way_p,
        },
    }


def _of_records(sites: pd.DataFrame, records: Numbers) -> tuple[pd.DataFrame, Numbers]:
    """Return the sites of these records, sorted by record, and the first row of each record."""
    kept = sites[sites["record"].isin(records)].sort_values("record", kind="stable")
    return kept, np.searchsorted(kept["record"].to_numpy(), records)


def _closest(a: tuple[pd.DataFrame, Numbers], b: tuple[pd.DataFrame, Numbers]) -> Numbers:
    """Compare the sites of each record of a with those of each record of b, (R, R).

    Returns gap x 4 + orientation of the closest pair; FAR if no pair is near.
    """
    if not len(a[1]):
        return np.empty((0, 0), dtype=np.int64)
    (start_a, end_a), (start_b, end_b) = (
        (sites["start"].to_numpy(), sites["end"].to_numpy()) for sites, _ in (a, b)
    )
    gap = gaps(start_a[:, None], end_a[:, None], start_b, end_b)
    minus_a, minus_b = ((sites["strand"] == "-").to_numpy() for sites, _ in (a, b))
    way = orientations(start_a[:, None] < start_b, minus_a[:, None], minus_b)
    code = np.where((gap >= 0) & (gap <= MAX_GAP), gap * len(ORIENTATIONS) + way, FAR)
    return np.minimum.reduceat(np.minimum.reduceat(code, a[1], axis=0), b[1], axis=1)


def _counts(of_records: Numbers, num: int) -> Numbers:
    """Count classes (P, R), -1 = none, in each row; returns (P, num)."""
    return np.stack([(of_records == number).sum(1) for number in range(num)], axis=1)


def _excess(counts: Numbers) -> tuple[int, float, float]:
    """Return the class with the largest excess over the permutations, its fold excess and p-value.

    The first row of `counts` is observed, the others are permutations. Ties go to the class with
    the highest count. The statistic is the maximum over classes of (observed - expected) /
    sqrt(expected + 1). Rows are scaled to the same sum first, because a permutation may have fewer
    pairs in range.
    """
    totals = counts.sum(1, keepdims=True)  # (P + 1, 1)
    rows = counts * (totals[0] / np.maximum(totals, 1))
    expected = rows[1:].mean(0)
    excess = (rows - expected) / np.sqrt(expected + 1)
    best = int(np.lexsort((rows[0], excess[0]))[-1])
    p = (1 + np.sum(excess[1:].max(1) >= excess[0, best] - 1e-12)) / len(rows)
    return best, float((rows[0, best] + 0.5) / (expected[best] + 0.5)), float(p)
