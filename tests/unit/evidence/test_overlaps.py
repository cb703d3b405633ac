"""Test motifs whose hits overlap those of a stronger motif: ghosts, copies and second motifs."""

import numpy as np
import pandas as pd
import pytest
from letters import BASES, ascii_of, ppm_of
from planted_motifs import weigh

from selfattn_bio.evidence import verdicts
from selfattn_bio.evidence.overlaps import overlaps
from selfattn_bio.evidence.records import LabelledRecords, MeasuredRecords, Scored, effect
from selfattn_bio.motifs.matching import find_hits
from selfattn_bio.motifs.patterns import one_per_site
from selfattn_bio.sequence.alphabet import DNA

STRONG, WEAK = b"TATCGATA", b"CGATAGGC"  # overlap in TATCGATAGGC
PPMS = {"weak": ppm_of(WEAK), "strong": ppm_of(STRONG)}


def sequences(labels, alone=0.3):
    """Return records with both words in one site, and the weak one alone in others."""
    rng = np.random.default_rng(0)
    letters = rng.choice(BASES, (len(labels), 150))
    for row, chance in zip(letters, np.where(labels, 0.6, 0.15), strict=True):
        if rng.random() < chance:
            row[20:31] = ascii_of(b"TATCGATAGGC")
        if rng.random() < alone:
            row[130:138] = ascii_of(WEAK)
    return list(letters)


def counting(strong, weak):
    """Return a model whose score has these weights per copy of the words."""
    return lambda rows: np.array(
        [strong * bytes(row).count(STRONG) + weak * bytes(row).count(WEAK) for row in rows]
    )


LABELS = np.arange(240) % 2


def weak_row(weight, truth=LABELS, kind=LabelledRecords, **options):
    """Return the evidence for the weak motif if the strong one is supported."""
    sign = -1 if kind is MeasuredRecords else 1
    held_out = kind(sequences(LABELS, **options), sign * truth)
    table = weigh(held_out, counting(sign * 2.0, sign * weight), PPMS)
    assert table.loc["strong", "verdict"] == "supported"
    assert table.loc["strong", "overlaps"] == ""
    return table.loc["weak"]


@pytest.mark.parametrize("kind", [LabelledRecords, MeasuredRecords])
def test_ghost_of_a_stronger_motif_is_inconclusive(kind):
    ghost = weak_row(0.0, kind=kind)
    assert ghost["support_q"] < 0.01
    assert abs(ghost["effect"]) > 0.5
    assert abs(ghost["effect_apart"]) < 0.1
    assert ghost["verdict"] == "inconclusive"
    assert 0.3 < ghost["overlapping_hits"] / ghost["num_hits"] < 0.8
    assert ghost["lacks"] == (
        "not shown apart from sites of strong "
        f"({ghost['overlapping_hits']:.0f} of {ghost['num_hits']} hits overlap)"
    )


@pytest.mark.parametrize("kind", [LabelledRecords, MeasuredRecords])
def test_motif_with_its_own_sites_stays_supported(kind):
    second = weak_row(0.8, kind=kind)
    assert (second["verdict"], second["lacks"]) == ("supported", "")
    assert second["overlaps"] == "strong"
    sign = 1 if kind is LabelledRecords else -1
    assert sign * second["effect_apart"] == pytest.approx(0.8, abs=0.1)
    assert sign * second["necessity_apart"] == pytest.approx(0.8, abs=0.1)


def test_copy_without_its_own_sites_is_inconclusive():
    copy = weak_row(0.0, alone=0.0)
    assert copy["overlapping_hits"] > 0.9 * copy["num_hits"]
    assert np.isnan(copy["effect_apart"])
    assert copy["verdict"] == "inconclusive"


def test_few_overlapping_hits_are_not_set_aside(monkeypatch):
    monkeypatch.setattr(verdicts, "SHARED", 0.8)
    ghost = weak_row(0.0)
    assert (ghost["verdict"], ghost["overlaps"]) == ("supported", "")
    assert np.isnan(ghost["overlapping_hits"])


def test_hits_of_a_stronger_motif_are_no_control_sites(monkeypatch):
    avoided = []

    def spy(hits, scored, rng, avoid=None):
        avoided.append((hits, avoid))
        return effect(hits, scored, rng, avoid)

    monkeypatch.setattr(verdicts, "effect", spy)
    ghost = weak_row(0.0)
    hits, avoid = avoided[-1]
    assert len(one_per_site(avoid)) == ghost["overlapping_hits"]
    assert len(one_per_site(pd.concat([hits, avoid]))) == ghost["num_hits"]


def test_overlapping_hits_are_counted_once_per_site(monkeypatch):
    """The best of three shifted hits is apart, but both others overlap a stronger motif."""
    shifted = [("weak", 10, 1e-4), ("weak", 14, 1e-6), ("weak", 18, 1e-4), ("weak", 60, 1e-6)]
    rows = [*shifted, ("strong", 4, 1e-6), ("strong", 24, 1e-6), ("strong", 62, 1e-6)]
    hits = pd.DataFrame(rows, columns=["name", "start", "p_value"])
    hits = hits.assign(record=0, end=hits["start"] + 8)
    monkeypatch.setattr(verdicts, "effect", lambda *_, **__: {})
    found = [
        {"name": name, "effect": effect, "min_effect": 0.1, "null_losses": np.zeros(20)}
        for name, effect in (("strong", 2.0), ("weak", 1.0))
    ]
    table = pd.DataFrame(found).assign(verdict="supported")
    weak = verdicts._test_apart(table, found, hits, None, 0).iloc[1]
    assert (weak["overlaps"], weak["overlapping_hits"]) == ("strong", 1)
    assert len(one_per_site(hits[hits["name"] == "weak"])) == 2


def test_effect_apart_exceeds_that_of_permuted_motifs(monkeypatch):
    nulls = {"null_losses": np.full(20, 0.6), "null_motifs": 20, "null_p": 1 / 21}
    monkeypatch.setattr(verdicts, "_against_nulls", lambda *_: nulls)
    assert weak_row(0.5)["verdict"] == "inconclusive"
    assert weak_row(0.8)["verdict"] == "supported"


def test_control_sites_avoid_hits_that_are_set_aside():
    letters = np.random.default_rng(0).choice(BASES, (40, 24))
    letters[:, 8:16] = ascii_of(STRONG)
    hits = pd.DataFrame({"record": range(40), "start": 0, "end": 8})
    scored = Scored(LabelledRecords(list(letters), np.ones(40)), counting(2.0, 0.0))
    found, apart = (
        effect(hits, scored, np.random.default_rng(0), avoid)
        for avoid in (None, hits.assign(start=8, end=16))
    )
    assert found["effect"] < -0.5
    assert apart["effect"] == 0
    assert apart["effect_records"] == 40


def test_overlaps_are_those_of_every_pair():
    rng = np.random.default_rng(0)
    letters = list(rng.choice(BASES, (50, 100)))
    ppms = {name: rng.dirichlet(np.full(4, 0.3), width) for name, width in (("a", 6), ("b", 11))}
    hits = find_hits(ppms, dict.fromkeys(ppms, 100), letters, 0.01, DNA)
    a, b = (hits[hits["name"] == name] for name in "ab")
    both = a.reset_index().merge(b, on="record")
    met = (both["start_x"] < both["end_y"]) & (both["start_y"] < both["end_x"])
    assert set(both["index"][met]) == set(a.index[overlaps(a, b)])
    assert 0 < overlaps(a, b).mean() < 1
    touching = pd.DataFrame({"record": [0, 0, 1], "start": [0, 8, 4], "end": [4, 12, 8]})
    assert not overlaps(touching, touching.assign(start=4, end=8, record=0)).any()
    assert not overlaps(a, b[:0]).any()
    assert overlaps(a[:0], b).shape == (0,)
