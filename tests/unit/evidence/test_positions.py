"""Test at which positions and on which strand hits are."""

import math

import numpy as np
import pandas as pd
import pytest
from planted_motifs import PPMS, hits_in

from selfattn_bio.evaluation.units import Units
from selfattn_bio.evidence.positions import best_hits, position_profile, strand_bias, thirds
from selfattn_bio.sequence.alphabet import RNA


def places(starts, width=8, strand="+"):
    hits = hits_in(range(len(starts))).assign(start=starts, end=np.add(starts, width))
    return hits.assign(strand=strand, p_value=1e-5)


def anywhere(rng, number=20, records=200, length=300, width=8):
    """Return hits of permuted motifs at random positions, one per record."""
    return [places(rng.integers(0, length - width + 1, records), width) for _ in range(number)]


def test_preferred_position_is_found_or_tested():
    rng = np.random.default_rng(0)
    lengths, nulls = np.full(200, 300), anywhere(rng)
    # midpoints at 269 to 274: 31 to 26 before the end
    hits = places([*rng.integers(0, 293, 140), *rng.integers(265, 271, 60)])
    found = position_profile(hits, nulls, lengths, None, rng)
    assert found["position_p"] < 1e-6
    assert found["window_p"] == pytest.approx(1 / 1001)
    assert found["window_start"] <= 269 < 274 < found["window_end"] == found["window_start"] + 10
    assert found["window_expected"] == pytest.approx(200 * 10 / 293, rel=0.5)
    given = position_profile(hits, nulls, lengths, (-31, -25), rng)
    assert (given["window_start"], given["window_end"]) == (-31, -25)
    assert given["window_hits"] >= 60
    assert given["window_expected"] == pytest.approx(200 * 6 / 293, rel=0.5)
    assert given["window_p"] < 1e-15
    same = position_profile(hits, nulls, lengths, (269, 275), rng)
    assert same["window_hits"] == given["window_hits"]
    # the midpoint of a hit is 4 bp after its start
    last = position_profile(hits, nulls, lengths, (-100, 0), rng)
    assert last["window_expected"] == pytest.approx(200 * 97 / 293, rel=0.2)
    assert position_profile(hits, nulls, lengths, (100, 110), rng)["window_p"] > 0.05


def test_hits_like_those_of_permuted_motifs_prefer_no_position():
    ps = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        lengths = rng.integers(100, 100 + 80 * (seed % 2) + 1, 50)  # of one length, or of many
        nulls = [places(rng.binomial(lengths - 8, 0.7)) for _ in range(20)]
        hits = places(rng.binomial(lengths - 8, 0.7))
        found = position_profile(hits, nulls, lengths, None, rng)
        given = position_profile(hits, nulls, lengths, (60, 70), rng)
        ps.append((found["position_p"], found["window_p"], given["window_p"]))
    assert (np.array(ps) < 0.05).mean(axis=0).max() <= 0.15


def test_position_from_either_end_of_unequal_records():
    rng = np.random.default_rng(0)
    lengths = rng.integers(60, 400, 200)
    nulls = [places(rng.integers(0, lengths - 7)) for _ in range(20)]
    anywhere_else = rng.integers(0, lengths - 7)
    at_end, at_start = (
        position_profile(
            places(np.where(np.arange(200) < 60, planted, anywhere_else)), nulls, lengths, None, rng
        )
        for planted in (lengths - 8, 12)
    )
    for found in (at_end, at_start):
        assert found["window_p"] == pytest.approx(1 / 1001)
        assert found["window_hits"] >= 60
        assert found["window_expected"] < 20
        assert found["window_end"] == found["window_start"] + 10
    # the midpoint of a hit is 4 positions after its start
    assert at_end["window_start"] <= -4 < at_end["window_end"] <= 0
    assert at_start["window_start"] <= 16 < at_start["window_end"]
    same = position_profile(
        places(np.where(np.arange(200) < 60, lengths - 8, anywhere_else)),
        nulls,
        lengths,
        (int(at_end["window_start"]), int(at_end["window_end"])),
        rng,
    )
    assert same["window_hits"] == at_end["window_hits"]


def test_position_profile_of_short_and_of_few_records():
    rng = np.random.default_rng(0)
    nulls = anywhere(rng, 3, 60, 17)
    other = position_profile(places(rng.integers(0, 10, 60)), nulls, np.full(60, 17), None, rng)
    assert list(other) == ["position_p"]  # no window of 10 in 10 starts
    nulls = anywhere(rng, 3, 60, 60)
    assert position_profile(places([1] * 9), nulls, np.full(60, 100), None, rng) == {}
    assert position_profile(places([1] * 60), [], np.full(60, 100), None, rng) == {}
    hits = places(rng.integers(50, 60, 60))
    found = position_profile(hits, nulls, np.full(60, 100), None, rng)
    # midpoints of hits that start at 50 to 59
    assert (found["window_start"], found["window_end"]) == (54, 64)


def test_few_hits_of_permuted_motifs_show_little():
    rng, lengths = np.random.default_rng(0), np.full(60, 300)
    for number, least in ((10, 2 / math.comb(70, 10)), (20, 2 / math.comb(80, 20))):
        null = places(rng.integers(0, 200, number))
        found = position_profile(places([292] * 60), [null], lengths, None, rng)
        assert found["position_p"] == pytest.approx(least)


def test_one_hit_per_record_counts():
    hits = places([1, 5, 2]).assign(record=[0, 0, 1], p_value=[1e-4, 1e-6, 1e-5])
    best = best_hits(hits, np.random.default_rng(0)).sort_values("record")
    assert best[["record", "start"]].to_numpy().tolist() == [[0, 5], [1, 2]]


def test_ties_between_hits_are_random():
    rng = np.random.default_rng(0)
    hits = pd.concat([places(rng.integers(0, 93, 200)) for _ in range(3)])
    hits = hits.sort_values(["record", "start"], ignore_index=True)
    found = position_profile(hits, anywhere(rng, 5, 200, 100), np.full(200, 100), None, rng)
    assert min(found["position_p"], found["window_p"]) > 0.01
    both = hits.assign(strand="+")
    both.loc[both.duplicated("record"), "strand"] = "-"  # one hit on + before two on -
    assert strand_bias(both, PPMS["ignored"], rng)["strand_plus"] == pytest.approx(1 / 3, abs=0.1)


def test_copies_do_not_make_positions_clearer():
    rng = np.random.default_rng(2)
    starts = np.where(rng.random(40) < 0.3, 100, rng.integers(0, 293, 40))
    strands, loci = np.where(rng.random(40) < 0.7, "+", "-"), np.repeat(np.arange(40), 6)
    lengths, (null,) = np.full(240, 300), anywhere(rng, 1, 240)

    def tested(copies, units=None):
        hits = places(np.repeat(starts, copies)).assign(strand=np.repeat(strands, copies))
        given = lengths, (100, 110), np.random.default_rng(0), units
        found = position_profile(hits, [null], *given)
        fullest = position_profile(hits, [null], given[0], None, *given[2:])
        bias = strand_bias(hits, PPMS["ignored"], rng, units=units)
        ps = found["position_p"], found["window_p"], fullest["window_p"], bias["strand_p"]
        return np.log10(ps), bias["strand_plus"]

    one, plus = tested(1)
    copied, same = tested(6, Units.of(loci, "loci"))
    assert same == plus
    np.testing.assert_allclose(copied, one, atol=0.7)
    assert (tested(6)[0] < copied - 1).sum() >= 3  # the fullest window cannot be below 1/1001
    singles, _ = tested(6, Units.single(240))
    np.testing.assert_array_equal(singles, tested(6)[0])


def test_hits_of_few_loci_at_one_place_are_few():
    hits, rng = places([100] * 60).assign(strand="+"), np.random.default_rng(0)
    (null,), loci = anywhere(rng, 1, 60), Units.of(np.repeat(np.arange(3), 20), "loci")
    assert strand_bias(hits, PPMS["ignored"], rng, units=loci)["strand_p"] == 0.25
    for units, low, high in ((loci, 0.05, 1.0), (None, 0.0, 1e-6)):
        found = position_profile(hits, [null], np.full(60, 300), (0, 150), rng, units)
        assert low <= found["window_p"] <= high
    elsewhere = null.assign(start=10, end=18)  # how similar its hits are is unknown
    found = position_profile(hits, [elsewhere], np.full(60, 300), (100, 150), rng, loci)
    assert found["window_p"] < 1e-3


def test_strand_bias():
    rng = np.random.default_rng(0)
    hits = places([5] * 40).assign(strand=["+"] * 36 + ["-"] * 4)
    found = strand_bias(hits, PPMS["ignored"], rng)
    assert found["strand_plus"] == 0.9
    assert found["strand_low"] < 0.9 < found["strand_high"]
    assert found["strand_p"] < 1e-6
    palindrome = np.eye(4)[[0, 1, 2, 3]]  # ACGT
    assert strand_bias(hits, palindrome, rng) == {}
    assert strand_bias(hits, PPMS["ignored"], rng, RNA) == {}
    assert strand_bias(hits[:9], PPMS["ignored"], rng) == {}


def test_values_are_compared_between_thirds():
    rng = np.random.default_rng(0)
    lengths = rng.integers(100, 145, 90)
    starts = (rng.random(90) * (lengths - 8)).astype(int)
    is_last = 3 * (starts + 4) // lengths == 2
    values = rng.normal(size=90) - 1.5 * is_last
    found = thirds(places(starts), values, lengths, rng, Units.single(90))
    assert found["thirds_p"] < 1e-4
    assert found["last_third"] == pytest.approx(values[is_last].mean())
    assert found["last_third_records"] == is_last.sum()
    assert sum(value for name, value in found.items() if name.endswith("_records")) == 90
    assert found["first_third"] > found["last_third"] + 1
    # the same values in random order, and only few values, all in one third, or equal
    shuffled = thirds(places(starts), rng.permutation(values), lengths, rng, Units.single(90))
    assert shuffled["thirds_p"] > 0.05
    for few in (places(starts[:9]), places(np.full(90, 3))):
        assert thirds(few, values, lengths, rng, Units.single(90)) == {}
    assert thirds(places(starts), np.ones(90), lengths, rng, Units.single(90)) == {}


def test_values_of_units_differ_between_thirds_by_chance():
    ps = []
    for seed in range(100):
        rng, loci = np.random.default_rng(seed), np.repeat(np.arange(30), 4)
        starts = (rng.random(30)[loci] * 90 + rng.integers(0, 3, 120)).astype(int)
        values = rng.normal(size=30)[loci] + 0.3 * rng.normal(size=120)
        hits, lengths = places(starts), np.full(120, 100)
        ps.append(
            [
                thirds(hits, values, lengths, rng, units)["thirds_p"]
                for units in (Units.of(loci, "loci"), Units.single(120))
            ]
        )
    of_units, single = (np.array(ps) < 0.05).mean(axis=0)
    assert of_units <= 0.12 < 0.3 < single
