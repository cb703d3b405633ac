"""Do the sites of two motifs keep a distance, or an orientation? Permutations of the sites among the records say what chance gives.

Hides: the distances of all sites of one motif to all of the other, over all pairs of records. `interactions` calls it. It knows no model.

What chance gives: the sites of the second motif stay together and where they are, but in another record of about the same length. So both
motifs keep their own preferred places (before a start, say), and only what one record's sites have to do with each other is lost. In a
record of another length they would stand farther apart, or not at all, for that alone.
"""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.interpret.associations import quantile_groups

MAX_GAP = 150  # letters between two sites of a pair
BIN = 5  # letters of a bin of gaps
ORIENTATIONS = ("++", "+-", "-+", "--")
MAX_RECORDS = 400  # with both motifs, drawn at random: all pairs of them are looked at
PERMUTATIONS = 1000
ALIKE = 20  # records of about one length, among which sites are permuted
FAR = np.iinfo(np.int64).max

Numbers = NDArray[np.int64]


def gaps(start_a: Numbers, end_a: Numbers, start_b: Numbers, end_b: Numbers) -> Numbers:
    """Letters between two sites, [2, 5) and [9, 12) have 4; negative where they overlap."""
    return np.maximum(start_b - end_a, start_a - end_b)


def orientations(first_is_a: NDArray[np.bool_], minus_a: NDArray[np.bool_], minus_b: NDArray[np.bool_]) -> Numbers:
    """Index into `ORIENTATIONS`: the strands of a and b, read from the side on which a comes first.

    a on + before b on - is +-; so is the same on the other strand, b on + before a on -. b on + before a on + reads -- from there.
    """
    turned = ~first_is_a
    return 2 * (minus_a ^ turned).astype(np.int64) + (minus_b ^ turned).astype(np.int64)


def spacing(a: pd.DataFrame, b: pd.DataFrame, lengths: Numbers, rng: np.random.Generator) -> dict[Hashable, object]:
    """Test whether the closest sites of two motifs prefer a gap or an orientation.

    Parameters
    ----------
    a, b
        record, start, end (letters, 0-based half-open), strand: the sites of each motif, in any order.
    lengths
        (n,) of all records, in letters.
    rng
        Of records and permutations.

    Returns
    -------
    spacings: records by gap, in bins of `BIN` letters from 0, joined by ";". spacing_start, spacing_end: the bin (half-open letters
    between the sites) in most excess of what permutations give, spacing_fold by so much, spacing_p that any bin would be. orientation,
    orientation_fold, orientation_p: likewise. Nothing where no record has a pair within `MAX_GAP` letters.
    """
    both = np.intersect1d(a["record"], b["record"])
    both = np.sort(rng.permutation(both)[:MAX_RECORDS])
    code = _closest(_of_records(a, both), _of_records(b, both))  # (R, R)
    own = np.diagonal(code)
    if not len(both) or (own == FAR).all():
        return {}
    alike = quantile_groups(lengths[both], max(1, len(both) // ALIKE))
    places = np.argsort(alike, kind="stable")
    others = np.empty((PERMUTATIONS, len(both)), dtype=np.int64)
    for row in others:
        row[places] = np.lexsort((rng.random(len(both)), alike))  # any order within each group
    shuffled = code[np.arange(len(both)), others]  # (P, R)
    codes = np.vstack([own, shuffled])
    there = codes != FAR
    bins = _counts(np.where(there, codes // len(ORIENTATIONS) // BIN, -1), MAX_GAP // BIN + 1)
    ways = _counts(np.where(there, codes % len(ORIENTATIONS), -1), len(ORIENTATIONS))
    (bin_at, bin_fold, bin_p), (way_at, way_fold, way_p) = _excess(bins), _excess(ways)
    return {
        "spacings": ";".join(map(str, bins[0])),
        **{"spacing_start": bin_at * BIN, "spacing_end": (bin_at + 1) * BIN, "spacing_fold": bin_fold, "spacing_p": bin_p},
        **{"orientation": ORIENTATIONS[way_at], "orientation_fold": way_fold, "orientation_p": way_p},
    }


def _of_records(sites: pd.DataFrame, records: Numbers) -> tuple[pd.DataFrame, Numbers]:
    """The sites of these records, in their order, and where each record's begin."""
    kept = sites[sites["record"].isin(records)].sort_values("record", kind="stable")
    return kept, np.searchsorted(kept["record"].to_numpy(), records)


def _closest(a: tuple[pd.DataFrame, Numbers], b: tuple[pd.DataFrame, Numbers]) -> Numbers:
    """Of each record's sites of a with each record's of b, (R, R): gap x 4 + orientation of the closest; FAR where none is near."""
    if not len(a[1]):
        return np.empty((0, 0), dtype=np.int64)
    (start_a, end_a), (start_b, end_b) = ((sites["start"].to_numpy(), sites["end"].to_numpy()) for sites, _ in (a, b))
    gap = gaps(start_a[:, None], end_a[:, None], start_b, end_b)
    minus_a, minus_b = ((sites["strand"] == "-").to_numpy() for sites, _ in (a, b))
    way = orientations(start_a[:, None] < start_b, minus_a[:, None], minus_b)
    code = np.where((gap >= 0) & (gap <= MAX_GAP), gap * len(ORIENTATIONS) + way, FAR)
    return np.minimum.reduceat(np.minimum.reduceat(code, a[1], axis=0), b[1], axis=1)


def _counts(of_records: Numbers, num: int) -> Numbers:
    """(P, R) classes, -1 = none -> (P, num) records of each."""
    return np.stack([(of_records == number).sum(1) for number in range(num)], axis=1)


def _excess(counts: Numbers) -> tuple[int, float, float]:
    """The class in most excess of the permutations' mean, of several the fullest; how many fold; and p. The first row is what was seen, the
    others permutations.

    The statistic is the largest (seen - expected) / sqrt(expected + 1) of the classes, where rows are brought to the same sum: a
    permutation may have fewer pairs within reach.
    """
    totals = counts.sum(1, keepdims=True)
    rows = counts * (totals[0] / np.maximum(totals, 1))
    expected = rows[1:].mean(0)
    excess = (rows - expected) / np.sqrt(expected + 1)
    best = int(np.lexsort((rows[0], excess[0]))[-1])
    p = (1 + np.sum(excess[1:].max(1) >= excess[0, best] - 1e-12)) / len(rows)
    return best, float((rows[0, best] + 0.5) / (expected[best] + 0.5)), float(p)
