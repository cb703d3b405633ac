"""Test in which records the hits of a motif are.

These tests use sequences and their labels or values only; the model is not run. Records of one unit
are not independent: if hits and labels (or values) are similar within units, the variance of a test
is multiplied by the design effect (`Units.design_effect`). Exact tests are those of single records.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from scipy.special import gammaln

from selfattn_bio.arrays import Bools, Floats, Integers
from selfattn_bio.display import shortened
from selfattn_bio.evaluation.units import Units
from selfattn_bio.objectives.outputs import LabelOutput, Output
from selfattn_bio.sequence.alphabet import Alphabet, Letters
from selfattn_bio.sequence.kmers import gc_content

# Largest numbers of groups by GC content and by length. Groups have about the same number of
# records, at least MIN_IN_GROUP. Wide groups leave differences in GC content within them: with ten,
# matched_p of GC-rich motifs among 4,000 records was below .05 in 7.6 % of tests, with 40 in 5.1 %.
GROUPS = 40
LENGTH_GROUPS = 3
MIN_IN_GROUP = 40
NEGLIGIBLE = 1e-300  # probability
RARE = 1e-4  # probability below which three moments do not describe the tail of a distribution
CONFIDENCE = 0.95  # of the intervals in motifs.tsv
CORRELATED = 0.3  # smallest size of phi, the correlation of two labels, that is reported
MOST_PAIRS = 5  # pairs of labels that are named


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
    edges = np.unique(np.quantile(values, np.arange(1, number) / number))
    return np.searchsorted(edges, values, side="right")


def label_table(outputs: Sequence[Output], targets: NDArray) -> pd.DataFrame:
    """Return a column per label, with 1, 0 or nan per record, from targets of an objective."""
    labels = {each.name: each.truth(targets) for each in outputs if isinstance(each, LabelOutput)}
    return pd.DataFrame(labels, index=range(len(targets)))


def correlation_sentence(labels: pd.DataFrame) -> str:
    """Name pairs of labels with phi of at least `CORRELATED` in size; empty if there is none.

    `labels` is from `label_table`. Both labels have to be known for `MIN_IN_GROUP` records.
    """
    phi = labels.corr(min_periods=MIN_IN_GROUP).to_numpy()
    pairs = zip(*np.nonzero(np.triu(np.abs(phi) >= CORRELATED, 1)), strict=True)
    named = [f"{labels.columns[a]} and {labels.columns[b]} (phi {phi[a, b]:.2f})" for a, b in pairs]
    if not named:
        return ""
    return (
        f"correlated labels: {shortened(named, MOST_PAIRS)}. A motif of one label is then enriched "
        "for the other as well (or depleted, if phi is below 0), and may be supported for both"
    )


def by_correlated(hits: pd.DataFrame, labels: pd.DataFrame, label: str) -> str:
    """Count how often records with a hit have a label, among those without and with a second one.

    The second label is the one with the largest phi; the result is empty if none is correlated. Row
    i of `labels`, from `label_table`, is record i of the hits.
    """
    phi = labels.corr(min_periods=MIN_IN_GROUP).get(label, pd.Series()).drop(label, errors="ignore")
    if not (phi.abs() >= CORRELATED).any():
        return ""
    other, has = str(phi.abs().idxmax()), _has_hit(hits, len(labels))
    counts = [
        f"{int(labels[label][group].sum()):,} of {group.sum():,}"
        for value in (0, 1)
        for group in ((labels[other] == value) & of for of in (has, ~has))
    ]
    return (
        f"Records that are {label}: without {other}, {counts[0]} with a site and {counts[1]} "
        f"without a site; with {other}, {counts[2]} with a site and {counts[3]} without a site. "
        f"The labels are correlated (phi {phi[other]:.2f})."
    )
