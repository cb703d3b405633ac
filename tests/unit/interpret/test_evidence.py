"""Evidence on planted truth: a motif that the model uses, one that it ignores, one that it made up."""

import numpy as np
import pandas as pd
import pytest

from selfattn_bio.interpret.evidence import HeldOut, enrichment, matched_sites, merged_spans, q_values, shuffled_at, verdict, weigh_evidence
from selfattn_bio.interpret.hits import find_hits

WORDS = {"used": b"TATCGATA", "ignored": b"GGTCACAC"}
PPMS = {name: np.eye(4)[[b"ACGT".index(bytes([letter])) for letter in word]] for name, word in WORDS.items()}
SITES = dict.fromkeys(WORDS, 100)


def planted(num=240, length=120, seed=0, *, in_positives=0.6, in_negatives=0.15):
    """Records where both words are more frequent in positives."""
    rng = np.random.default_rng(seed)
    labels = np.arange(num) % 2
    letters = rng.choice(np.frombuffer(b"ACGT", dtype=np.uint8), (num, length))
    for row, label in zip(letters, labels, strict=True):
        for at, word in zip((10, 60), WORDS.values(), strict=True):
            if rng.random() < (in_positives if label else in_negatives):
                start = at + rng.integers(0, 30)
                row[start : start + len(word)] = np.frombuffer(word, dtype=np.uint8)
    return HeldOut(list(letters), labels)


def counting(word, weight):
    """A model whose log-odds are `weight` for each copy of `word`, and a little for GC."""

    def log_odds(sequences):
        return np.array([weight * bytes(row).count(word) + 0.01 * (bytes(row).count(b"G") + bytes(row).count(b"C")) for row in sequences])

    return log_odds


def weigh(held_out, log_odds):
    hits = find_hits(PPMS, SITES, held_out.sequences, 1e-4)
    return weigh_evidence(list(PPMS), hits, held_out, log_odds).set_index("name")


def test_what_the_model_uses_is_supported_and_what_it_ignores_is_not():
    table = weigh(planted(), counting(WORDS["used"], 2.0))
    assert table["verdict"].to_dict() == {"used": "supported", "ignored": "proposal"}
    used, ignored = table.loc["used"], table.loc["ignored"]
    assert 1.4 < used["effect_low"] <= used["effect"] <= used["effect_high"] < 2.2
    assert abs(ignored["effect"]) < 0.1
    assert ignored["enrichment_q"] < 1e-6  # enriched, but not for this model
    assert used["positives_with_hit"] > 2 * used["negatives_with_hit"]


def test_what_is_not_enriched_is_not_supported():
    table = weigh(planted(in_positives=0.4, in_negatives=0.4), counting(WORDS["used"], 2.0))
    assert table.loc["used", "verdict"] == "proposal"
    assert table.loc["used", "effect_low"] > 1


def test_a_motif_that_makes_the_model_doubt_is_contradicted():
    assert weigh(planted(), counting(WORDS["used"], -2.0)).loc["used", "verdict"] == "contradicted"


def test_a_model_that_held_out_labels_do_not_bear_out_supports_nothing():
    raw, slope = counting(WORDS["used"], 2.0), 0.02  # what chance gives a network of such a spread on 5,000 records of valid
    table = weigh(planted(), lambda sequences: raw(sequences) * slope)
    assert table.loc["used", "effect_q"] < 1e-2  # as clear as before, but too small to mention
    assert table.loc["used", "verdict"] == "proposal"


def test_what_any_shuffle_does_to_a_model_is_no_effect_of_a_motif():
    held_out = planted()
    originals = {bytes(row) for row in held_out.sequences}
    table = weigh(held_out, lambda sequences: np.array([2.0 * (bytes(row) in originals) for row in sequences]))
    assert (table["effect"].abs() < 0.1).all()  # the matched sites are shuffled, too


def test_random_models_support_nothing():
    supported = 0
    for seed in range(5):
        rng = np.random.default_rng(seed)
        weights = rng.normal(scale=0.05, size=(120, 256))
        table = weigh(planted(seed=seed), lambda sequences, w=weights: np.array([w[np.arange(120), row].sum() for row in sequences]))
        supported += (table["verdict"] == "supported").sum()
    assert supported == 0


def test_same_seed_same_table():
    held_out = planted(60)
    pd.testing.assert_frame_equal(weigh(held_out, counting(WORDS["used"], 1.0)), weigh(held_out, counting(WORDS["used"], 1.0)))


def test_few_hits_and_no_motif():
    held_out = planted(60)
    few = pd.DataFrame({"name": "used", "record": [0, 1], "start": [0, 0], "end": [8, 8]})
    table = weigh_evidence(["used"], few, held_out, counting(WORDS["used"], 1.0))
    assert table["effect"].isna().all()
    assert table["verdict"].tolist() == ["proposal"]
    assert table["effect_records"].tolist() == [2]
    assert weigh_evidence([], few[:0], held_out, counting(WORDS["used"], 1.0)).empty


def test_enrichment_by_hand():
    hits = pd.DataFrame({"record": [0, 0, 1, 2]})  # records 0-2 are positives with a hit, 3 without; 4-7 negatives without
    found = enrichment(hits, np.array([1, 1, 1, 1, 0, 0, 0, 0]))
    assert found["enrichment_p"] == pytest.approx(4 * 1 / 56)  # C(4,3) C(4,0) / C(8,3)
    assert found["odds_ratio"] == pytest.approx(3.5 * 4.5 / (1.5 * 0.5))
    assert (found["positives_with_hit"], found["negatives_with_hit"], found["num_hits"]) == (3, 0, 4)


def test_benjamini_hochberg_by_hand():
    np.testing.assert_allclose(q_values(np.array([0.04, 0.01, np.nan, 0.03, 0.5])), [0.16 / 3, 0.04, np.nan, 0.16 / 3, 0.5])
    assert np.isnan(q_values(np.full(2, np.nan))).all()


def test_spans_merge():
    hits = pd.DataFrame({"start": [4, 2, 20, 9], "end": [9, 5, 24, 12]})
    assert merged_spans(hits) == [(2, 12), (20, 24)]


def test_matched_sites_are_near_and_apart():
    rng = np.random.default_rng(0)
    spans = [(100, 110), (150, 158)]
    for _ in range(50):
        sites = matched_sites(spans, 300, rng)
        assert [end - start for start, end in sites] == [10, 8]
        assert all(abs(site[0] - span[0]) <= 50 for site, span in zip(sites, spans, strict=True))
        taken = np.zeros(300, dtype=int)
        for start, end in spans + sites:
            taken[start:end] += 1
        assert taken.max() == 1
    assert matched_sites([(0, 12)], 20, rng) is None
    assert matched_sites([(0, 10)], 20, rng) == [(10, 20)]
    assert matched_sites([(0, 10)], 200, rng)[0][0] <= 50


def test_shuffling_keeps_letters_and_surroundings():
    letters = np.frombuffer(b"AAAACGTCGTTTTT", dtype=np.uint8)
    shuffled = shuffled_at(letters, [(4, 10)], np.random.default_rng(3))
    assert bytes(letters) == b"AAAACGTCGTTTTT"
    assert bytes(shuffled[:4]) == b"AAAA"
    assert bytes(shuffled[10:]) == b"TTTT"
    assert sorted(shuffled[4:10]) == sorted(letters[4:10])
    assert bytes(shuffled) != bytes(letters)


SUPPORTED = {"effect": 0.3, "effect_low": 0.2, "effect_high": 0.4, "effect_q": 0.01, "enrichment_q": 0.01}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "supported"),
        ({"enrichment_q": 0.2}, "proposal"),
        ({"effect_q": 0.2}, "proposal"),
        ({"effect_low": -0.1}, "proposal"),
        ({"effect": 0.09}, "proposal"),
        ({"effect": float("nan"), "effect_q": float("nan")}, "proposal"),
        ({"effect": -0.3, "effect_low": -0.4, "effect_high": -0.2}, "contradicted"),
        ({"effect": -0.3, "effect_low": -0.4, "effect_high": 0.1}, "proposal"),
        ({"effect": -0.3, "effect_low": -0.4, "effect_high": -0.2, "effect_q": 0.2}, "proposal"),
    ],
)
def test_each_condition_of_the_verdict(change, expected):
    assert verdict(SUPPORTED | change, significance=0.05) == expected
