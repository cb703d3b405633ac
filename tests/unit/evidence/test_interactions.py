"""Test epistasis, spacing and orientation on planted words, for models with known answers."""

from io import StringIO
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from learners import CNN, SMALL, scorer_of
from letters import ascii_of
from planted_motifs import plant
from scipy.special import expit

from selfattn_bio.evaluation.units import Units
from selfattn_bio.evidence import interactions
from selfattn_bio.evidence.epistasis import (
    _free_starts,
    _squares,
    additive_scores,
    epistasis,
    mean_of_strands,
    put,
    site_pairs,
)
from selfattn_bio.evidence.interactions import attention_between, evaluate_interactions, verdict
from selfattn_bio.motifs import matching
from selfattn_bio.sequence.alphabet import RNA, SSDNA

WORDS = {"alpha": b"TATCGATA", "beta": b"GGTCACAC", "gamma": b"CCATGTTG", "delta": b"AGCTTCCG"}
SIX = WORDS | {"epsilon": b"GATTACAC", "zeta": b"CAGGTGAA"}
A, B = WORDS["alpha"], WORDS["beta"]


def sites_of(*rows):
    return pd.DataFrame(rows, columns=["name", "record", "start", "end", "strand"])


def table_of(text):
    return pd.read_csv(StringIO(text), sep=r"\s+")


def planted(num=160, chance=1.0, words=WORDS):
    return plant(words, num, 160, chance=chance)


def model(answer, words=WORDS):
    """Return a model whose log-odds depend on the counts of each word, (n, 4)."""
    return lambda sequences: answer(
        np.array(
            [[bytes(row).count(word) for word in words.values()] for row in sequences], dtype=float
        )
    )


BOTH = model(lambda has: 2 * has[:, 0] * has[:, 1] + has[:, 2:].sum(1), SIX)
EITHER = model(lambda has: 2 * np.maximum(has[:, 0], has[:, 1]) + has[:, 2:].sum(1), SIX)
LOWERED_BY_BOTH, LOWERED_BY_EITHER = (lambda rows: -BOTH(rows)), (lambda rows: -EITHER(rows))
BLOCKED = model(lambda has: 2 * has[:, 0] * (1 - np.minimum(has[:, 1], 1)) + has[:, 2:].sum(1), SIX)
SUM = model(lambda has: has.sum(1))
CURVE = model(lambda has: 3 * np.tanh(has.sum(1) / 2))
WEIGHTS = np.array([2.5, 2.0, 1.5, 1.5, 1.0, 1.0])
CURVES = {
    "saturating": lambda x: 4 * np.tanh(x / 4),
    "rising": lambda x: np.logaddexp(0, x - 4),
    "steep": lambda x: np.logaddexp(0, 2 * (x - 5)),
    "bend": lambda x: np.maximum(0, x - 5),
    "threshold": lambda x: 4.0 * (x > 5),
}


def test_adjacent_pairs_are_oriented_by_first_motif():
    found = site_pairs(
        table_of("""
            name record start end strand
            b    0      20    26  +
            a    0      4     10  +
            a    0      24    30  -
            c    0      40    46  -
            a    1      30    36  +
            b    1      9     15  -
        """)
    )
    # The other site of a overlaps b in the first row. In the last one, a comes first on the other
    # strand and is on -. Ties share the first rank.
    expected = table_of("""
        record name_a start_a name_b start_b gap orientation closest
        0      a      4       b      20      10  ++          0.833
        0      a      24      c      40      10  --          0.833
        0      a      4       c      40      30  +-          0.0
        0      b      20      c      40      14  +-          0.333
        1      a      30      b      9       15  -+          1.0
    """)
    pd.testing.assert_frame_equal(found[list(expected)].round(3), expected, check_dtype=False)


@pytest.mark.parametrize(
    ("log_odds", "expected"),
    [(BOTH, 2.0), (EITHER, -2.0), (SUM, 0.0)],
    ids=["both", "either", "sum"],
)
def test_epistasis_has_a_sign(log_odds, expected):
    letters, sites = planted(num=12)
    pairs = site_pairs(sites)
    found = epistasis(pairs, sites, letters, log_odds, np.random.default_rng(0))
    mine = (pairs["name_a"] == "alpha") & (pairs["name_b"] == "beta")
    assert mine.sum() == 12
    # not the mean, because a shuffle may contain a word again
    assert found.loc[mine, "epistasis"].median() == expected
    np.testing.assert_allclose(found.loc[mine, "epistasis"], expected, atol=0.6)
    np.testing.assert_allclose(found.loc[~mine, "epistasis"], 0, atol=1e-12)
    # random sites contain no complete word, but shuffles may contain parts
    assert abs(found["matched"]).max() < 0.6


def no_attention(pairs):
    return np.zeros(len(pairs))


def weigh(log_odds, attention=no_attention, chance=1.0, words=WORDS):
    letters, sites = planted(chance=chance, words=words)
    return evaluate_interactions(sites, letters, log_odds, attention).set_index(
        ["name_a", "name_b"]
    )


@pytest.mark.parametrize(
    ("log_odds", "sign"), [(BOTH, 1), (LOWERED_BY_BOTH, -1)], ids=["raise", "lower"]
)
def test_only_interacting_pair_is_supported(log_odds, sign):
    table = weigh(log_odds, words=SIX)
    assert len(table) == 15
    assert table.index[table["verdict"] == "supported"].tolist() == [("alpha", "beta")]
    pair = table.loc[("alpha", "beta")]
    low, high = np.sort(sign * pair[["epistasis_low", "epistasis_high"]].astype(float))
    assert 1.8 < low <= sign * pair["epistasis"] <= high < 2.1
    assert 0.5 < sign * pair["specific"] < 1.8  # the curve takes a part of it
    # each has an effect of 2 with the other one, and none without it
    assert pair["direction"] == sign
    assert pair[["effect_a", "effect_b"]].tolist() == pytest.approx([sign] * 2, abs=0.1)
    assert 50 < pair["tested"] <= interactions.MAX_RECORDS < pair["records"]
    assert table["spacing_q"].min() > 0.05
    assert {*table["verdict"]} == {"supported", "inconclusive"}


@pytest.mark.parametrize(
    ("log_odds", "sign"), [(EITHER, 1), (LOWERED_BY_EITHER, -1)], ids=["raise", "lower"]
)
def test_only_redundant_pair_is_redundant(log_odds, sign):
    """If both lower the score and it levels off, epistasis is above 0."""
    table = weigh(log_odds, words=SIX)
    assert table.index[table["verdict"] == "redundant"].tolist() == [("alpha", "beta")]
    assert -2.1 < sign * table.loc[("alpha", "beta"), "epistasis"] < -1.8
    assert {*table["verdict"]} == {"redundant", "inconclusive"}


def test_motifs_of_opposite_effect_are_neither():
    """Sites of beta lower the score to that without alpha, and have no effect alone."""
    table = weigh(BLOCKED, words=SIX)
    pair = table.loc[("alpha", "beta")]
    assert pair[["effect_a", "effect_b"]].tolist() == pytest.approx([1, -1], abs=0.1)
    assert (pair["direction"], pair["verdict"]) == (0, "non-additive")
    assert {*table["verdict"]} == {"non-additive", "inconclusive"}


def test_a_curve_over_the_sum_of_motifs_is_no_interaction():
    table = weigh(CURVE)
    assert (table["epistasis"] < -0.1).all()
    assert (table["sites_p"] < 0.01).all()  # differs from random sites
    assert (table["specific"].abs() < 0.1).all()  # but not from other motifs
    np.testing.assert_allclose(table["p"], table[["sites_p", "pairs_p"]].max(axis=1))
    assert (table["verdict"] == "inconclusive").all()


@pytest.mark.parametrize("name", CURVES)
def test_no_curve_over_the_sum_gives_interactions(name):
    table = weigh(model(lambda has: CURVES[name](has @ WEIGHTS), SIX), chance=0.7, words=SIX)
    assert table["epistasis"].abs().max() > 0.3
    assert (table["verdict"] == "inconclusive").all()


def test_planted_pair_on_a_rising_curve_is_supported():
    def score(has):
        return CURVES["rising"](has @ WEIGHTS + 2 * has[:, 2] * has[:, 3])

    table = weigh(model(score, SIX), chance=0.7, words=SIX)
    assert table.index[table["verdict"] == "supported"].tolist() == [("delta", "gamma")]
    letters, sites = planted(chance=0.7, words=SIX)
    few = Units.of(np.arange(160) // 10, "loci")  # 16 loci
    table = evaluate_interactions(sites, letters, model(score, SIX), no_attention, units=few)
    assert table["units"].max() <= 16
    assert table["lacks"].tolist() == [
        f"no q value, because only {number} of the 20 needed loci have both motifs and random "
        "positions: add records"
        for number in table["units"]
    ]


def test_additive_scores_fit_a_monotone_curve_over_a_sum():
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 2, (2000, 6)).astype(float)
    for curve in CURVES.values():
        truth = curve(counts @ WEIGHTS)
        fitted = additive_scores(counts, truth + rng.normal(0, 0.1, 2000))
        assert np.sqrt(np.mean((fitted - truth) ** 2)) < 0.1 * np.ptp(truth)
    pair = counts[:, 0] * counts[:, 1] + counts[:, 2] * counts[:, 3]
    assert additive_scores(counts, pair).std() < 0.95 * pair.std()  # not a curve over a sum
    assert additive_scores(counts[:0], pair[:0]).shape == (0,)
    np.testing.assert_allclose(additive_scores(np.zeros((3, 2)), np.array([1.0, 2.0, 3.0])), 2.0)


@pytest.mark.parametrize(
    ("levels_off", "size_of_others"), [(True, [0.087, 0.056]), (False, [0.030, 0.090])]
)
def test_epistasis_of_variants_beyond_a_curve(levels_off, size_of_others):
    """The planted pair has the largest epistasis of all pairs of 12 substitutions.

    The curve makes that of the others smaller if scores level off, and larger if they add up.
    """
    sets = [each for size in (0, 1, 2) for each in combinations(range(12), size)]
    present = np.array([[i in each for i in range(12)] for each in sets], dtype=int)
    row = {each: number for number, each in enumerate(sets)}
    pairs = sets[13:]
    square = [[row[pair], row[pair[:1]], row[pair[1:]], row[()]] for pair in pairs]
    others = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        latent = present @ rng.normal(-0.6, 0.5, 12) + 1.5 * present[:, 0] * present[:, 1]
        scores = 3 * expit(latent + 1.5) if levels_off else latent
        scores = scores + rng.normal(0, 0.02, len(sets))
        signs = np.array([1, -1, -1, 1])
        found = scores[square] @ signs
        beyond = found - additive_scores(present, scores)[square] @ signs
        for each in (found, beyond):
            assert pairs[np.abs(each).argmax()] == (0, 1)
        assert beyond[pairs.index((0, 1))] > 0.3
        others.append([np.abs(found[1:]).mean(), np.abs(beyond[1:]).mean()])
    np.testing.assert_allclose(np.mean(others, axis=0), size_of_others, atol=0.002)


def test_additive_scores_weigh_sites_by_their_sequences():
    counts = np.repeat([0, 1, 2], [1, 10, 30])[:, None]
    found = additive_scores(counts, (counts[:, 0] == 1) * 1.0)
    np.testing.assert_allclose(found, np.where(counts[:, 0] < 2, 10 / 11, 0), atol=1e-6)


def test_replaced_site_leaves_the_adjacent_one():
    sites = np.array([[0, 8, 0], [8, 16, 1]])
    made, counts = [], [np.empty((0, 2), dtype=np.int64)]
    spans = (0, 8), (8, 16)
    list(_squares(ascii_of(A + B), spans, sites, made, counts, np.random.default_rng(0)))
    assert np.vstack(counts)[:4].tolist() == [[1, 1], [0, 1], [1, 0], [0, 0]]


def test_motif_without_space_has_no_match():
    letters, sites = [ascii_of(A + B)], sites_of(("alpha", 0, 0, 8, "+"), ("beta", 0, 8, 16, "+"))
    found = epistasis(site_pairs(sites), sites, letters, BOTH, np.random.default_rng(0))
    assert found["epistasis"].tolist() == [2.0]
    assert found["matched"].isna().all()


def test_random_positions_keep_distance_and_avoid_sites():
    """Random sites are on either side at a similar distance and overlap no site of a motif."""
    before = np.concatenate(
        ([0], np.cumsum(np.isin(np.arange(100), [*range(40, 48), *range(58, 66), *range(20, 24)])))
    )
    # 10 bp apart: 3 to 17, but not over [58, 66) or [20, 24)
    found = _free_starts((40, 48), (58, 66), before)
    assert found.tolist() == list(range(24, 30))
    # 22 bp apart: 12 to 32
    assert _free_starts((40, 48), (70, 78), before).tolist() == [*range(13), *range(66, 81)]


def test_two_motifs_cannot_be_told_from_a_curve():
    letters, sites = planted(num=60)
    two = sites[sites["name"].isin(["alpha", "beta"])]
    table = evaluate_interactions(two, letters, BOTH, no_attention)
    assert table["lacks"].str.startswith("no q value, because only 1 of the 6 needed ").all()


def test_sites_are_taken_out_by_span():
    own, other = (ascii_of(text) for text in (b"AAAAAA", b"CGTACG"))
    assert bytes(put(own, other, (0, 2), (4, 5))) == b"CGAACA"


def test_the_verdict_needs_both_comparisons():
    table = table_of("""
        q    sites_p pairs_p epistasis specific direction units verdict
        0.01 0.01    0.01    0.2       0.3      1         30    supported
        0.01 0.01    0.01    0.2       0.05     1         30    inconclusive
        0.01 0.01    0.01    -0.2      0.3      1         30    inconclusive
        0.01 0.01    0.01    -0.2      -0.3     1         30    redundant
        0.01 0.01    0.01    -0.2      -0.3     -1        30    supported
        0.01 0.01    0.01    0.2       0.3      -1        30    redundant
        0.01 0.01    0.01    0.2       0.3      0         30    non-additive
        0.01 0.01    0.01    -0.2      -0.3     0         30    non-additive
        0.06 0.01    0.02    2.0       2.0      1         30    inconclusive
        0.3  0.01    0.3     2.0       2.0      1         30    inconclusive
        nan  0.01    nan     2.0       2.0      1         30    inconclusive
        nan  nan     0.01    nan       2.0      1         12    inconclusive
    """)
    rows = table.to_dict("records")
    assert [verdict(row, 0.1, 0.05) for row in rows] == table["verdict"].tolist()
    assert [interactions.shortfall(row, 0.1, 0.05, (5, 6), "blocks of 5 bp") for row in rows] == [
        "",
        "epistasis, or that beyond the curve, smaller than 0.1",
        "the two comparisons have opposite signs",
        *[""] * 5,
        "not significant over all pairs",
        "no difference from a curve over all motifs shown",
        "no q value, because only 5 of the 6 needed pairs could be compared",
        "no q value, because only 12 of the 20 needed blocks of 5 bp have both motifs and random "
        "positions: choose a smaller [evaluation] block or add records",
    ]
    few = Units.of(["a", "a", "b"], "loci").name
    assert interactions.shortfall(rows[-1], 0.1, 0.05, (5, 6), few).endswith(
        "only 12 of the 20 needed records have both motifs and random positions: add records"
    )
    no_remedy = "no q value, because only 2 of the 6 needed pairs could be compared"
    assert interactions.shortfall(rows[-1], 0.1, 0.05, (2, 3), few) == no_remedy


def test_dna_is_read_on_both_strands():
    scorer = scorer_of()
    rows = [ascii_of(b"ACGTTGCATG"), ascii_of(b"GGGTTACCAT")]
    reverse = [scorer.alphabet.reverse_complement(row) for row in rows]
    ways = [scorer.log_odds(each) for each in (rows, reverse)]
    assert abs(ways[0] - ways[1]).max() > 1e-6
    found = mean_of_strands(scorer, scorer.log_odds)(rows)
    np.testing.assert_allclose(found, np.mean(ways, axis=0))


def test_without_pairs_there_is_a_table_without_rows():
    letters, sites = planted()
    table = evaluate_interactions(sites[sites["name"] == "alpha"], letters, BOTH, no_attention)
    assert table.empty
    assert list(table) == interactions.COLUMNS


def test_pairs_with_most_attention_are_tested(monkeypatch):
    monkeypatch.setattr(interactions, "MAX_PAIRS", 2)
    table = weigh(
        BOTH, lambda pairs: 0.1 + 0.2 * (pairs["name_a"] + pairs["name_b"] == "betagamma")
    )
    assert len(table) == 2
    assert table.loc[("beta", "gamma"), "attention"] > 1.5


@pytest.mark.parametrize("alphabet", [RNA, SSDNA], ids=["rna", "ssdna"])
def test_sites_of_one_strand_are_on_it(alphabet):
    words = [alphabet.normalise(word) for word in (b"TGTAAATA", b"GCAGCCGC")]
    ppms = {f"m{i}": np.eye(4)[alphabet.codes(ascii_of(each))] for i, each in enumerate(words)}
    given = ascii_of(b"A" * 20 + words[0] + b"A" * 20 + words[1] + b"A" * 20)

    def importance(sequences):
        of_words = np.repeat(np.float32([0, 1, 0, 1, 0]), [20, 8, 20, 8, 20])
        return [of_words for _ in sequences]

    letters = [given, alphabet.reverse_complement(given)]
    hits = matching.find_hits(ppms, {}, letters, matching.HIT_P, alphabet)
    sites = matching.used_hits(hits, importance, 0)
    assert sites[["name", "record", "strand"]].to_numpy().tolist() == [
        ["m0", 0, "+"],
        ["m1", 0, "+"],
    ]


def test_attention_between_sites():
    scorer = scorer_of(SMALL | {"stem": {"kind": "none"}}, k=1)
    letters, sites = planted(num=3)
    pairs = site_pairs(sites)
    between = attention_between(scorer, letters)
    together = between(pairs)
    assert (together > 0).all()
    for row in (0, 5, len(pairs) - 1):
        np.testing.assert_allclose(between(pairs.iloc[[row]]), together[[row]], rtol=1e-4)
    # the order of the sites does not matter
    turned = pairs.rename(
        columns=lambda name: name[:-1] + {"_a": "b", "_b": "a"}.get(name[-2:], name[-1])
    )
    np.testing.assert_allclose(between(turned), together, rtol=1e-4)
    assert not attention_between(scorer_of(CNN), letters)(pairs).any()


def test_pairs_without_a_value_do_not_change_the_others():
    specific, errors = pd.Series([0.9, 0.1, -0.1, 0.2, -0.2, 0.1]), pd.Series([0.1] * 6)
    alone = interactions.specific_p(specific, errors)
    unknown = pd.Series([np.nan] * 30)
    found = interactions.specific_p(pd.concat([specific, unknown]), pd.concat([errors, unknown]))
    np.testing.assert_array_equal(found[:6], alone)
    assert np.isnan(found[6:]).all()


def test_spacing_of_pairs_is_tested_by_unit(monkeypatch):
    given, loci = [], Units.of(np.arange(40) // 4, "loci")
    monkeypatch.setattr(interactions, "spacing", lambda *settings: given.append(settings) or {})
    letters, sites = planted(num=40)
    evaluate_interactions(sites, letters, SUM, no_attention, units=loci)
    assert {id(settings[-1]) for settings in given} == {id(loci)}
