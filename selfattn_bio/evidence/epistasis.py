"""Measure the epistasis of pairs of sites by replacing the sites in copies of the record.

**Epistasis** of sites i and j is f(x) - f(x without i) - f(x without j) + f(x without both).
"Without" means that the bases of the site are replaced by those at the same positions in a
dinucleotide shuffle of the record. f is the calibrated log-odds of a positive (`evidence.verdicts`
gives the reason), averaged over both strands of DNA. With the sign of both single effects, each
site has a larger effect in the presence of the other; with the opposite sign, one site is enough.
The sign is kept, because |epistasis| does not separate true pairs from chance. The **single
effect** of a site is the mean of its effects with and without the other site.

Two controls use the same record. `matched` is the epistasis of one site of the pair with a random
site at the same distance. `expected` is the epistasis of a model without interactions, whose score
is a monotone curve over a sum of weights, one per site (`additive_scores`). It is not 0 if the
curve is not a line.

`spacing` tests whether the sites of two motifs prefer a distance or an orientation, by permutation.
It uses sites only, no model. For the null distribution, the sites of the second motif keep their
positions but are moved to another record of similar length. Both motifs thus keep their preferred
positions (for example upstream of a start), and only the relation between sites of the same record
is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import least_squares, nnls

from selfattn_bio.arrays import Bools, Floats, Integers
from selfattn_bio.evaluation.units import Units
from selfattn_bio.evidence.associations import quantile_groups
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.sequence.alphabet import Ascii, Letters
from selfattn_bio.sequence.intervals import counts_before
from selfattn_bio.sequence.shuffle import shuffle_letters

Span = tuple[int, int]
LogOdds = Callable[[Letters], Floats]

# The gap of a random site may differ by SLACK positions plus FRACTION times the gap of the pair.
SLACK, FRACTION = 5, 0.25
CHUNK = 256  # pairs of sites whose interventions are scored together
NAMES = ["name_a", "name_b"]
PAIR = ["record", *NAMES]
SITES = ["start_a", "end_a", "start_b", "end_b"]
# the four sequences of an epistasis, and their weights in it and in the single effects
SQUARE = ["both", "only_b", "only_a", "neither"]
SIGNS = np.array([1.0, -1.0, -1.0, 1.0])
EFFECTS = {"effect_a": [0.5, -0.5, 0.5, -0.5], "effect_b": [0.5, 0.5, -0.5, -0.5]}
RAMPS = 16  # linear pieces of the curve over the sum of the motifs
STEPS = 30  # maximum number of steps of the fit of the weights
MAX_GAP = 150  # maximum number of positions between two sites of a pair
BIN = 5  # width of a bin of gaps
ORIENTATIONS = ("++", "+-", "-+", "--")
ORDERS = {"++": "ab", "--": "ba"}  # orientations of motifs a and b if there is one strand
MAX_RECORDS = 400  # with both motifs, sampled at random; all pairs of these records are compared
PERMUTATIONS = 1000
GROUP_SIZE = 20  # records of similar length, among which sites are permuted
FAR = np.iinfo(np.int64).max


def site_pairs(sites: pd.DataFrame) -> pd.DataFrame:
    """List all pairs of non-overlapping sites of two different motifs in the same record.

    Sites of the same motif are not paired, because their order is arbitrary and cannot be permuted.

    Parameters
    ----------
    sites
        name, record, start, end (0-based half-open), strand, as from `matching.find_hits`.

    Returns
    -------
    One row per pair of sites, sorted by record, motifs and gap: record; name_a, start_a, end_a,
    strand_a and the same for b, with name_a < name_b; gap, the positions between the sites, at most
    `MAX_GAP`; orientation, one of `ORIENTATIONS`; closest, the fraction of the record's
    other pairs that are farther apart, 1 for the closest pair.
    """
    table = sites[["record", "name", "start", "end", "strand"]].drop_duplicates()
    pairs = table.merge(table, on="record", suffixes=("_a", "_b"))
    pairs = pairs[pairs["name_a"] < pairs["name_b"]]
    gap = gaps(*(pairs[column].to_numpy(dtype=np.int64) for column in SITES))
    pairs = pairs.assign(gap=gap)[(gap >= 0) & (gap <= MAX_GAP)].sort_values(
        [*PAIR, "gap"], kind="stable", ignore_index=True
    )
    minus_a, minus_b = ((pairs[column] == "-").to_numpy() for column in ("strand_a", "strand_b"))
    way = orientations((pairs["start_a"] < pairs["start_b"]).to_numpy(), minus_a, minus_b)
    rank = pairs.groupby("record")["gap"].rank(method="average")
    others = pairs.groupby("record")["gap"].transform("size") - 1
    closest = (1 - (rank - 1) / others.where(others > 0)).fillna(1.0)
    return pairs.assign(orientation=np.array(ORIENTATIONS, dtype=object)[way], closest=closest)


def epistasis(
    pairs: pd.DataFrame,
    sites: pd.DataFrame,
    sequences: Letters,
    log_odds: LogOdds,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Compute the epistasis of pairs of sites, and their controls.

    Parameters
    ----------
    pairs
        Pairs from `site_pairs`; record is an index into `sequences`.
    sites
        name, record, start, end of all sites. Random sites do not overlap them.
    sequences
        ASCII letters, one array per record.
    log_odds
        Function from sequences to (n,) log-odds of a positive, up to a constant
        (`mean_of_strands`).
    rng
        Generator for one shuffle per pair, whose letters replace the sites, and for random sites.

    Returns
    -------
    One row per pair, in the given order, in log-odds: epistasis; matched, the mean epistasis of
    each site with random sites at about the same distance on either side, missing if there is no
    space; expected, that of `additive_scores`; effect_a and effect_b, the single effects.
    """
    by_record = {
        record: group[["start", "end", "motif"]].to_numpy(dtype=np.int64)
        for record, group in sites.assign(motif=pd.factorize(sites["name"])[0]).groupby("record")
    }
    number = sites["name"].nunique()
    rows = list(pairs[["record", *SITES]].itertuples(index=False, name=None))
    squares: list[tuple[Any, ...]] = []
    scores, counts = [np.empty(0)], [np.empty((0, number), dtype=np.int64)]
    for first in range(0, len(rows), CHUNK):
        made: list[Ascii] = []
        before = sum(map(len, scores))
        for row, (record, *ends) in enumerate(rows[first : first + CHUNK], start=first):
            spans, own = ((ends[0], ends[1]), (ends[2], ends[3])), by_record[record]
            squares += [
                (row, kind, *(before + at for at in square))
                for kind, *square in _squares(sequences[record], spans, own, made, counts, rng)
            ]
        scores.append(log_odds(made))
    table = pd.DataFrame(squares, columns=["row", "kind", *SQUARE])
    found, at = np.concatenate(scores), table[SQUARE].to_numpy(dtype=np.int64)
    table["epistasis"] = found[at] @ SIGNS
    table["expected"] = additive_scores(np.vstack(counts), found)[at] @ SIGNS
    table[[*EFFECTS]] = found[at] @ np.transpose([*EFFECTS.values()])
    means = table[table["kind"] == "epistasis"].set_index("row").drop(columns=["kind", *SQUARE])
    means["matched"] = table[table["kind"] == "matched"].groupby("row")["epistasis"].mean()
    return means.reindex(range(len(rows))).set_axis(pairs.index)


def additive_scores(counts: NDArray[Any], scores: Floats) -> Floats:
    """Fit scores by a monotone curve over a sum of weights, one per site; return the fit, (n,).

    The curve consists of `RAMPS` linear pieces over the range of the sums. Sequences with equal
    sites are averaged first, because the noise of single scores would be taken for a curve.

    Parameters
    ----------
    counts
        (n, M) number of sites of each motif in each sequence.
    scores
        (n,) scores of the sequences.

    References
    ----------
    Otwinowski, McCandlish and Plotkin 2018 (global epistasis); Tareen et al. 2022 (MAVE-NN).
    """
    if not len(scores):
        return scores
    rows, row = np.unique(counts, axis=0, return_inverse=True)
    row = row.reshape(-1)
    number = np.bincount(row)
    mean, root = np.bincount(row, scores) / number, np.sqrt(number)
    ones = np.ones((len(rows), 1))

    def fitted(weights: Floats) -> Floats:
        sums = rows @ weights
        sums = (sums - sums.min()) / (np.ptp(sums) or 1.0)
        ramps = np.clip(RAMPS * sums[:, None] - np.arange(RAMPS), 0, 1)
        basis = np.hstack([ones, -ones, ramps])
        return basis @ nnls(basis * root[:, None], mean * root)[0]

    line = np.linalg.lstsq(np.hstack([rows, ones]) * root[:, None], mean * root)[0][:-1]
    found = least_squares(
        lambda weights: (fitted(weights) - mean) * root,
        line / (np.abs(line).sum() or 1.0),
        diff_step=1e-3,
        max_nfev=STEPS,
    )
    return fitted(found.x)[row]


def _squares(
    letters: Ascii,
    spans: tuple[Span, Span],
    sites: Integers,
    made: list[Ascii],
    counts: list[NDArray[Any]],
    rng: np.random.Generator,
) -> Iterator[tuple[Any, ...]]:
    """Build the sequences of one shuffle, four for each epistasis, and add them to `made`.

    `sites` has start, end and motif of each site of the record. The number of sites of each motif
    that are left is added to `counts`. In one more sequence each site is left with probability 1/2,
    so that the curve of `additive_scores` is known over the full range of sums.

    Yields the kind ("epistasis" or "matched"), then the indices of the four sequences in `made`, in
    the order of `SIGNS`.
    """
    neutral = shuffle_letters(letters, 2, rng)

    def add(*replaced: Span) -> int:
        made.append(put(letters, neutral, *replaced))
        gone = [(sites[:, 0] < end) & (start < sites[:, 1]) for start, end in replaced]
        left = sites[~np.any(gone, axis=0), 2] if gone else sites[:, 2]
        counts.append(np.bincount(left, minlength=counts[0].shape[1])[None])
        return len(made) - 1

    both, alone = add(), [add(span) for span in spans]
    yield "epistasis", both, *alone, add(*spans)
    add(*((start, end) for start, end, _ in sites[rng.random(len(sites)) < 0.5].tolist()))
    covered = np.zeros(len(letters), bool)
    for start, end in sites[:, :2]:
        covered[start:end] = True
    before = counts_before(covered)
    for own, other in ((0, 1), (1, 0)):
        fixed, gone = spans[own], spans[other]
        starts = _free_starts(fixed, gone, before)
        if len(starts):
            at = int(rng.choice(starts))
            span = (at, at + gone[1] - gone[0])
            yield "matched", both, alone[own], add(span), add(fixed, span)


def put(letters: Ascii, other: Ascii, *spans: Span) -> Ascii:
    """Copy `letters` and replace the spans by those of `other`."""
    copy = letters.copy()
    for span in spans:
        copy[slice(*span)] = other[slice(*span)]
    return copy


def _free_starts(
    fixed: tuple[int, int], other: tuple[int, int], before: NDArray[np.int32]
) -> Integers:
    """Return the starts of possible random sites in place of `other`.

    Such a site has the width of `other`, overlaps no site and is about as far from `fixed` as
    `other` is. `before` counts the positions before each position that are in a site.
    """
    width = other[1] - other[0]
    start = np.arange(len(before) - width)
    gap = max(other[0] - fixed[1], fixed[0] - other[1])
    far = np.abs(np.maximum(start - fixed[1], fixed[0] - (start + width)) - gap)
    return start[(far <= SLACK + FRACTION * gap) & (before[start + width] == before[start])]


def mean_of_strands(scorer: Scorer, scores: LogOdds) -> LogOdds:
    """Return a function from sequences to scores (n,) averaged over both strands of DNA.

    `scores` is such a function for the given strand. It is returned if there is only this strand,
    if the model reads both, or if it has outputs per token or position, which differ between the
    strands. On one strand of DNA, the epistasis of a pair is dominated by noise.
    """
    is_stranded = not scorer.run.objective.is_per_record
    if not scorer.alphabet.has_complement or scorer.both_strands or is_stranded:
        return scores

    def mean(sequences: Letters) -> Floats:
        reverse = [scorer.alphabet.reverse_complement(letters) for letters in sequences]
        return (scores(sequences) + scores(reverse)) / 2

    return mean


def gaps(start_a: Integers, end_a: Integers, start_b: Integers, end_b: Integers) -> Integers:
    """Return the number of positions between two sites; negative if they overlap.

    It is 4 for [2, 5) and [9, 12).
    """
    return np.maximum(start_b - end_a, start_a - end_b)


def orientations(first_is_a: Bools, minus_a: Bools, minus_b: Bools) -> Integers:
    """Return indices into `ORIENTATIONS` of pairs of sites, in the shape of the arguments.

    The orientation is the strands of a and b, read in the direction in which a comes first.
    a on + before b on - is +-, and so is b on + before a on -, which is the same arrangement on the
    other strand. b on + before a on + is --.
    """
    is_swapped = ~first_is_a
    return 2 * (minus_a ^ is_swapped).astype(np.int64) + (minus_b ^ is_swapped).astype(np.int64)


def spacing(
    a: pd.DataFrame,
    b: pd.DataFrame,
    lengths: Integers,
    rng: np.random.Generator,
    units: Units | None = None,
) -> dict[Hashable, object]:
    """Test whether the closest sites of two motifs prefer a gap or an orientation.

    Sites of b are compared with those of a in permuted records of similar length. The records of a
    unit are permuted together.

    Parameters
    ----------
    a, b
        Sites of each motif in any order: record, start, end (0-based half-open), strand.
    lengths
        (n,) length of every record.
    rng
        Generator for sampling records and for permutations.
    units
        Units of all records; single records by default.

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
    of_records = Units.single(len(both)) if units is None else units.within(both)
    others = _permuted(pd.factorize(of_records.numbers)[0], lengths[both], rng)
    shuffled = code[np.arange(len(both)), others]  # (P, R)
    codes = np.vstack([own, shuffled])
    there = codes != FAR
    bins = _counts(np.where(there, codes // len(ORIENTATIONS) // BIN, -1), MAX_GAP // BIN + 1)
    ways = _counts(np.where(there, codes % len(ORIENTATIONS), -1), len(ORIENTATIONS))
    (bin_at, bin_fold, bin_p), (way_at, way_fold, way_p) = _excess(bins), _excess(ways)
    return {
        "spacings": ";".join(map(str, bins[0])),
        "spacing_start": bin_at * BIN,
        "spacing_end": (bin_at + 1) * BIN,
        "spacing_fold": bin_fold,
        "spacing_p": bin_p,
        "orientation": ORIENTATIONS[way_at],
        "orientation_fold": way_fold,
        "orientation_p": way_p,
    }


def _permuted(unit: Integers, lengths: Integers, rng: np.random.Generator) -> Integers:
    """Permute the units of R records among units of similar length; returns rows (P, R).

    A larger unit gets the records of a smaller one repeatedly.
    """
    records, sizes = np.argsort(unit, kind="stable"), np.bincount(unit)
    first = np.cumsum(sizes) - sizes
    rank = pd.Series(unit).groupby(unit).cumcount().to_numpy()  # within the unit
    groups = quantile_groups(np.bincount(unit, lengths) / sizes, max(1, len(sizes) // GROUP_SIZE))
    order = np.argsort(groups, kind="stable")
    others = np.empty((PERMUTATIONS, len(unit)), dtype=np.int64)
    for row in others:
        permuted = np.empty_like(order)
        permuted[order] = np.lexsort((rng.random(len(sizes)), groups))  # random within each group
        other = permuted[unit]
        row[:] = records[first[other] + rank % sizes[other]]
    return others


def _of_records(sites: pd.DataFrame, records: Integers) -> tuple[pd.DataFrame, Integers]:
    """Return the sites of these records, sorted by record, and the first row of each record."""
    kept = sites[sites["record"].isin(records)].sort_values("record", kind="stable")
    return kept, np.searchsorted(kept["record"].to_numpy(), records)


def _closest(a: tuple[pd.DataFrame, Integers], b: tuple[pd.DataFrame, Integers]) -> Integers:
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


def _counts(of_records: Integers, num: int) -> Integers:
    """Count classes (P, R), -1 = none, in each row; returns (P, num)."""
    return np.stack([(of_records == number).sum(1) for number in range(num)], axis=1)


def _excess(counts: Integers) -> tuple[int, float, float]:
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
