"""Test where the hits of a motif are: in which records, at which position and on which strand.

These tests use sequences and their labels or values only; the model is not run. Records of one unit
are not independent: if hits and labels (or values) are similar within units, the variance of a test
is multiplied by the design effect (`Units.design_effect`). Exact tests are those of single records.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from scipy import stats
from scipy.special import gammaln

from selfattn_bio.arrays import Bools, Floats, Integers
from selfattn_bio.evaluation.units import Units
from selfattn_bio.sequence.alphabet import DNA, Alphabet, Letters
from selfattn_bio.sequence.kmers import gc_content

# Largest numbers of groups by GC content and by length. Groups have about the same number of
# records, at least MIN_IN_GROUP. Wide groups leave differences in GC content within them: with ten,
# matched_p of GC-rich motifs among 4,000 records was below .05 in 7.6 % of tests, with 40 in 5.1 %.
GROUPS = 40
LENGTH_GROUPS = 3
MIN_IN_GROUP = 40
NEGLIGIBLE = 1e-300  # probability
RARE = 1e-4  # probability below which three moments do not describe the tail of a distribution
MIN_SITES = 10  # minimum number of records with a hit for a profile of positions or strands
PEAK = 10  # width in bp of the window with most hits
DRAWS = 1000  # random placements of the hits, for the p-value of the fullest window
MEAN_DISTANCE = math.sqrt(math.pi / 2) * math.log(2)  # of Kolmogorov's distribution
WINDOW = ("window_start", "window_end", "window_hits", "window_expected", "window_p")
CONFIDENCE = 0.95  # of the intervals in motifs.tsv
# a motif is a palindrome if its PPM differs from the reverse complement by less on average
PALINDROME = 0.15


def is_palindromic(ppm: Floats) -> bool:
    """Return whether a motif (width, A) is nearly its own reverse complement."""
    return bool(np.abs(ppm - ppm[::-1, ::-1]).mean() < PALINDROME)


def _has_hit(hits: pd.DataFrame, number: int) -> Bools:
    """Return whether each of a number of records has a hit."""
    return np.isin(np.arange(number), hits["record"].to_numpy(dtype=int))


def _shift(
    scores: Floats, has: Bools, strata: Integers, units: Units | None
) -> tuple[float, float, float, float]:
    """Compare the sum of scores of records with a hit with random hits in each stratum.

    Returns
    -------
    The excess of the sum; its one-sided and two-sided p-values, from the first three moments of all
    permutations within strata (one-sided for counts, which change in steps); and the design effect
    of the units.
    """
    held, number = np.bincount(strata, has), np.bincount(strata)
    x = scores - (np.bincount(strata, scores) / number)[strata]
    y = has - (held / number)[strata]
    effect = units.design_effect(x, y) if units else 1.0
    ways = held * (number - held) / np.maximum(number * (number - 1), 1)
    skewed = ways * (number - 2 * held) / np.maximum(number - 2, 1) * np.bincount(strata, x**3)
    variance = effect * float((ways * np.bincount(strata, x**2)).sum())
    excess, skewness = float(x[has].sum()), effect**2 * skewed.sum() / (variance**1.5 or 1.0)
    if not variance:
        return excess, 1.0, 1.0, effect
    deviation = math.sqrt(variance)
    one = _tail((excess - effect / 2) / deviation, skewness)
    z = excess / deviation
    return excess, one, 2 * min(_tail(z, skewness), _tail(-z, -skewness)), effect


def _tail(z: float, skewness: float) -> float:
    """Return the probability of at least z by the distribution Pearson III.

    It is bounded on the side without the long tail. Small probabilities are therefore at least
    those of the normal distribution.
    """
    p = float(stats.pearson3.sf(z, skewness))
    return p if p > RARE else max(p, float(stats.norm.sf(z)))


def enrichment(
    hits: pd.DataFrame, labels: Integers, units: Units | None = None
) -> dict[str, float]:
    """Test whether more positives than negatives have a hit (one-sided Fisher's exact test).

    The odds ratio is computed with 1/2 added to each cell.
    """
    has = _has_hit(hits, len(labels))
    table = np.array(
        [[np.sum((labels == label) & (has == held)) for held in (True, False)] for label in (1, 0)]
    )
    _, p, _, effect = _shift(labels.astype(float), has, np.zeros(len(labels), np.int64), units)
    odds = table + 0.5
    return {
        "enrichment_p": p if effect > 1 else float(stats.fisher_exact(table, "greater").pvalue),
        "odds_ratio": float(odds[0, 0] * odds[1, 1] / (odds[0, 1] * odds[1, 0])),
        "positives_with_hit": int(table[0, 0]),
        "negatives_with_hit": int(table[1, 0]),
        "positives": int(table[0].sum()),
        "negatives": int(table[1].sum()),
    }


def matched_enrichment(
    hits: pd.DataFrame, labels: Integers, strata: Integers, units: Units | None = None
) -> dict[str, float]:
    """Test whether more positives than negatives of the same stratum have a hit.

    The test is the exact one-sided Cochran-Mantel-Haenszel test. All records of a stratum are
    compared, so no record is dropped for lack of a matching partner.

    Parameters
    ----------
    strata
        (n,) stratum of each record, as returned by `strata_of`.
    """
    has = _has_hit(hits, len(labels))
    total, positives, holding, both = (
        np.bincount(strata, weights=kind).astype(int)
        for kind in (labels >= 0, labels == 1, has, (labels == 1) & has)
    )
    first, probabilities = _sum_of_hypergeometrics(total, positives, holding)
    with_hit = both * (total - positives - holding + both) / total
    without = (positives - both) * (holding - both) / total
    _, p, _, effect = _shift(labels.astype(float), has, strata, units)
    exact = float(min(1.0, probabilities[max(0, both.sum() - first) :].sum()))
    return {
        "matched_p": p if effect > 1 else exact,
        "matched_odds_ratio": float((with_hit.sum() + 0.5) / (without.sum() + 0.5)),
    }


def _sum_of_hypergeometrics(
    total: Integers, positives: Integers, holding: Integers
) -> tuple[int, Floats]:
    """Return the distribution of the positives with a hit if hits are random in each stratum.

    Parameters
    ----------
    total, positives, holding
        (S,) numbers of records, of positives, and of records with a hit of each stratum.

    Returns
    -------
    The smallest number and the probabilities of it and the following ones. Probabilities below
    `NEGLIGIBLE` at either end are left out, so that large strata take little time.
    """
    first, found = 0, np.ones(1)
    lowest, highest = np.maximum(0, positives + holding - total), np.minimum(positives, holding)
    for size, own, hits, low, high in zip(total, positives, holding, lowest, highest, strict=True):
        both = np.arange(low, high + 1)
        cells = np.stack([both, own - both, hits - both, size - own - hits + both])
        logs = -gammaln(cells + 1).sum(axis=0)  # up to a constant
        weights = np.exp(logs - logs.max())
        found = np.convolve(found, weights / weights.sum())
        kept = np.flatnonzero(found > NEGLIGIBLE)
        first, found = first + int(low + kept[0]), found[kept[0] : kept[-1] + 1]
    return first, found


def rank_shift(hits: pd.DataFrame, values: Floats, units: Units | None = None) -> dict[str, float]:
    """Test whether records with a hit have other values (two-sided Mann-Whitney test).

    Returns
    -------
    enrichment_p; rank_shift, the probability that a record with a hit has a higher value than
    another, minus 1/2; difference, the mean value of records with a hit minus that of the others;
    records_with_hit; records. rank_shift and difference are 0 and enrichment_p is 1 if
    all records, or none, have a hit.
    """
    has = _has_hit(hits, len(values))
    p, higher, difference = 1.0, 0.0, 0.0
    if has.any() and not has.all():
        test = stats.mannwhitneyu(values[has], values[~has])
        spread = np.sqrt(units.design_effect(stats.rankdata(values), has)) if units else 1.0
        p = float(test.pvalue)
        if spread > 1:
            p = float(2 * stats.norm.sf(stats.norm.isf(p / 2) / spread))
        higher = float(test.statistic / has.sum() / (~has).sum() - 0.5)
        difference = float(values[has].mean() - values[~has].mean())
    return {
        "enrichment_p": p,
        "rank_shift": higher,
        "difference": difference,
        "records_with_hit": int(has.sum()),
        "records": len(values),
    }


def matched_rank_shift(
    hits: pd.DataFrame, values: Floats, strata: Integers, units: Units | None = None
) -> dict[str, float]:
    """Test whether records with a hit have other values than records of the same stratum.

    The test is van Elteren's, a Mann-Whitney test within strata, two-sided. Its p-value is that of
    permutations within the strata.

    Parameters
    ----------
    strata
        (n,) stratum of each record, as returned by `strata_of`.

    Returns
    -------
    matched_p; matched_rank_shift, the statistic of the test, above 0 if records with a hit have
    higher values; matched_difference, the difference of the mean values, averaged over the records
    with a hit.

    References
    ----------
    van Elteren 1960, On the combination of independent two-sample tests of Wilcoxon.
    """
    has = _has_hit(hits, len(values))
    number, held = np.bincount(strata), np.bincount(strata, has)
    # the weights of van Elteren, for equal power in strata of all sizes
    ranks = pd.Series(values).groupby(strata).rank().to_numpy() / (number + 1)[strata]
    excess, _, p, _ = _shift(ranks, has, strata, units)
    of_held, total = np.bincount(strata, values * has), np.bincount(strata, values)
    both = (held > 0) & (held < number)  # strata with records of both kinds
    others = (total - of_held)[both] / (number - held)[both]
    sums = (of_held[both] - held[both] * others).sum()
    return {
        "matched_p": p,
        "matched_rank_shift": excess,
        "matched_difference": float(sums / held[both].sum()) if both.any() else 0.0,
    }


def strata_of(sequences: Letters, alphabet: Alphabet) -> Integers:
    """Group similar records: DNA and RNA by GC content and length, protein by length.

    Returns
    -------
    (n,) group numbers, starting at 0.
    """
    lengths = np.array([len(row) for row in sequences])
    groups = [quantile_groups(lengths, min(LENGTH_GROUPS, max(1, len(lengths) // MIN_IN_GROUP)))]
    if alphabet.is_nucleic:
        gc = gc_content(sequences)
        groups.append(quantile_groups(gc, min(GROUPS, max(1, len(gc) // MIN_IN_GROUP))))
    return np.unique(np.stack(groups), axis=1, return_inverse=True)[1].reshape(-1)


def quantile_groups(values: Floats, number: int) -> Integers:
    """Return the group of each value, from 0, for at most `number` groups of about equal size."""
    return np.searchsorted(
        np.unique(np.quantile(values, np.arange(1, number) / number)), values, side="right"
    )


def strand_bias(
    hits: pd.DataFrame,
    ppm: Floats,
    rng: np.random.Generator,
    alphabet: Alphabet = DNA,
    units: Units | None = None,
) -> dict[str, float]:
    """Test whether the best hits prefer one strand.

    `units` are those of all records.

    Returns
    -------
    strand_plus: the fraction of records whose best hit is on +. strand_low, strand_high: its
    Clopper-Pearson interval. strand_p: the two-sided binomial p-value against one half. Numbers of
    records are divided by the design effect. Empty if there is one strand, for palindromic motifs
    (the strand of their hits is arbitrary) and with fewer than `MIN_SITES` records.
    """
    best = best_hits(hits, rng)
    if len(best) < MIN_SITES or not alphabet.has_complement or is_palindromic(ppm):
        return {}
    is_plus = (best["strand"] == "+").to_numpy()
    effect = _of_hits(units, best).design_effect(is_plus)
    test = stats.binomtest(round(is_plus.sum() / effect), round(len(best) / effect))
    interval = test.proportion_ci(CONFIDENCE)
    return {
        "strand_plus": is_plus.mean(),
        "strand_low": interval.low,
        "strand_high": interval.high,
        "strand_p": test.pvalue,
    }


def position_profile(
    hits: pd.DataFrame,
    null_hits: Sequence[pd.DataFrame],
    lengths: Integers,
    window: tuple[int, int] | None,
    rng: np.random.Generator,
    units: Units | None = None,
) -> dict[str, float]:
    """Test whether hits prefer other positions in the record than hits of permuted motifs.

    Only the best hit of each record counts, and one hit of a permuted motif, because hits in the
    same record are not independent. Permuted motifs show which positions follow from the
    composition along the records. position_p is the two-sample Kolmogorov-Smirnov p-value. window_p
    tests for an excess of hits in one window. If `window` is given, this is Fisher's exact test.
    Otherwise the window of `PEAK` positions with most hits is compared with the fullest window of
    as many hits, drawn from those of the permuted motifs. If records differ in length, windows
    count from their start or from their end, as far as the median length. Hits of a unit are drawn
    together: all move by the same number of ranks among the hits of permuted motifs. For the other
    tests numbers of hits are divided by a design effect.

    Parameters
    ----------
    hits
        Hits on positives: record, start, end, p_value.
    null_hits
        Hits of permuted motifs on positives, one table for each.
    lengths
        (n,) length of every record.
    window
        [start, end) for the middle of a hit, in positions of the record. Negative numbers count
        from the end of the record (-31, -25); an end of 0 then means the end of the record.
    units
        Units of all records; single records by default.

    Returns
    -------
    position_p, window_start, window_end, window_hits, window_expected, window_p. Empty if there are
    fewer than `MIN_SITES` hits of either kind. Without the window columns if `window` is not given
    and the median length leaves no more than `PEAK` start positions. A window from the end of the
    records is negative.
    """
    best = best_hits(hits, rng)
    # one per record, because hits of different permuted motifs in a record are not independent
    nulls = pd.concat([hits[:0], *null_hits]).sample(frac=1, random_state=rng)
    nulls = nulls.drop_duplicates("record")
    if min(len(best), len(nulls)) < MIN_SITES:
        return {}
    width = int(best["end"].iloc[0] - best["start"].iloc[0])
    start, null_start = (each["start"].to_numpy(dtype=int) for each in (best, nulls))
    length, null_length = (lengths[each["record"].to_numpy(dtype=int)] for each in (best, nulls))
    # of the number of possible start positions
    places, null_places = (
        (starts + rng.random(len(starts))) / (total - width + 1)
        for starts, total in ((start, length), (null_start, null_length))
    )
    order = np.argsort(null_places)
    rank = np.searchsorted(null_places[order], places)
    unit, _ = pd.factorize(_of_hits(units, best).numbers)  # draws do not depend on their numbers
    turns = rng.integers(0, len(nulls), (DRAWS, unit.max() + 1))
    drawn = (rank + turns[:, unit]) % len(nulls)  # the hits of a unit move together
    number = len(nulls) / _of_hits(units, nulls).design_effect(null_places)
    found = {"position_p": _smirnov(places, null_places, drawn, unit, number)}
    if window is not None:
        is_inside, null_inside = (
            _in_window(starts + width // 2, total, window)
            for starts, total in ((start, length), (null_start, null_length))
        )
        table = [
            np.round(
                np.bincount(~inside, minlength=2)
                # a window without hits does not show how similar the values within a unit are
                / (_of_hits(units, of).design_effect(inside) if inside.any() else 1.0)
            )
            for of, inside in ((best, is_inside), (nulls, null_inside))
        ]
        expected = len(best) * float(null_inside.mean())
        p = float(stats.fisher_exact(np.array(table, dtype=int), alternative="greater").pvalue)
        return found | dict(zip(WINDOW, (*window, int(is_inside.sum()), expected, p), strict=True))
    possible = int(np.median(lengths)) - width + 1
    if possible <= PEAK:
        return found
    shown, random, of_nulls = (
        _in_windows(starts, possible, total - width + 1 if np.ptp(lengths) else None)
        for starts, total in (
            (start[None], length[None]),
            (null_start[order][drawn], null_length[order][drawn]),
            (null_start[None], null_length[None]),
        )
    )
    fullest, from_start = int(shown.argmax()), possible - PEAK + 1
    from_end = 0 if fullest < from_start else from_start + possible + width - 1
    first, most = fullest - from_end + width // 2, int(shown.max())
    share = float(of_nulls[0, fullest]) / len(nulls)
    p = float(1 + (random.max(axis=1) >= most).sum()) / (DRAWS + 1)
    values = (first, first + PEAK, most, len(start) * share, p)
    return found | dict(zip(WINDOW, values, strict=True))


def _of_hits(units: Units | None, hits: pd.DataFrame) -> Units:
    """Return the units of hits in different records."""
    return units.within(hits["record"].to_numpy(dtype=int)) if units else Units.single(len(hits))


def _smirnov(
    places: Floats, others: Floats, drawn: Integers, unit: Integers, number: float
) -> float:
    """Return the two-sample Kolmogorov-Smirnov p-value.

    If there are several hits per unit, their number is the one that would give the mean distance of
    the drawn ranks (draws, hits) among the others, which count as `number` independent hits.
    """
    test = stats.ks_2samp(places, others, method="asymp")
    if unit.max() + 1 == len(places):
        return float(test.pvalue)
    steps = np.arange(len(places) + 1) / len(places)
    ranks = np.sort(drawn, axis=1) / len(others)
    distances = np.maximum(ranks - steps[:-1], steps[1:] - ranks).max(axis=1)
    # the mean distance of n hits is about MEAN_DISTANCE / (sqrt(n) + 0.12) (Stephens 1970)
    size = min(len(places), (MEAN_DISTANCE / distances.mean() - 0.12) ** 2)
    return float(stats.kstwo.sf(test.statistic, max(1, round(size * number / (size + number)))))


def _in_window(middle: Integers, length: Integers, window: tuple[int, int]) -> Bools:
    """Return which positions are in a window, whose negative ends count from the end."""
    low, high = (edge + (length if window[0] < 0 else 0) for edge in window)
    return (middle >= low) & (middle < high)


def best_hits(hits: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Return the hit with the lowest p-value of each record, with ties broken at random.

    Without random ties the leftmost hit would always win and bias the position profile.
    """
    shuffled = hits.iloc[rng.permutation(len(hits))]
    return shuffled.sort_values("p_value", kind="stable").drop_duplicates("record")


def _in_windows(starts: Integers, possible: int, numbers: Integers | None) -> Integers:
    """Count starts (draws, hits) in each window of PEAK of the first `possible` positions.

    If the numbers of start positions (draws, hits) are given, windows of the last `possible`
    positions follow. Returns (draws, windows).
    """
    sides = [starts] if numbers is None else [starts, starts - numbers + possible]
    found = []
    for places in sides:
        columns = np.clip(places, -1, possible) + 1  # the first and last are in no window
        flat = columns + np.arange(len(columns))[:, None] * (possible + 2)
        counts = np.bincount(flat.ravel(), minlength=len(columns) * (possible + 2))
        inside = counts.reshape(len(columns), possible + 2)[:, 1:-1]
        found.append(sliding_window_view(inside, PEAK, axis=1).sum(axis=2))
    return np.concatenate(found, axis=1)
