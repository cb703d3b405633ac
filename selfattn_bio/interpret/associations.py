"""Associations: where the hits of a motif are, in which records, at which place of them and on which strand. No model is asked.

Hides: the tests. `evidence` calls it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binomtest, fisher_exact, kstest, norm

from selfattn_bio.sequence.alphabet import Alphabet

Letters = NDArray[np.uint8]

GROUPS = 10  # of records by GC, of equal numbers; fewer where a group would have less than MIN_IN_GROUP
LENGTH_GROUPS = 3
MIN_IN_GROUP = 40
MIN_SITES = 10  # records with a hit: fewer have no profile
PEAK = 10  # letters of a peak that is looked for
DRAWS = 1000
CONFIDENCE = 0.95
PALINDROME = 0.15  # mean difference of the probabilities on both strands, below which a motif reads alike on both


def enrichment(hits: pd.DataFrame, labels: NDArray[np.int64]) -> dict[str, float]:
    """Fisher's one-sided test that more positives than negatives hold a hit; the odds ratio has 1/2 added to each cell."""
    has = np.zeros(len(labels), dtype=bool)
    has[hits["record"].to_numpy(dtype=int)] = True
    table = np.array([[np.sum((labels == label) & (has == held)) for held in (True, False)] for label in (1, 0)])
    odds = table + 0.5
    return {
        "enrichment_p": float(fisher_exact(table, alternative="greater").pvalue),
        "odds_ratio": float(odds[0, 0] * odds[1, 1] / (odds[0, 1] * odds[1, 0])),
        "positives_with_hit": int(table[0, 0]),
        "negatives_with_hit": int(table[1, 0]),
        "num_hits": len(hits),
    }


def matched_enrichment(hits: pd.DataFrame, labels: NDArray[np.int64], strata: NDArray[np.int64]) -> dict[str, float]:
    """Cochran-Mantel-Haenszel's one-sided test: do more positives than negatives of the same stratum hold a hit?

    Every record counts, against those of the other label that are like it; none is thrown away for want of a partner.

    Parameters
    ----------
    strata
        (n,) of each record, as `strata_of`.
    """
    has = np.zeros(len(labels), dtype=bool)
    has[hits["record"].to_numpy(dtype=int)] = True
    number = int(strata.max(initial=-1)) + 1
    total, positives, holding = (np.bincount(strata, weights=kind, minlength=number) for kind in (labels >= 0, labels == 1, has))
    both = np.bincount(strata, weights=(labels == 1) & has, minlength=number)
    use = (total > 1) & (positives > 0) & (positives < total)
    total, positives, holding, both = (counts[use] for counts in (total, positives, holding, both))
    variance = (positives * (total - positives) * holding * (total - holding) / (total**2 * (total - 1))).sum()
    excess = (both - positives * holding / total).sum()
    with_hit, without = both * (total - positives - holding + both) / total, (positives - both) * (holding - both) / total
    return {
        "matched_p": float(norm.sf(excess / np.sqrt(variance))) if variance > 0 else 1.0,
        "matched_odds_ratio": float((with_hit.sum() + 0.5) / (without.sum() + 0.5)),
    }


def strata_of(sequences: Sequence[Letters], alphabet: Alphabet) -> NDArray[np.int64]:
    """Records that are alike: of DNA by GC and length, of protein by length; (n,) numbers from 0."""
    lengths = np.array([len(row) for row in sequences])
    groups = [quantile_groups(lengths, min(LENGTH_GROUPS, max(1, len(lengths) // MIN_IN_GROUP)))]
    if alphabet.has_complement:
        gc = np.array([np.isin(row, (ord("G"), ord("C"))).mean() if len(row) else 0.0 for row in sequences])
        groups.append(quantile_groups(gc, min(GROUPS, max(1, len(gc) // MIN_IN_GROUP))))
    return np.unique(np.stack(groups), axis=1, return_inverse=True)[1].reshape(-1)


def quantile_groups(values: NDArray[np.float64], number: int) -> NDArray[np.int64]:
    """Which of `number` groups of about equal size each value is in."""
    return np.searchsorted(np.unique(np.quantile(values, np.arange(1, number) / number)), values, side="right")


def strand_bias(hits: pd.DataFrame, ppm: NDArray[np.float64], rng: np.random.Generator) -> dict[str, float]:
    """Share of the records whose best hit is on +, its interval (Clopper-Pearson), and the two-sided binomial p of one half.

    Missing for a motif that reads alike on both strands, for which the strand of a hit is chance, and for protein.
    """
    best = best_hits(hits, rng)
    if len(best) < MIN_SITES or ppm.shape[1] != 4 or np.abs(ppm - ppm[::-1, ::-1]).mean() < PALINDROME:
        return {}
    test = binomtest(int((best["strand"] == "+").sum()), len(best))
    interval = test.proportion_ci(CONFIDENCE)
    return {"strand_plus": test.statistic, "strand_low": interval.low, "strand_high": interval.high, "strand_p": test.pvalue}


def position_profile(
    hits: pd.DataFrame, lengths: NDArray[np.int64], window: tuple[int, int] | None, rng: np.random.Generator
) -> dict[str, float]:
    """Do the hits prefer a place of the record?

    One hit a record counts, the best, since those of a repeat are no independent ones. position_p is Kolmogorov-Smirnov's against hits at
    any place alike. window_p asks for more hits in one window than that: of the window given by a binomial test; without one, the window
    of `PEAK` letters with most hits is taken, and compared with the fullest window of as many hits at random places.

    Parameters
    ----------
    hits
        On positives: record, start, end, p_value.
    lengths
        (n,) of all records, in letters.
    window
        [start, end) that the middle of a hit lies in, in letters of the record; negative numbers count from its end, as -31, -25 does, and
        an end of 0 is the record's end then.

    Returns
    -------
    position_p, window_start, window_end, window_hits, window_expected, window_p; nothing with fewer than MIN_SITES records with a hit, and
    no window where none is given and the lengths differ.
    """
    best = best_hits(hits, rng)
    if len(best) < MIN_SITES:
        return {}
    length = lengths[best["record"].to_numpy(dtype=int)]
    width = int(best["end"].iloc[0] - best["start"].iloc[0])
    start, places = best["start"].to_numpy(dtype=int), length - width + 1  # where a hit can begin
    found = {"position_p": float(kstest((start + rng.random(len(start))) / places, "uniform").pvalue)}
    if window is not None:
        low, high = (np.full(len(best), edge) + (length if window[0] < 0 else 0) - width // 2 for edge in window)
        inside = (start >= low) & (start < high)
        shares = np.clip(np.minimum(high, places) - np.maximum(low, 0), 0, None) / places
        p = binomtest(int(inside.sum()), len(best), float(np.clip(shares.mean(), 0, 1)), alternative="greater").pvalue
        return found | _window(*window, int(inside.sum()), float(shares.sum()), float(p))
    if len(np.unique(length)) > 1 or places[0] <= PEAK:
        return found
    counts = _in_windows(np.bincount(start, minlength=places[0])[None])[0]
    random = _in_windows(_histograms(rng.integers(0, places[0], (DRAWS, len(start))), int(places[0]))).max(axis=1)
    first, most = int(counts.argmax()), int(counts.max())
    p = (1 + (random >= most).sum()) / (DRAWS + 1)
    return found | _window(first + width // 2, first + width // 2 + PEAK, most, len(start) * PEAK / float(places[0]), float(p))


def best_hits(hits: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """The hit of least p of each record; of those that fit as well any, for the first of them would always be the leftmost."""
    return hits.iloc[rng.permutation(len(hits))].sort_values("p_value", kind="stable").drop_duplicates("record")


def _window(start: int, end: int, hits: int, expected: float, p: float) -> dict[str, float]:
    return {"window_start": start, "window_end": end, "window_hits": hits, "window_expected": expected, "window_p": p}


def _histograms(starts: NDArray[np.int64], places: int) -> NDArray[np.int64]:
    """(draws, hits) starts -> (draws, places) counts."""
    flat = starts + np.arange(len(starts))[:, None] * places
    return np.bincount(flat.ravel(), minlength=len(starts) * places).reshape(len(starts), places)


def _in_windows(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """(draws, places) -> (draws, places - PEAK + 1): the sum over PEAK places from each on."""
    sums = np.concatenate([np.zeros((len(counts), 1), dtype=np.int64), np.cumsum(counts, axis=1)], axis=1)
    return sums[:, PEAK:] - sums[:, :-PEAK]
