"""Measure the epistasis of pairs of sites by replacing the sites in copies of the record.

**Epistasis** of sites i and j is f(x) - f(x without i) - f(x without j) + f(x without both).
"Without" means that the bases of the site are replaced by those at the same positions in a
dinucleotide shuffle of the record. f is the calibrated log-odds of a positive (`evidence.verdicts`
gives the reason), averaged over both strands for DNA. Positive epistasis: each site has a larger
effect in the presence of the other. Negative: one site is enough. The sign is kept, because
|epistasis| does not separate true pairs from chance.

Two controls use the same record and distance. `matched` is the epistasis of one site of the pair
with a random site. `expected` is the epistasis of any two motifs with such effects, which is not 0
if the model responds non-linearly to the sum of all motifs: to second order it is proportional to
the product of the two effects. The factor is fitted to pairs in which a site of a third motif
replaces one of the sites. Effects are means over all records, because the effect of a single site
has the same noise as its epistasis.

`spacing` tests whether the sites of two motifs prefer a distance or an orientation, by permutation.
It uses sites only, no model. For the null distribution, the sites of the second motif keep their
positions but are moved to another record of similar length. Both motifs thus keep their preferred
positions (for example upstream of a start), and only the relation between sites of the same record
is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.arrays import Bools, Floats, Integers
from selfattn_bio.evidence.associations import quantile_groups
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.sequence.alphabet import Ascii, Letters
from selfattn_bio.sequence.intervals import counts_before
from selfattn_bio.sequence.shuffle import shuffle_letters

Span = tuple[int, int]
LogOdds = Callable[[Letters], Floats]

DRAWS = 2  # shuffles per record; their letters replace the sites
# The gap of a random site may differ by SLACK positions plus FRACTION times the gap of the pair.
SLACK, FRACTION = 5, 0.25
CHUNK = 256  # pairs of sites whose interventions are scored together
NAMES = ["name_a", "name_b"]
PAIR = ["record", *NAMES]
SITES = ["start_a", "end_a", "start_b", "end_b"]
COLUMNS = ["epistasis", "matched", "expected"]
# the four sequences of an epistasis, and their signs
SQUARE = ["both", "only_b", "only_a", "neither"]
SIGNS = np.array([1.0, -1.0, -1.0, 1.0])
MAX_GAP = 150  # maximum number of positions between two sites of a pair
BIN = 5  # width of a bin of gaps
ORIENTATIONS = ("++", "+-", "-+", "--")
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
    *,
    draws: int = DRAWS,
) -> pd.DataFrame:
    """Compute the epistasis of pairs of sites, and their controls.

    Parameters
    ----------
    pairs
        Pairs from `site_pairs`; record is an index into `sequences`.
    sites
        name, record, start, end of all sites. Random sites do not overlap them, and sites of other
        motifs are taken from them.
    sequences
        ASCII letters, one array per record.
    log_odds
        Function from sequences to (n,) log-odds of a positive, up to a constant
        (`mean_of_strands`).
    rng
        Generator for shuffles, random sites and sites of other motifs.
    draws
        Number of shuffles to average.

    Returns
    -------
    One row per pair, in the given order, in log-odds: epistasis; matched, the mean epistasis of
    each site with random sites at about the same distance on either side, missing if there is no
    space; expected, for the mean effects of the two motifs, missing if there is no other motif.
    Motifs without a site in the record are preferred to fit it.
    """
    by_record: Any = sites[sites["record"].isin(pairs["record"])].groupby("record")
    before = {record: covered_before(group, len(sequences[record])) for record, group in by_record}
    names = {record: set(group["name"]) for record, group in by_record}
    letters_of: dict[str, list[Ascii]] = {}
    spans_of = sites[["name", "record", "start", "end"]]
    for name, record, start, end in spans_of.itertuples(index=False):
        letters_of.setdefault(name, []).append(sequences[record][start:end])
    rows = list(pairs[[*PAIR, *SITES]].itertuples(index=False, name=None))
    scored = []
    for first in range(0, len(rows), CHUNK):
        made: list[Ascii] = []
        squares: list[tuple[str | int, ...]] = []
        chunk = rows[first : first + CHUNK]
        for number, (record, name_a, name_b, *ends) in enumerate(chunk, start=first):
            others = sorted(set(letters_of) - {name_a, name_b})
            absent = [name for name in others if name not in names[record]]
            thirds = {name: letters_of[name] for name in absent or others}
            spans = (ends[0], ends[1]), (ends[2], ends[3])
            for _ in range(draws):
                found = _squares(
                    sequences[record], (name_a, name_b), spans, before[record], thirds, made, rng
                )
                squares += [(number, *square) for square in found]
        table = pd.DataFrame(squares, columns=["row", "kind", *NAMES, *SQUARE])
        table[SQUARE] = log_odds(made)[table[SQUARE].to_numpy()]
        scored.append(table.assign(epistasis=table[SQUARE].to_numpy() @ SIGNS))
    if not scored:
        return pd.DataFrame(columns=COLUMNS, index=pairs.index, dtype=float)
    every = pd.concat(scored, ignore_index=True)
    means = every.pivot_table("epistasis", "row", "kind")
    means = means.reindex(index=range(len(rows)), columns=COLUMNS[:2]).set_axis(pairs.index)
    return means.assign(expected=expected_epistasis(pairs, every))


def expected_epistasis(pairs: pd.DataFrame, squares: pd.DataFrame) -> Floats:
    """Return the epistasis of any two motifs with the mean effects of each pair, (n,).

    It is the product of the effects times a factor, fitted by least squares to the squares with a
    site of a third motif, without those that combine the same two motifs; nan if there are none.
    The effect of a motif is measured without the other site.
    """
    of_sites = squares[squares["kind"] != "matched"]
    effects = of_sites[["only_a", "only_b"]].sub(of_sites["neither"], axis=0).to_numpy().ravel()
    effect = pd.Series(effects).groupby(of_sites[NAMES].to_numpy().ravel()).mean()
    thirds = squares[squares["kind"] == "third"]
    if thirds.empty:
        return np.full(len(pairs), np.nan)
    of_thirds, of_pairs = (
        (each["name_a"].map(effect) * each["name_b"].map(effect)).to_numpy(float)
        for each in (thirds, pairs)
    )
    sums = pd.DataFrame({"xy": thirds["epistasis"] * of_thirds, "xx": of_thirds**2})
    of_names = sums.groupby(list(np.sort(thirds[NAMES].to_numpy(str), axis=1).T)).sum()
    own = of_names.reindex(pd.MultiIndex.from_frame(pairs[NAMES]), fill_value=0.0)
    rest = (of_names.sum() - own).to_numpy()
    factors = [product / square if square else np.nan for product, square in rest]
    return np.array(factors) * of_pairs


def _squares(
    letters: Ascii,
    names: tuple[str, str],
    spans: tuple[Span, Span],
    before: NDArray[np.int32],
    thirds: Mapping[str, Letters],
    made: list[Ascii],
    rng: np.random.Generator,
) -> Iterator[tuple[str | int, ...]]:
    """Build the sequences of one shuffle, four for each epistasis, and add them to `made`.

    Yields the kind ("epistasis", "matched" or "third"), the names of the two motifs ("" for a
    random site), then the indices of the four sequences in `made`, in the order of `SIGNS`.
    """

    def add(sequence: Ascii) -> int:
        made.append(sequence)
        return len(made) - 1

    neutral = shuffle_letters(letters, 2, rng)
    both, alone = add(letters), [add(put(letters, neutral, span)) for span in spans]
    neither = add(put(letters, neutral, *spans))
    yield "epistasis", *names, both, *alone, neither
    for own, other in ((0, 1), (1, 0)):
        fixed, gone = spans[own], spans[other]
        starts = _free_starts(fixed, gone, before)
        if len(starts):
            at = int(rng.choice(starts))
            span = (at, at + gone[1] - gone[0])
            without = add(put(letters, neutral, span)), add(put(letters, neutral, fixed, span))
            yield "matched", names[own], "", both, alone[own], *without
        if thirds:
            third = list(thirds)[int(rng.integers(len(thirds)))]
            site = thirds[third][int(rng.integers(len(thirds[third])))]
            # keep the distance: align the edge that faces the other site
            start = gone[0] if gone[0] >= fixed[1] else gone[1] - len(site)
            if 0 <= start <= len(letters) - len(site):
                swapped = made[alone[other]].copy()
                swapped[start : start + len(site)] = site
                two = add(swapped), add(put(swapped, neutral, fixed))
                yield "third", names[own], third, *two, alone[other], neither


def put(letters: Ascii, other: Ascii, *spans: Span) -> Ascii:
    """Copy `letters` and replace the spans by those of `other`."""
    copy = letters.copy()
    for span in spans:
        copy[slice(*span)] = other[slice(*span)]
    return copy


def covered_before(sites: pd.DataFrame, length: int) -> NDArray[np.int32]:
    """Count the positions before each position that are in a site, shape (length + 1,)."""
    covered = np.zeros(length, bool)
    for start, end in zip(sites["start"], sites["end"], strict=True):
        covered[start:end] = True
    return counts_before(covered)


def _free_starts(
    fixed: tuple[int, int], other: tuple[int, int], before: NDArray[np.int32]
) -> Integers:
    """Return the starts of possible random sites in place of `other`.

    Such a site has the width of `other`, overlaps no site and is about as far from `fixed` as
    `other` is. `before` is from `covered_before`.
    """
    width = other[1] - other[0]
    start = np.arange(len(before) - width)
    gap = max(other[0] - fixed[1], fixed[0] - other[1])
    far = np.abs(np.maximum(start - fixed[1], fixed[0] - (start + width)) - gap)
    return start[(far <= SLACK + FRACTION * gap) & (before[start + width] == before[start])]


def mean_of_strands(scorer: Scorer, scores: LogOdds) -> LogOdds:
    """Return a function from sequences to scores (n,) averaged over both strands for DNA.

    `scores` is such a function for the given strand. It is returned if the model reads both, or
    has outputs per token or position, which differ between the strands. On a single strand, the
    epistasis of a pair is dominated by noise.
    """
    is_stranded = not scorer.run.objective.is_per_record
    if scorer.alphabet.name != "dna" or scorer.both_strands or is_stranded:
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
    a: pd.DataFrame, b: pd.DataFrame, lengths: Integers, rng: np.random.Generator
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
        # random order within each group
        row[order] = np.lexsort((rng.random(len(both)), length_groups))
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
