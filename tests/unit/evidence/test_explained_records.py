"""Test evidence for numbers, and for one input of a pair, which leaves the other as it is."""

import numpy as np
import pandas as pd
import pytest
from letters import BASES, ascii_of
from planted_motifs import WORDS, hits_in, plant
from planted_motifs import weigh as weigh_scores
from scipy.stats import mannwhitneyu, norm

from selfattn_bio.data.inputs import RecordPair
from selfattn_bio.evidence.associations import matched_rank_shift, rank_shift
from selfattn_bio.evidence.held_out import neutral_backgrounds
from selfattn_bio.evidence.records import (
    LabelledRecords,
    MeasuredRecords,
    Scored,
    effect,
    held_out_records,
    mean_necessity,
    sufficiency,
)
from selfattn_bio.objectives.outputs import ClassOutput, NumberOutput
from selfattn_bio.sequence.alphabet import DNA


def planted(effect):
    """Return records with both words, whose numbers change by `effect` with the used word."""
    letters, sites = plant(WORDS, 300, 120, chance=0.4)
    values = np.random.default_rng(0).normal(0, 0.5, 300)
    values[sites.loc[sites["name"] == "used", "record"]] += effect
    return MeasuredRecords(letters, values, scale=float(values.std()), unit="height")


def counting(weight):
    return lambda rows: np.array([weight * (WORDS["used"] in bytes(row)) for row in rows])


def weigh(held_out, weight):
    return weigh_scores(held_out, counting(weight))


@pytest.mark.parametrize("effect", [2.0, -2.0])
def test_motifs_that_raise_or_lower_a_number(effect):
    table = weigh(planted(effect), effect)
    assert table["verdict"].to_dict() == {"used": "supported", "ignored": "inconclusive"}
    used = table.loc["used"]
    assert used["effect"] == pytest.approx(effect, abs=0.2)
    for name in ("difference", "matched_difference"):
        assert used[name] == pytest.approx(effect, abs=0.4)
    assert abs(used["null_necessity"]) < 0.3
    assert used["unit"] == "height"
    assert np.isnan(used["odds_ratio"])


def test_verdict_needs_numbers_and_effects():
    held_out, least = planted(2.0), planted(2.0).least
    for records, weight, expected in (
        (held_out, -2.0, "contradicted"),  # the model changes the numbers the other way
        (held_out, 0.9 * least, "inconclusive"),
        (held_out, 1.3 * least, "supported"),
        (planted(0.0), 2.0, "inconclusive"),  # the numbers do not depend on the motif
    ):
        assert weigh(records, weight).loc["used", "verdict"] == expected


def test_rank_shift_is_a_two_sided_mann_whitney_test():
    rng = np.random.default_rng(0)
    values = rng.normal(size=40)
    found = rank_shift(hits_in([0, 1, 1, 5, 9]), values)
    has = np.isin(np.arange(40), [0, 1, 5, 9])
    assert found["enrichment_p"] == pytest.approx(mannwhitneyu(values[has], values[~has]).pvalue)
    assert found["difference"] == pytest.approx(values[has].mean() - values[~has].mean())
    assert (found["records_with_hit"], found["records"]) == (4, 40)
    assert rank_shift(hits_in([]), values)["enrichment_p"] == 1
    assert rank_shift(hits_in(range(40)), values)["difference"] == 0


def test_matched_shift_ignores_differences_between_strata():
    rng = np.random.default_rng(1)
    strata = np.repeat([0, 1, 2], 100)
    values = rng.normal(size=300) + 5 * strata
    records = np.flatnonzero(rng.random(300) < (0.2 + 0.3 * strata))  # only by stratum
    assert rank_shift(hits_in(records), values)["enrichment_p"] < 1e-6
    found = matched_rank_shift(hits_in(records), values, strata)
    assert found["matched_p"] > 0.05
    assert abs(found["matched_difference"]) < 0.4
    values[records] -= 1
    found = matched_rank_shift(hits_in(records), values, strata)
    assert found["matched_p"] < 1e-6
    assert found["matched_difference"] == pytest.approx(-1, abs=0.4)


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_matched_shift_has_equal_small_p_in_both_directions(fraction):
    """Rare or frequent hits have skewed sums, whose fitted distribution is bounded on one side."""
    rng, strata = np.random.default_rng(3), np.repeat([0, 1], 200)
    hits = hits_in(np.flatnonzero(rng.random(400) < fraction))
    values = rng.normal(size=400)
    values[hits["record"]] += 10
    above, below = (
        matched_rank_shift(hits, sign * values, strata)["matched_p"] for sign in (1, -1)
    )
    assert above == pytest.approx(below, rel=1e-6)
    assert 0 < above < 1e-15


def test_matched_shift_has_uniform_p_values():
    rng, strata, p = np.random.default_rng(2), np.repeat(np.arange(4), 30), []
    for _ in range(400):
        values = rng.integers(0, 4, 120).astype(float)  # with many equal numbers
        hits = hits_in(np.flatnonzero(rng.random(120) < 0.3))
        p.append(matched_rank_shift(hits, values, strata)["matched_p"])
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.025)


def test_records_follow_the_output():
    rows, values = [BASES] * 4, np.array([1.0, 0.0, 1.0, 0.0])
    one = ClassOutput("a", 0, truth=np.asarray, value=np.asarray)
    labelled = held_out_records(one, rows, values, DNA)
    assert isinstance(labelled, LabelledRecords)
    assert (labelled.described.tolist(), labelled.least) == ([0, 2], 0.1)
    assert labelled.neutral.tolist() == [1, 3]  # the negatives
    assert LabelledRecords(rows[:2], np.ones(2)).neutral.tolist() == [0, 1]
    number = NumberOutput("x", 0, truth=np.asarray, value=np.asarray, unit="x", scale=5.0)
    measured = held_out_records(number, rows, values, DNA)
    assert isinstance(measured, MeasuredRecords)
    assert (len(measured.described), measured.least, measured.unit) == (4, 0.5, "x")
    assert measured.neutral.tolist() == [0, 1, 2, 3]


def test_slope_confirms_scores():
    rng = np.random.default_rng(3)
    scores = rng.normal(size=2000)
    truth = 2 * scores + rng.normal(size=2000)
    measured = MeasuredRecords([], truth)
    assert measured.slope(scores) == pytest.approx(2, abs=0.1)
    assert measured.slope(rng.normal(size=2000)) < 0.1
    assert measured.slope(-scores) == measured.slope(np.zeros(2000)) == 0
    labelled = LabelledRecords([], (rng.random(2000) < 1 / (1 + np.exp(-2 * scores))).astype(int))
    assert labelled.slope(scores) == pytest.approx(2, abs=0.3)


def confounded(num=400, length=80):
    """Return records whose numbers rise with GC content, and a word of GC-rich ones lowers them."""
    rng = np.random.default_rng(4)
    gc = rng.permutation(np.repeat([0.2, 0.8], num // 2))
    is_gc = rng.random((num, length)) < gc[:, None]
    letters = ascii_of(b"ATGC")[2 * is_gc + rng.integers(0, 2, is_gc.shape)]
    has = rng.random(num) < np.where(gc > 0.5, 0.7, 0.15)
    letters[has, 30:38] = ascii_of(WORDS["used"])
    values = 4 * gc - 0.8 * has + rng.normal(0, 0.3, num)
    return MeasuredRecords(list(letters), values, scale=float(values.std()))


@pytest.mark.parametrize("weight", [-0.8, 0.8])
def test_opposite_differences_are_inconclusive(weight):
    used = weigh(confounded(), weight).loc["used"]
    assert used["difference"] > 0.5
    assert used["matched_difference"] < -0.5
    assert max(used["support_q"], used["effect_q"]) < 0.001
    assert used["verdict"] == "inconclusive"


def test_direction_is_that_of_ranks_and_means():
    rng = np.random.default_rng(5)
    letters = [np.full(100 + row // 50, ord("A"), np.uint8) for row in range(100)]  # two strata
    has = np.tile([True, False], 50)
    values = rng.normal(size=100) + 2 * has
    for sign, outlier, expected in ((1, 0, 1), (-1, 0, -1), (1, 500, 0)):
        changed = sign * values
        changed[1] += outlier  # a record without a hit
        held_out = MeasuredRecords(letters, changed)
        row = held_out.associations(hits_in(np.flatnonzero(has)))
        assert row["rank_shift"] * sign > 0.3
        assert row["matched_rank_shift"] * sign > 0
        assert held_out.direction(row) == expected


def test_strata_weigh_by_the_reciprocal_of_their_size():
    values = np.array([1.0, 2, 9, 4, 5, 6, 7, 8, 3])
    strata, hits = np.repeat([0, 1], [3, 6]), hits_in([0, 5, 7])
    # 3 records: rank 1, expected 2, variance 2/3 (1 * 2 * 4 / 12). 6 records with the ranks
    # 2 to 6 and 1: ranks 4 and 6, expected 7, variance 14/3 (2 * 4 * 7 / 12).
    excess = (1 - 2) / 4 + (10 - 7) / 7
    variance = (2 / 3) / 4**2 + (14 / 3) / 7**2
    found = matched_rank_shift(hits, values, strata)
    assert found["matched_rank_shift"] == pytest.approx(excess)
    assert found["matched_p"] == pytest.approx(2 * norm.sf(excess / np.sqrt(variance)))


WORD, LENGTH, NUM = b"GGTCACACTG", 60, 90
INPUTS = pytest.mark.parametrize("name", ["first", "partner"])
OTHER = {"first": "partner", "partner": "first"}


def letters_of(pair, name):
    return getattr(pair, name).tobytes()


def pairs_with_word(name):
    """Return records with the word in one input. The other one is long, or short and "on"."""
    rng = np.random.default_rng(0)
    pairs, spans = [], []
    for record in range(NUM):
        letters = rng.choice(BASES, LENGTH)
        start = int(rng.integers(LENGTH - len(WORD)))
        letters[start : start + len(WORD)] = ascii_of(WORD)
        other = ascii_of(b"MKV"[: 1 + record % 3] + b"%d" % record)
        pair = RecordPair(letters, letters)
        pairs.append(pair._replace(**{OTHER[name]: other}))
        spans.append((record, start, start + len(WORD)))
    hits = pd.DataFrame(spans, columns=["record", "start", "end"])
    hits = hits.assign(name="word", strand="+", p_value=1e-6)
    return pairs, hits


def held_out_of(pairs, name):
    letters = [getattr(pair, name) for pair in pairs]
    return LabelledRecords(letters, np.arange(NUM) % 2, pairs=pairs, input=name)


@INPUTS
def test_effects_depend_on_the_other_input_of_the_record(name):
    pairs, hits = pairs_with_word(name)

    def scores(pairs):  # 2 for the word if the other input of the pair starts with M only
        one = np.array([WORD in letters_of(pair, name) for pair in pairs])
        other = [letters_of(pair, OTHER[name]).startswith(b"MK") for pair in pairs]
        return 2.0 * (one & ~np.array(other))

    scored, rng = Scored(held_out_of(pairs, name), scores), np.random.default_rng(0)
    for rows, expected in ((hits["record"] % 3 == 0, 2.0), (hits["record"] % 3 > 0, 0.0)):
        some = hits[rows]
        assert mean_necessity(some, scored, rng) == pytest.approx(expected, abs=0.1)
        found = effect(some, scored, rng)
        assert found["effect"] == pytest.approx(expected, abs=0.2)
        assert found["effect_records"] == len(some)
        assert sufficiency(some, scored, rng)["sufficiency"] == pytest.approx(expected, abs=0.1)


@INPUTS
def test_backgrounds_keep_the_other_input_of_the_record(name):
    pairs, _ = pairs_with_word(name)
    held_out = held_out_of(pairs, name)

    def contents(pairs):  # the other input, and the bases of this one
        return [(letters_of(pair, OTHER[name]), sorted(letters_of(pair, name))) for pair in pairs]

    def same_record(given):
        return np.array([[each in contents(pairs)] for each in contents(given)], dtype=float)

    backgrounds = neutral_backgrounds(held_out, same_record, seed=0)
    assert backgrounds.before.tolist() == [1.0] * 30
    assert not backgrounds.effects(np.stack([backgrounds.letters] * 3)).any()
    shuffled = {bytes(row) for row in backgrounds.letters}
    assert not shuffled & {letters.tobytes() for letters in held_out.sequences}
