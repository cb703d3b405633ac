"""Test associations of motifs: enrichment, strata, positions and strands."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from letters import BASES
from planted_motifs import hits_in

from selfattn_bio.config import MultilabelObjective
from selfattn_bio.evaluation.units import Units
from selfattn_bio.evidence.associations import (
    by_correlated,
    correlation_sentence,
    enrichment,
    label_table,
    matched_enrichment,
    matched_rank_shift,
    rank_shift,
    strata_of,
)
from selfattn_bio.objectives import objective_of
from selfattn_bio.sequence.alphabet import DNA, PROTEIN


def test_enrichment_of_worked_example():
    # positives: 0-2 with a hit, 3 without; negatives 4-7 without
    found = enrichment(hits_in([0, 0, 1, 2]), np.array([1, 1, 1, 1, 0, 0, 0, 0]))
    assert found["enrichment_p"] == pytest.approx(4 * 1 / 56)  # C(4,3) C(4,0) / C(8,3)
    assert found["odds_ratio"] == pytest.approx(3.5 * 4.5 / (1.5 * 0.5))
    assert (found["positives_with_hit"], found["negatives_with_hit"]) == (3, 0)


def test_gc_matching_removes_gc_driven_enrichment():
    rng = np.random.default_rng(0)
    labels = np.arange(1200) % 2
    gc = np.where(rng.random(1200) < 0.2 + 0.6 * labels, 0.7, 0.3)
    sequences = [rng.choice(BASES, 100, p=[(1 - p) / 2, p / 2, p / 2, (1 - p) / 2]) for p in gc]
    has = rng.random(1200) < np.where(gc > 0.5, 0.6, 0.2)  # depends on GC content, not on the label
    hits, strata = hits_in(np.flatnonzero(has)), strata_of(sequences, DNA)
    assert enrichment(hits, labels)["enrichment_p"] < 1e-9
    found = matched_enrichment(hits, labels, strata)
    assert found["matched_p"] > 0.01
    assert 0.7 < found["matched_odds_ratio"] < 1.5
    more = hits_in(np.flatnonzero(has | ((labels == 1) & (rng.random(1200) < 0.3))))
    assert matched_enrichment(more, labels, strata)["matched_p"] < 1e-6


def test_cochran_mantel_haenszel_of_worked_example():
    labels = np.array([1, 1, 0, 0, 1, 1, 1, 0, 0, 0])
    strata = np.array([0] * 4 + [1] * 6)
    # 2 of 2 versus 0 of 2, and 2 of 3 versus 1 of 3
    hits = hits_in([0, 1, 4, 5, 7])
    # 0 to 2 of 2 hits with probabilities 1, 4, 1 (of 6), and 0 to 3 of 3 with 1, 9, 9, 1 (of 20)
    found = matched_enrichment(hits, labels, strata)
    assert found["matched_p"] == pytest.approx((4 * 1 + 1 * (9 + 1)) / (6 * 20))  # 4 or more
    assert found["matched_odds_ratio"] == pytest.approx(
        (2 * 2 / 4 + 2 * 2 / 6 + 0.5) / (0 + 1 * 1 / 6 + 0.5)
    )
    assert matched_enrichment(hits[:0], labels, strata)["matched_p"] == 1.0
    # no stratum has both labels
    assert matched_enrichment(hits, labels, np.arange(10))["matched_p"] == 1.0


def test_matched_enrichment_equals_enumeration():
    labels = np.array([1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0])
    strata = np.repeat([0, 1], [7, 5])
    arrangements = [  # 2 of 7 records and 2 of 5 have a hit
        [*first, *second]
        for first in combinations(range(7), 2)
        for second in combinations(range(7, 12), 2)
    ]
    both = np.array([labels[records].sum() for records in arrangements])
    for records in ([0, 1, 7, 8], [0, 2, 7, 8], [0, 2, 8, 9], [2, 3, 8, 9]):
        found = matched_enrichment(hits_in(records), labels, strata)
        assert found["matched_p"] == pytest.approx(np.mean(both >= labels[records].sum()))
    # one stratum is Fisher's test
    labels = (np.arange(600) % 10 == 0).astype(int)
    hits = hits_in(np.flatnonzero(np.arange(600) % 7 < 1 + labels))
    found = matched_enrichment(hits, labels, np.zeros(600, dtype=int))
    assert found["matched_p"] == pytest.approx(enrichment(hits, labels)["enrichment_p"])


def test_matched_enrichment_of_many_records():
    rng = np.random.default_rng(0)
    labels, strata = rng.integers(0, 2, 200_000), rng.integers(0, 30, 200_000)
    for difference, expected in ((0.02, 1e-20), (0.06, 1e-200)):
        has = rng.random(200_000) < 0.15 + difference * labels
        found = matched_enrichment(hits_in(np.flatnonzero(has)), labels, strata)
        assert 0 < found["matched_p"] < expected


def test_strata_use_gc_and_length():
    rng = np.random.default_rng(0)
    sequences = [rng.choice(BASES, length) for length in rng.choice([50, 200], 400)]
    lengths = np.array([len(row) for row in sequences])
    strata = strata_of(sequences, DNA)
    assert 10 <= strata.max() + 1 <= 30
    assert all(len(set(lengths[strata == number])) == 1 for number in range(strata.max() + 1))
    assert strata_of(sequences, PROTEIN).max() + 1 == 2
    assert strata_of(sequences[:30], DNA).max() == 0  # too few records for several strata


def test_strata_of_many_records_have_equal_gc():
    rng = np.random.default_rng(0)
    labels = np.arange(4000) % 2
    gc = np.clip(rng.normal(0.42 + 0.1 * labels, 0.08), 0, 1)
    is_gc = rng.random((4000, 100)) < gc[:, None]
    strata = strata_of(list(np.where(is_gc, ord("G"), ord("T")).astype(np.uint8)), DNA)
    observed, difference = is_gc.mean(axis=1), 0.0
    for stratum in np.unique(strata):
        one, other = (observed[(strata == stratum) & (labels == label)] for label in (1, 0))
        if len(one) and len(other):
            difference += (one.mean() - other.mean()) * np.mean(strata == stratum)
    assert difference < 0.001  # .1 between all positives and negatives


def test_copies_of_records_do_not_change_associations():
    """Four copies of each record are one observation; p-values of counts are slightly higher."""
    rng = np.random.default_rng(0)
    labels, values, has = np.arange(200) % 2, rng.normal(size=200), rng.random(200) < 0.3
    strata = np.arange(200) // 50
    loci = np.repeat(np.arange(200), 4)
    units, hits = Units.of(loci, "loci"), hits_in(np.flatnonzero(np.repeat(has, 4)))
    one = hits_in(np.flatnonzero(has))
    for test, truth in ((matched_enrichment, labels), (matched_rank_shift, values)):
        found = test(hits, truth[loci], strata[loci], units)["matched_p"]
        assert found == pytest.approx(test(one, truth, strata)["matched_p"], rel=0.15)
    for test, truth in ((enrichment, labels), (rank_shift, values)):
        found = test(hits, truth[loci], units)["enrichment_p"]
        assert found == pytest.approx(test(one, truth)["enrichment_p"], rel=0.15)


def test_stratified_ranks_equal_permutations():
    rng = np.random.default_rng(0)
    values, strata = rng.exponential(size=60), np.arange(60) // 20
    records = np.array([0, 3, 21, 40, 41])
    found = matched_rank_shift(hits_in(records), values, strata)
    ranks = pd.Series(values).groupby(strata).rank().to_numpy() / 21 - 0.5
    orders = np.argsort(rng.random((20_000, 3, 20)), axis=2).reshape(20_000, 60) + strata * 20
    sums = ranks[orders][:, records].sum(axis=1)
    expected = np.mean(np.abs(sums) >= abs(found["matched_rank_shift"]))
    assert found["matched_p"] == pytest.approx(expected, abs=0.02)


def test_correlated_labels_are_named_and_separated():
    # 40 records of each combination of a and b that is usual, 10 of the others; c is independent
    a, b = np.repeat([[0, 0], [1, 1], [0, 1], [1, 0]], [40, 40, 10, 10], axis=0).T.astype(float)
    c = np.resize([0.0, 1.0], 100)
    b[:2] = np.nan
    section = MultilabelObjective(columns=["a", "b", "c"])
    labels = label_table(objective_of(section).outputs, np.stack([a, b, c], axis=1))
    assert correlation_sentence(labels).startswith("correlated labels: a and b (phi 0.59). A motif")
    assert correlation_sentence(labels[["a", "c"]]) == ""
    assert correlation_sentence(labels[98:]) == ""  # too few records
    hits = pd.DataFrame({"record": [0, 5, 6, 50, 95]})
    assert by_correlated(hits, labels, "a") == (
        "Records that are a: without b, 1 of 3 with a site and 9 of 45 without a site; with b, 1 "
        "of 1 with a site and 39 of 49 without a site. The labels are correlated (phi 0.59)."
    )
    assert by_correlated(hits, labels, "c") == ""
    assert by_correlated(hits, label_table((), np.zeros(100)), "") == ""
