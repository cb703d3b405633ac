"""Permuted motifs are comparable with the motif, and their hits are not its own."""

import numpy as np
import pytest

from selfattn_bio.evidence.records import FEWER_RECORDS, LabelledRecords
from selfattn_bio.evidence.verdicts import NULLS, null_hits
from selfattn_bio.motifs.matching import find_hits
from selfattn_bio.sequence.alphabet import PROTEIN

HIT_P = 1e-3


def found_in(number, length, seed=0, ppm=None):
    rng = np.random.default_rng(seed)
    sequences = list(rng.choice(np.frombuffer(b"ACGT", dtype=np.uint8), (number, length)))
    ppm = rng.dirichlet(np.full(4, 0.3), 8) if ppm is None else ppm
    own = find_hits({"m": ppm}, {"m": 100}, sequences, HIT_P)
    return own, null_hits(ppm, 100, own, LabelledRecords(sequences, np.ones(number)), HIT_P, rng)


def test_hits_that_overlap_those_of_the_motif_are_marked():
    own, nulls = found_in(800, 150)
    assert len(nulls) == NULLS
    for hits in nulls:
        assert (hits["p_value"] < HIT_P).all()
        both = hits.reset_index().merge(own, on="record")
        overlaps = (both["start_x"] < both["end_y"]) & (both["start_y"] < both["end_x"])
        assert set(both["index"][overlaps]) == set(hits.index[~hits["apart"]])


def test_random_sequence_has_as_many_hits_of_permuted_motifs():
    own, nulls = found_in(400, 200)
    assert np.mean([len(hits) for hits in nulls]) == pytest.approx(len(own), rel=0.25)


def test_small_sets_use_the_next_best_hits():
    _, nulls = found_in(150, 60)
    apart = [hits[hits["apart"]] for hits in nulls]
    assert all(hits["record"].nunique() >= FEWER_RECORDS for hits in apart)
    assert all(hits["p_value"].max() > HIT_P for hits in nulls)


def test_order_does_not_change_a_repeat():
    own, nulls = found_in(200, 150, ppm=np.tile([0.94, 0.02, 0.02, 0.02], (8, 1)))
    assert len(own)
    assert not any((hits["apart"] & (hits["p_value"] < HIT_P)).any() for hits in nulls)


def test_proteins_have_permuted_motifs_too():
    rng = np.random.default_rng(0)
    letters = np.frombuffer(PROTEIN.letters.encode(), dtype=np.uint8)
    sequences, ppm = list(rng.choice(letters, (200, 100))), np.eye(20)[:5]
    own = find_hits({"m": ppm}, {"m": 100}, sequences, HIT_P, PROTEIN)
    held_out = LabelledRecords(sequences, np.ones(200), PROTEIN)
    nulls = null_hits(ppm, 100, own, held_out, HIT_P, rng)
    assert [hits["record"].nunique() >= 30 for hits in nulls] == [True] * NULLS
