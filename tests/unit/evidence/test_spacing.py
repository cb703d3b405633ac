"""Test distances and orientations of pairs of sites on planted sites."""

import numpy as np
import pandas as pd

from selfattn_bio.evaluation.units import Units
from selfattn_bio.evidence.epistasis import _permuted, spacing


def sites_of(*rows):
    return pd.DataFrame(rows, columns=["name", "record", "start", "end", "strand"])


def sites_at(name, starts, strand="+"):
    """Return sites of 6 bp, one per record."""
    return sites_of(*((name, i, start, start + 6, strand) for i, start in enumerate(starts)))


def spaced(rng, gap, strand="+", num=120):
    """Place sites of a at random, and sites of b after them by `gap(start of a)`."""
    starts = rng.integers(0, 60, num)
    after = [start + 6 + gap(start) for start in starts]
    return spacing(sites_at("a", starts), sites_at("b", after, strand), np.full(num, 160), rng)


def test_a_kept_distance_and_orientation_are_found():
    rng = np.random.default_rng(0)
    found = spaced(rng, lambda start: 5 + rng.integers(0, 5), "-")
    assert (found["spacing_start"], found["spacing_end"], found["orientation"]) == (5, 10, "+-")
    assert found["spacings"].startswith("0;120;0;")
    assert found["spacing_fold"] > 3
    assert found["spacing_p"] < 0.01


def test_common_positions_are_not_a_fixed_distance():
    rng = np.random.default_rng(0)
    # b at 86 to 90, wherever a is
    found = spaced(rng, lambda start: 80 - start + rng.integers(0, 5))
    assert found["spacing_p"] > 0.05
    assert found["orientation_p"] > 0.05
    a, b = (sites_at(name, [start] * 30, "-") for name, start in (("a", 10), ("b", 29)))
    found = spacing(a, b, np.full(30, 160), rng)  # permutations change nothing
    assert (found["spacing_start"], found["spacing_end"], found["spacing_p"]) == (10, 15, 1.0)
    assert (found["orientation"], found["orientation_p"]) == ("--", 1.0)
    assert spacing(a[:1], b[1:2], np.full(2, 160), rng) == {}  # in different records


def test_copies_of_records_do_not_make_a_spacing_clearer():
    called = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        a, b = (sites_at(name, np.repeat(rng.integers(0, 154, 30), 4)) for name in "ab")
        loci = Units.of(np.repeat(np.arange(30), 4), "loci")
        for units in (loci, None):
            found = spacing(a, b, np.full(120, 160), rng, units)
            called.append((found["spacing_p"] < 0.05, found["orientation_p"] < 0.05))
    known, unknown = np.array(called).reshape(30, 2, 2).mean(axis=0)
    assert max(known) <= 0.2
    assert min(unknown) > 0.2


def test_permuted_units_keep_their_records_together():
    """A larger unit gets the records of a smaller one repeatedly."""
    rows = _permuted(np.array([0, 0, 0, 1, 1, 2]), np.full(6, 160), np.random.default_rng(0))
    assert {tuple(row[:3]) for row in rows} == {(0, 1, 2), (3, 4, 3), (5, 5, 5)}
    assert {tuple(row[3:5]) for row in rows} == {(0, 1), (3, 4), (5, 5)}


def test_spacing_test_uses_record_lengths():
    # sites in short records are close for this reason alone
    lengths = np.where(np.arange(200) % 2, 30, 150)
    ps = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        a, b = map(sites_at, "ab", rng.integers(0, lengths - 6, (2, 200)))
        ps.append([spacing(a, b, of, rng)["spacing_p"] for of in (lengths, np.full(200, 150))])
    known, unknown = (np.array(ps) < 0.05).sum(axis=0)
    assert known <= 1
    assert unknown >= 4
