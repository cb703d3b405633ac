"""Hits of motifs have exact p-values."""

from itertools import product

import numpy as np
import pytest

from selfattn_bio.evidence.associations import enrichment
from selfattn_bio.motifs.matching import HIT_P, default_hit_p, find_hits, integer_scores
from selfattn_bio.sequence.alphabet import DNA


def all_words(width):
    """Return every word of ACGT, as (n, width) numbers and as ASCII."""
    words = np.array(list(product(range(4), repeat=width)))
    return words, list(np.frombuffer(b"ACGT", dtype=np.uint8)[words])


@pytest.mark.parametrize("num_sites", [2, 20, 5000])
@pytest.mark.parametrize("width", range(3, 9))
def test_p_values_equal_enumeration(width, num_sites):
    ppm = np.random.default_rng(width).dirichlet(np.full(4, 0.2), width)
    scores, (words, sequences) = integer_scores(ppm, num_sites, DNA), all_words(width)
    of_words, of_reversed = (
        scores[np.arange(width), strand].sum(1) for strand in (words, 3 - words[:, ::-1])
    )
    p_of = {score: np.mean(of_words >= score) for score in np.unique(of_words)}
    best = np.array([p_of[score] for score in np.maximum(of_words, of_reversed)])
    for hit_p in (0.9999, 0.01, 2.5e-4):
        hits = find_hits({"motif": ppm}, {"motif": num_sites}, sequences, hit_p)
        assert hits["record"].tolist() == np.flatnonzero(best < hit_p).tolist()
        np.testing.assert_allclose(hits["p_value"], best[best < hit_p], rtol=1e-9)


@pytest.mark.parametrize("num_sites", [10, 100, 100_000])
def test_perfect_match_has_the_smallest_p_value(num_sites):
    # rounded down to multiples of a tenth, each of these log-odds would lose half a tenth
    ppm = np.full((9, 4), (1 - 0.6826) / 3)
    ppm[range(9), [0, 2, 1, 3, 0, 0, 3, 2, 1]] = 0.6826
    word = np.frombuffer(b"AGCTAATGC", dtype=np.uint8)
    hits = find_hits({"motif": ppm}, {"motif": num_sites}, [word], 1e-4)
    assert hits["p_value"].tolist() == [4.0**-9]


@pytest.mark.parametrize("length", [300, 5000])
def test_chance_and_power_do_not_depend_on_the_length_of_records(length):
    rng, labels = np.random.default_rng(0), np.arange(200) % 2
    records = list(rng.choice(np.frombuffer(b"ACGT", dtype=np.uint8), (200, length)))
    word = np.frombuffer(b"GGCTAATGTC", dtype=np.uint8)
    of_word = word[:, None] == np.frombuffer(b"ACGT", dtype=np.uint8)
    ppm = 0.7 * of_word + 0.3 * rng.dirichlet(np.ones(4), 10)

    def enriched(hit_p):
        return enrichment(find_hits({"m": ppm}, {"m": 100}, records, hit_p), labels)

    hit_p = default_hit_p([length] * 200)
    assert 0.05 < enriched(hit_p)["positives_with_hit"] / 100 < 0.25
    for row in np.flatnonzero(labels):  # one site in each positive
        at = rng.integers(0, length - len(word))
        records[row][at : at + len(word)] = word
    assert enriched(hit_p)["enrichment_p"] < 1e-20
    if length > 300:
        assert enriched(HIT_P)["enrichment_p"] > 1e-4
