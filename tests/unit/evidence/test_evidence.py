"""Test verdicts: evidence for used, ignored and contradicted motifs, and permuted motifs."""

import numpy as np
import pandas as pd
import pytest
from letters import BASES, ascii_of, ppm_of
from planted_motifs import PPMS, SITES, WORDS, plant, weigh
from scipy.stats import false_discovery_control, ttest_1samp

from selfattn_bio.evaluation.units import Units
from selfattn_bio.evidence import records, verdicts
from selfattn_bio.evidence.overlaps import NULLS, null_hits
from selfattn_bio.evidence.records import LabelledRecords, MeasuredRecords, Scored, effect
from selfattn_bio.evidence.verdicts import q_values, verdict, weigh_evidence
from selfattn_bio.motifs.matching import find_hits
from selfattn_bio.sequence.alphabet import DNA, PROTEIN


def planted(num=240, seed=0, in_positives=0.6, in_negatives=0.15):
    """Return records with both words more frequent in positives."""
    labels = np.arange(num) % 2
    letters, _ = plant(WORDS, num, 120, seed, np.where(labels, in_positives, in_negatives))
    return LabelledRecords(letters, labels)


def counting(word, weight):
    """Return a model whose log-odds are `weight` per copy of `word`, plus a little for GC."""

    def log_odds(sequences):
        rows = [bytes(row) for row in sequences]
        return np.array(
            [weight * row.count(word) + 0.01 * (row.count(b"G") + row.count(b"C")) for row in rows]
        )

    return log_odds


USING = counting(WORDS["used"], 2.0)


@pytest.fixture(scope="module")
def usual():
    """Return the evidence for both motifs with a model that uses the first."""
    return weigh(planted(), USING)


def test_used_motif_is_supported_and_ignored_is_not(usual):
    assert usual["verdict"].to_dict() == {"used": "supported", "ignored": "inconclusive"}
    used, ignored = usual.loc["used"], usual.loc["ignored"]
    assert 1.4 < used["effect_low"] <= used["effect"] <= used["effect_high"] < 2.2
    assert abs(ignored["necessity"]) < 0.1
    assert abs(ignored["effect"]) < 0.25  # some of its control sites are sites of the other
    assert ignored["enrichment_q"] < 1e-6  # enriched, but not used by this model
    assert used["positives_with_hit"] > 2 * used["negatives_with_hit"]


def test_unenriched_motif_is_not_supported():
    used = weigh(planted(in_positives=0.4, in_negatives=0.4), USING).loc["used"]
    assert used["verdict"] == "inconclusive"
    assert used["effect_low"] > 1


def test_motif_lowering_the_score_is_contradicted():
    assert weigh(planted(), counting(WORDS["used"], -2.0)).loc["used", "verdict"] == "contradicted"


@pytest.mark.parametrize("weight", [2.0, -2.0])
def test_neighbouring_sites_are_inconclusive(weight):
    """Control sites of a meaningless motif overlap meaningful ones.

    Its effect then has the opposite sign of theirs.
    """
    held_out = planted()
    for row in held_out.sequences:
        if WORDS["ignored"] in bytes(row):  # place its hits between two sites that the model uses
            at = bytes(row).index(WORDS["ignored"])
            for start in (at - 12, at + 12):
                if 0 <= start <= len(row) - 8:
                    row[start : start + 8] = ascii_of(WORDS["used"])
    ignored = weigh(held_out, counting(WORDS["used"], weight)).loc["ignored"]
    assert ignored["effect"] * weight < -0.5
    assert ignored["effect_q"] < 0.01
    assert abs(ignored["necessity"]) < 0.1
    assert ignored["verdict"] == "inconclusive"


def test_model_failing_on_held_out_labels_supports_nothing():
    # expected by chance for a network with this spread on 5,000 validation records
    used = weigh(planted(), lambda sequences: 0.02 * USING(sequences)).loc["used"]
    assert used["effect_q"] < 1e-2  # as significant as before, but too small
    assert used["verdict"] == "inconclusive"


def test_general_shuffle_effect_is_not_a_motif_effect():
    held_out = planted()
    originals = {bytes(row) for row in held_out.sequences}
    table = weigh(
        held_out, lambda rows: np.array([2.0 * (bytes(row) in originals) for row in rows])
    )
    assert (table["effect"].abs() < 0.1).all()  # the control sites are shuffled as well


def test_random_models_support_nothing():
    for seed in range(5):
        weights = np.random.default_rng(seed).normal(scale=0.05, size=(120, 256))

        def log_odds(rows, weights=weights):
            return np.array([weights[np.arange(120), row].sum() for row in rows])

        assert (weigh(planted(seed=seed), log_odds)["verdict"] != "supported").all()


def test_strands_follow_the_positives():
    held_out = planted()
    word = ascii_of(WORDS["ignored"])
    for row, label in zip(held_out.sequences, held_out.truth, strict=True):
        at = bytes(row).find(WORDS["ignored"])
        if at >= 0 and not label:
            row[at : at + 8] = DNA.reverse_complement(word)
    ignored = weigh(held_out, USING).loc["ignored"]
    assert ignored["negatives_with_hit"] >= 10
    assert ignored["strand_plus"] > 0.95


def test_the_interval_of_an_effect_holds_the_mean_in_95_of_100():
    rng = np.random.default_rng(0)
    found = [records.mean_effect(rng.normal(0.3, 1, 60), rng) for _ in range(60)]
    assert 0.85 <= np.mean([one["_low"] < 0.3 < one["_high"] for one in found]) <= 1
    width = np.mean([one["_high"] - one["_low"] for one in found])
    assert width == pytest.approx(2 * 1.96 / np.sqrt(60), rel=0.1)


def test_interval_of_equal_units_is_that_of_student():
    rng = np.random.default_rng(0)
    of_units = rng.exponential(size=12)
    found = records.mean_effect(np.repeat(of_units, 4), rng, "e", np.repeat(np.arange(12), 4))
    expected = ttest_1samp(of_units, 0).confidence_interval(0.95)
    assert (found["e_low"], found["e_high"]) == pytest.approx(tuple(expected))


def test_interval_of_few_unequal_units_is_wide_enough():
    rng = np.random.default_rng(0)
    excluded = []
    for _ in range(500):
        sizes = rng.geometric(1 / 6, 10)
        sizes[0] += 20
        values = np.repeat(rng.normal(size=10), sizes) + rng.normal(size=sizes.sum())
        sums = np.add.reduceat(values, np.cumsum(sizes) - sizes)
        low, high = records.t_interval(sums, sizes)
        excluded.append(not low < 0 < high)
    assert 0.01 < np.mean(excluded) < 0.07  # a bootstrap excludes 0 in .13


@pytest.mark.parametrize("number", [9, 10])
def test_effects_need_ten_units(number):
    rng, word = np.random.default_rng(0), ascii_of(WORDS["used"])
    letters = rng.choice(BASES, (40, 120))
    letters[:, 60:68] = word
    hits = pd.DataFrame({"record": range(40), "start": 60, "end": 68})
    loci = Units.of(np.arange(40) % number, "loci")
    held_out = LabelledRecords(list(letters), np.ones(40), groups=loci)
    scored = Scored(held_out, lambda rows: np.array([1.0 * (row[60] == word[0]) for row in rows]))
    found = effect(hits, scored, rng)
    assert found["effect_units"] == f"{number} of {number} loci"
    assert ("effect" in found) == (number == 10)


def test_interval_of_an_effect_is_over_records():
    rng = np.random.default_rng(0)
    number, word = 100, ascii_of(WORDS["used"])
    letters, sizes = rng.choice(BASES, (number, 120)), rng.normal(1, 1, number)
    letters[:, 60:68] = word
    size = {bytes(row[:10]): size for row, size in zip(letters, sizes, strict=True)}
    hits = pd.DataFrame({"record": range(number), "start": 60, "end": 68})

    def log_odds(rows):
        return np.array([size[bytes(row[:10])] * (row[60:68] == word).all() for row in rows])

    found = effect(hits, Scored(LabelledRecords(list(letters), np.ones(number)), log_odds), rng)
    assert found["effect_records"] == number
    width = 2 * 1.96 * sizes.std() / np.sqrt(number)
    for name in ("effect", "necessity"):
        assert found[name] == pytest.approx(sizes.mean())
        assert found[f"{name}_high"] - found[f"{name}_low"] == pytest.approx(width, rel=0.1)


def test_q_values_are_benjamini_hochberg(usual):
    found = q_values(np.array([0.01, np.nan, 0.04, 0.02]))
    assert found == pytest.approx([0.03, np.nan, 0.04, 0.03], nan_ok=True)
    assert np.isnan(q_values(np.full(2, np.nan))).all()
    for test in verdicts.TESTS:
        p, q = (usual[f"{test}_{kind}"].dropna().to_numpy() for kind in "pq")
        assert q == pytest.approx(false_discovery_control(p)), test
    assert (usual["enrichment_q"] > usual["enrichment_p"]).any()


def test_few_hits_and_no_motif():
    scored = Scored(planted(60), counting(WORDS["used"], 1.0))
    few = pd.DataFrame({"name": "used", "record": [0, 1], "start": 0, "end": 8, "strand": "+"})
    few["p_value"] = 1e-6
    table = weigh_evidence({"used": PPMS["used"]}, SITES, few, scored, {"used": 1e-4})
    unknown = ["effect", "sufficiency", "stability", "position_p", "window_p", "strand_plus"]
    assert table[unknown].isna().all(axis=None)
    assert table["verdict"].tolist() == ["inconclusive"]
    assert table["lacks"].str.endswith("; effect not measured").all()
    assert table["effect_records"].tolist() == [2]
    assert list(table) == ["name", *verdicts.COLUMNS]
    assert weigh_evidence({}, {}, few[:0], scored, {}).empty


def test_matched_sites_are_near_and_apart():
    rng = np.random.default_rng(0)
    spans = [(100, 110), (150, 158)]
    for _ in range(50):
        sites = records.matched_sites(spans, 300, rng)
        assert [end - start for start, end in sites] == [10, 8]
        assert all(abs(site[0] - span[0]) <= 50 for site, span in zip(sites, spans, strict=True))
        taken = np.zeros(300, dtype=int)
        for start, end in spans + sites:
            taken[start:end] += 1
        assert taken.max() == 1
    assert records.matched_sites([(0, 12)], 20, rng) is None
    assert records.matched_sites([(0, 10)], 20, rng) == [(10, 20)]
    assert records.matched_sites([(0, 10)], 200, rng)[0][0] <= 50


def test_shuffling_keeps_composition_and_flanks():
    letters = ascii_of(b"AAAACGTCGTTTTT")
    shuffled = records.shuffled_at(letters, [(4, 10)], np.random.default_rng(3))
    assert bytes(letters) == b"AAAACGTCGTTTTT"
    assert bytes(shuffled[:4]) == b"AAAA"
    assert bytes(shuffled[10:]) == b"TTTT"
    assert sorted(shuffled[4:10]) == sorted(letters[4:10])
    assert bytes(shuffled) != bytes(letters)


def estimates(value, low, high):
    ends = {"": value, "_low": low, "_high": high}
    return {f"{name}{end}": of for name in ("effect", "necessity") for end, of in ends.items()}


DOUBTED = estimates(-0.3, -0.4, -0.2)
SUPPORTED = estimates(0.3, 0.2, 0.4) | {"effect_q": 0.01, "support_q": 0.01, "null_p": 1 / 21}
LOWERED = estimates(-2.0, -3.0, -1.0) | dict.fromkeys(records.SHIFTS, -1.0)  # a number
OPPOSITE = LOWERED | dict.fromkeys(records.SHIFTS, 1.0)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        *((change, "supported") for change in ({}, {"null_p": 1 / 20})),
        *(({"null_p": p}, "inconclusive") for p in (1 / 19, 2 / 21, float("nan"))),
        ({"support_q": 0.2}, "inconclusive"),
        ({"effect_low": -0.1}, "inconclusive"),
        ({"effect": 0.09}, "inconclusive"),
        ({"effect": float("nan"), "support_q": float("nan")}, "inconclusive"),
        ({"necessity": 0.09}, "inconclusive"),
        ({"necessity_low": -0.1}, "inconclusive"),
        (DOUBTED, "contradicted"),
        (DOUBTED | {"effect_high": 0.1}, "inconclusive"),
        (DOUBTED | {"necessity_high": 0.1}, "inconclusive"),
        (DOUBTED | {"necessity": -0.09}, "inconclusive"),
        (DOUBTED | {"support_q": 0.2}, "inconclusive"),
        *((LOWERED, "supported"), (OPPOSITE, "contradicted")),
        (OPPOSITE | {"support_q": 0.2}, "inconclusive"),
        *((LOWERED | {name: 1.0}, "inconclusive") for name in records.SHIFTS),
        (LOWERED | dict.fromkeys(records.SHIFTS, 0.0), "inconclusive"),
        (LOWERED | {"support_q": 0.2}, "inconclusive"),
        (LOWERED | {"necessity": -0.4}, "inconclusive"),
        (LOWERED | {"effect_high": 0.1}, "inconclusive"),
        (LOWERED | {"null_p": 0.2}, "inconclusive"),
    ],
)
def test_each_condition_of_the_verdict(change, expected):
    labelled, measured = LabelledRecords([], np.zeros(0)), MeasuredRecords([], np.zeros(0), scale=5)
    held_out = labelled if change.keys().isdisjoint(records.SHIFTS) else measured
    assert verdict(SUPPORTED | change, held_out, 0.05) == expected


def test_sufficient_motif_raises_score_of_random_sequence(usual):
    used, ignored = usual.loc["used"], usual.loc["ignored"]
    assert 1.5 < used["sufficiency_low"] <= used["sufficiency"] <= used["sufficiency_high"] <= 2.1
    assert used["sufficiency_q"] < 0.01
    assert abs(ignored["sufficiency"]) < 0.1
    # The first word matters only together with the second: it is used, but not sufficient alone.

    def both(rows):
        return np.array([2.0 * all(word in bytes(row) for word in WORDS.values()) for row in rows])

    used = weigh(planted(), both).loc["used"]
    assert used["effect_low"] > 0.1
    assert abs(used["sufficiency"]) < 0.1


def test_overlapping_hits_are_one_site():
    held_out = planted()
    for row in held_out.sequences[:40]:
        row[:12] = ascii_of(b"GAGAGAGAGAGA")  # three hits
    repeat = weigh(held_out, USING, {"used": ppm_of(b"GAGAGAGA")}).loc["used"]
    assert 40 <= repeat["num_hits"] == repeat["positives_with_hit"] + repeat["negatives_with_hit"]


def test_stability_is_fraction_of_members_with_effect():
    held_out = planted()
    hits = find_hits(PPMS, SITES, held_out.sequences, 1e-4, DNA)
    mine = hits[hits["name"] == "used"]

    def members(rows):
        return USING(rows)[:, None] * [1, 1 / 2, 0, -1 / 4]

    several, one = Scored(held_out, members), Scored(held_out, USING)
    found, alone = (effect(mine, of, np.random.default_rng(0)) for of in (several, one))
    assert found["stability"] == 0.5
    assert np.isnan(alone["stability"])
    assert found["effect"] == pytest.approx(alone["effect"] * (1 + 0.5 - 0.25) / 4)
    assert records.sufficiency(mine, several, np.random.default_rng(0))["sufficiency"] > 0.4


class Confounded(LabelledRecords):
    """Records whose positives with a hit are no more than expected among matched records."""

    def associations(self, hits):
        return super().associations(hits) | {"matched_p": 0.4}


def test_support_needs_all_three_tests():
    held_out = planted()
    unmatched = weigh(Confounded(held_out.sequences, held_out.truth), USING)
    assert unmatched.loc["used", ["enrichment_p", "effect_p"]].max() < 0.001
    largest = unmatched[["enrichment_p", "matched_p", "effect_p"]].max(axis=1)
    assert unmatched["support_q"].to_numpy() == pytest.approx(q_values(largest.to_numpy()))
    assert unmatched["support_q"].min() >= 0.4
    assert unmatched.loc["used", "verdict"] == "inconclusive"


HIT_P = 1e-3


def found_in(number, length, seed=0, ppm=None):
    rng = np.random.default_rng(seed)
    sequences = list(rng.choice(BASES, (number, length)))
    ppm = rng.dirichlet(np.full(4, 0.3), 8) if ppm is None else ppm
    own = find_hits({"m": ppm}, {"m": 100}, sequences, HIT_P, DNA)
    return own, null_hits(ppm, 100, own, LabelledRecords(sequences, np.ones(number)), HIT_P, rng)


def test_hits_that_overlap_those_of_the_motif_are_marked():
    own, nulls = found_in(800, 150)
    assert len(nulls) == NULLS
    for hits in nulls:
        assert (hits["p_value"] < HIT_P).all()
        both = hits.reset_index().merge(own, on="record")
        overlaps = (both["start_x"] < both["end_y"]) & (both["start_y"] < both["end_x"])
        assert set(both["index"][overlaps]) == set(hits.index[~hits["apart"]])


def test_small_sets_use_the_next_best_hits():
    own, nulls = found_in(400, 200)
    assert np.mean([len(hits) for hits in nulls]) == pytest.approx(len(own), rel=0.25)
    _, nulls = found_in(150, 60)
    apart = [hits[hits["apart"]] for hits in nulls]
    assert all(hits["record"].nunique() >= records.FEWER_RECORDS for hits in apart)
    assert all(hits["p_value"].max() > HIT_P for hits in nulls)


def test_order_does_not_change_a_repeat():
    own, nulls = found_in(200, 150, ppm=np.tile([0.94, 0.02, 0.02, 0.02], (8, 1)))
    assert len(own)
    assert not any((hits["apart"] & (hits["p_value"] < HIT_P)).any() for hits in nulls)


def test_consensus_of_proteins_is_counted_exactly():
    sequences = [ascii_of(text) for text in ("MKDEADR", "MDEADEK", "MDEAXEK", "MKDEADP")]
    ppm = np.eye(20)[[PROTEIN.letters.index(letter) for letter in "DEADR"]]
    ppm[4, PROTEIN.letters.index("E")] = ppm[4].max() / 4
    held_out = LabelledRecords(sequences, np.array([1, 1, 1, 0]), PROTEIN)
    counts = {"positives_with_consensus": 2, "negatives_with_consensus": 0}
    assert verdicts._exact_matches(ppm / ppm.sum(axis=1, keepdims=True), held_out) == counts
    numbers = MeasuredRecords(sequences, np.arange(4.0), PROTEIN)
    assert verdicts._exact_matches(ppm[:4], numbers) == {"records_with_consensus": 3}


def test_proteins_have_permuted_motifs_too():
    rng = np.random.default_rng(0)
    letters = ascii_of(PROTEIN.letters)
    sequences, ppm = list(rng.choice(letters, (200, 100))), np.eye(20)[:5]
    own = find_hits({"m": ppm}, {"m": 100}, sequences, HIT_P, PROTEIN)
    held_out = LabelledRecords(sequences, np.ones(200), PROTEIN)
    nulls = null_hits(ppm, 100, own, held_out, HIT_P, rng)
    assert [hits["record"].nunique() >= 30 for hits in nulls] == [True] * NULLS


@pytest.mark.parametrize(("window", "shown"), [(None, (-11, -1)), ((-4, -1), (-4, -1))])
def test_position_of_a_motif_whose_permuted_motifs_are_rare(window, shown):
    rng = np.random.default_rng(0)
    sequences = [rng.choice(ascii_of(PROTEIN.letters), rng.integers(60, 140)) for _ in range(120)]
    for row in sequences[:60]:
        row[-4:] = ascii_of("KDEL")
    held_out = LabelledRecords(sequences, np.arange(120) < 60, PROTEIN)
    ppm, limit = np.eye(20)[[PROTEIN.letters.index(of) for of in "KDEL"]], 3e-5
    hits = find_hits({"m": ppm}, {"m": 100}, sequences, limit, PROTEIN)
    nulls = null_hits(ppm, 100, hits, held_out, limit, rng)
    assert pd.concat(nulls).query("p_value < @limit")["record"].nunique() < 10
    scored = Scored(held_out, lambda rows: np.array([bytes(row).count(b"KDEL") for row in rows]))
    table = weigh_evidence({"m": ppm}, {"m": 100}, hits, scored, {"m": limit}, window=window)
    (found,) = table.to_dict("records")
    assert found["position_p"] < 1e-6
    assert found["window_p"] < 0.002
    assert found["window_hits"] == 60
    assert (found["window_start"], found["window_end"]) == shown


def test_rare_permuted_motifs_are_more(monkeypatch):
    """The window of a long word, which 20 permuted motifs seldom match, needs more of them."""
    rng = np.random.default_rng(0)
    sequences = [rng.choice(BASES, 90) for _ in range(120)]
    for number, row in enumerate(sequences[:60]):
        start = rng.integers(70, 80) if number % 3 else rng.integers(0, 80)
        row[start : start + 10] = ascii_of("CCTCTTCCAG")
    ppm, limit = 0.9 * ppm_of(b"CCTCTTCCAG") + 0.1 * rng.dirichlet(np.ones(4), 10), 3e-5
    hits = find_hits({"m": ppm}, {"m": 100}, sequences, limit, DNA)
    held_out = LabelledRecords(sequences, np.arange(120) < 60)
    scored = Scored(held_out, lambda rows: np.zeros(len(rows)))

    def p_value():
        table = weigh_evidence({"m": ppm}, {"m": 100}, hits, scored, {"m": limit}, window=(70, 90))
        return table["window_p"].item()

    assert p_value() < 1e-5
    monkeypatch.setattr(verdicts, "MANY_NULLS", NULLS)
    assert p_value() > 1e-4


def test_no_permuted_motif_has_the_order_of_the_motif():
    rng = np.random.default_rng(0)
    sequences, ppm = list(rng.choice(ascii_of(PROTEIN.letters), (200, 100))), np.eye(20)[:3]
    own = find_hits({"m": ppm}, {"m": 100}, sequences, HIT_P, PROTEIN)
    held_out = LabelledRecords(sequences, np.ones(200), PROTEIN)
    sites = {*own[["record", "start"]].itertuples(index=False, name=None)}
    assert sites
    for hits in null_hits(ppm, 100, own, held_out, HIT_P, rng):
        assert not sites <= {*hits[["record", "start"]].itertuples(index=False, name=None)}
