"""Test at which positions and on which strand the hits of a motif are.

Like `associations`, these tests use sequences only. Hits of one unit are not independent.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from scipy import special, stats

from selfattn_bio.arrays import Bools, Floats, Integers
from selfattn_bio.evaluation.units import Units
from selfattn_bio.evidence.associations import CONFIDENCE
from selfattn_bio.sequence.alphabet import DNA, Alphabet

MIN_SITES = 10  # minimum number of records with a hit for a profile of positions or strands
PEAK = 10  # width in bp of the window with most hits
DRAWS = 1000  # random placements of the hits, for the p-value of the fullest window
DRAWN = 2**20  # hits that are placed at once
# columns of the mean values of records with the best hit there, and of their numbers
THIRDS = [f"{third}_third{of}" for of in ("", "_records") for third in ("first", "middle", "last")]
MEAN_DISTANCE = math.sqrt(math.pi / 2) * math.log(2)  # of Kolmogorov's distribution
WINDOW = ("window_start", "window_end", "window_hits", "window_expected", "window_p")
# a motif is a palindrome if its PPM differs from the reverse complement by less on average
PALINDROME = 0.15


def is_palindromic(ppm: Floats) -> bool:
    """Return whether a motif (width, A) is nearly its own reverse complement."""
    return bool(np.abs(ppm - ppm[::-1, ::-1]).mean() < PALINDROME)


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


def thirds(
    hits: pd.DataFrame, values: Floats, lengths: Integers, rng: np.random.Generator, units: Units
) -> dict[str, float]:
    """Compare measured values between records with the best hit in different thirds.

    thirds_p is that of the Kruskal-Wallis test, whose statistic is divided by the design effect of
    the units. For labels (0 or 1) it is nearly the chi-squared test.

    Parameters
    ----------
    hits
        Hits in all records: record, start, end, p_value.
    values, lengths, units
        Values (n,), lengths (n,) and units of all records.

    Returns
    -------
    thirds_p; mean values and numbers of records by the middle of the best hit, with the names
    `THIRDS`. Empty if a third has fewer than `MIN_SITES` records, or all values are equal.
    """
    record, start, end = best_hits(hits, rng)[["record", "start", "end"]].to_numpy(dtype=int).T
    own, third = values[record].astype(float), 3 * (start + end) // (2 * lengths[record])
    numbers = np.bincount(third, minlength=3)
    if numbers.min() < MIN_SITES or not np.ptp(own):
        return {}
    parts = [own[third == each] for each in range(3)]
    effect = units.within(record).design_effect(stats.rankdata(own), np.eye(3)[third])
    p = float(stats.chi2.sf(stats.kruskal(*parts).statistic / effect, df=2))
    return {"thirds_p": p} | dict(zip(THIRDS, (*map(np.mean, parts), *numbers), strict=True))


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
    as many hits, drawn from those of all permuted motifs. If records differ in length, windows
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
    every = pd.concat([hits[:0], *(each.assign(motif=n) for n, each in enumerate(null_hits))])
    every = every.sample(frac=1, random_state=rng)
    # one per record, because hits of different permuted motifs in a record are not independent
    nulls = every.drop_duplicates("record")
    if min(len(best), len(nulls)) < MIN_SITES:
        return {}
    pool = every.drop_duplicates(["motif", "record"])
    width = int(best["end"].iloc[0] - best["start"].iloc[0])
    own, of_nulls, of_pool = (_Places.of(each, lengths, rng) for each in (best, nulls, pool))
    order = np.argsort(of_pool.relative)
    rank = np.searchsorted(of_pool.relative[order], own.relative)
    unit, _ = pd.factorize(_of_hits(units, best).numbers)  # draws do not depend on their numbers
    turns = rng.integers(0, len(pool), (DRAWS, unit.max() + 1))

    def drawn() -> Iterator[Integers]:  # in parts, because there may be many hits
        for some in np.array_split(turns, 1 + DRAWS * len(best) // DRAWN):
            yield (rank + some[:, unit]) % len(pool)  # the hits of a unit move together

    number = len(nulls) / _of_hits(units, nulls).design_effect(of_nulls.relative)
    size = float(len(best))
    if unit.max() + 1 < len(best):
        size = min(size, _independent(each / len(pool) for each in drawn()))
    found = {"position_p": _smirnov(own.relative, of_nulls.relative, size, number)}
    if window is not None:
        inside = [
            _in_window(of.start + width // 2, of.number + width - 1, window)
            for of in (own, of_nulls)
        ]
        of_units = [_of_hits(units, of) for of in (best, nulls)]
        return found | dict(zip(WINDOW, (*window, *_excess(inside, of_units)), strict=True))
    possible = int(np.median(lengths)) - width + 1
    if possible <= PEAK:
        return found
    both_ends = len(np.unique(lengths)) > 1

    def in_windows(places: _Places, rows: Integers) -> Integers:
        numbers = places.number[rows] if both_ends else None
        return _in_windows(places.start[rows], numbers, possible)

    shown, everywhere = (
        in_windows(each, np.arange(len(each.start))[None]) for each in (own, of_pool)
    )
    random = np.concatenate([in_windows(of_pool, order[each]).max(axis=1) for each in drawn()])
    fullest, from_start = int(shown.argmax()), possible - PEAK + 1
    from_end = 0 if fullest < from_start else from_start + possible + width - 1
    first, most = fullest - from_end + width // 2, int(shown.max())
    expected = len(best) * float(everywhere[0, fullest]) / len(pool)
    p = float(1 + (random >= most).sum()) / (DRAWS + 1)
    return found | dict(zip(WINDOW, (first, first + PEAK, most, expected, p), strict=True))


class _Places(NamedTuple):
    """Starts of hits (n,), numbers of possible starts in their records, and the quotients."""

    start: Integers
    number: Integers
    relative: Floats

    @classmethod
    def of(cls, hits: pd.DataFrame, lengths: Integers, rng: np.random.Generator) -> _Places:
        """Return the places of hits in records with these lengths, (records,)."""
        record, start, end = hits[["record", "start", "end"]].to_numpy(dtype=int).T
        number = lengths[record] - (end - start) + 1
        return cls(start, number, (start + rng.random(len(start))) / number)


def _of_hits(units: Units | None, hits: pd.DataFrame) -> Units:
    """Return the units of hits in different records."""
    return units.within(hits["record"].to_numpy(dtype=int)) if units else Units.single(len(hits))


def _independent(parts: Iterable[Floats]) -> float:
    """Return the number of independent hits that are as far from uniform as hits drawn by unit.

    `parts` has their ranks among all, as fractions, each (draws, hits).
    """
    distances = []
    for drawn in parts:
        steps = np.arange(drawn.shape[1] + 1) / drawn.shape[1]
        ranks = np.sort(drawn, axis=1)
        distances.append(np.maximum(ranks - steps[:-1], steps[1:] - ranks).max(axis=1))
    # the mean distance of n hits is about MEAN_DISTANCE / (sqrt(n) + 0.12) (Stephens 1970)
    return float((MEAN_DISTANCE / np.concatenate(distances).mean() - 0.12) ** 2)


def _smirnov(places: Floats, others: Floats, size: float, number: float) -> float:
    """Return the two-sample Kolmogorov-Smirnov p-value of so many independent hits of each kind."""
    found = stats.ks_2samp(places, others, method="asymp").statistic
    p = stats.kstwo.sf(found, max(1, round(size * number / (size + number))))
    # the asymptotic p-value is 0 if no place is among the others, whatever their number
    return float(max(p, 2 / special.binom(size + number, number)))


def _in_window(middle: Integers, length: Integers, window: tuple[int, int]) -> Bools:
    """Return which positions are in a window, whose negative ends count from the end."""
    low, high = (edge + (length if window[0] < 0 else 0) for edge in window)
    return (middle >= low) & (middle < high)


def _excess(inside: Sequence[Bools], units: Sequence[Units]) -> tuple[int, float, float]:
    """Return hits in a window, the number expected from others, and the p-value of Fisher's test.

    `inside` says which hits are in the window, those of the motif first, and which of the others.
    """
    table = [
        np.round(
            np.bincount(~of, minlength=2)
            # a window without hits does not show how similar the values within a unit are
            / (own_units.design_effect(of) if of.any() else 1.0)
        )
        for of, own_units in zip(inside, units, strict=True)
    ]
    p = float(stats.fisher_exact(np.array(table, dtype=int), alternative="greater").pvalue)
    own, others = inside
    return int(own.sum()), len(own) * float(others.mean()), p


def best_hits(hits: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Return the hit with the lowest p-value of each record, with ties broken at random.

    Without random ties the leftmost hit would always win and bias the position profile.
    """
    shuffled = hits.iloc[rng.permutation(len(hits))]
    return shuffled.sort_values("p_value", kind="stable").drop_duplicates("record")


def _in_windows(starts: Integers, numbers: Integers | None, possible: int) -> Integers:
    """Count starts (draws, hits) in each window of PEAK of the first `possible` positions.

    If the numbers of possible starts (draws, hits) are given, windows of the last `possible`
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
