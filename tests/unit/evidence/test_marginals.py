"""Test that inserted motifs recover planted dependences, and the functions that insert them."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from learners import scorer_of
from letters import BASES, ascii_of, ppm_of
from matplotlib.figure import Figure

import selfattn_bio as sb
from selfattn_bio.errors import ArgumentError
from selfattn_bio.evidence import marginals
from selfattn_bio.evidence.marginals import NUM_POSITIONS, Backgrounds, position_curves
from selfattn_bio.sequence.alphabet import DNA, PROTEIN

WORD, OTHER = b"TACCGTTAGG", b"GGTCACACTG"
REVERSE, OTHER_REVERSE = (bytes(DNA.reverse_complement(ascii_of(word))) for word in (WORD, OTHER))
LENGTH, NUM = 120, 30


def backgrounds(score, seed=0, length=LENGTH):
    """Return random backgrounds, scored by a function of bytes plus noise of SD 0.2."""
    letters = np.random.default_rng(seed).choice(BASES, (NUM, length))
    odd = np.random.default_rng(1).normal(0, 1, (length, 256))

    def noisy(rows):
        noise = 0.3 * np.sin([odd[np.arange(len(row)), row].sum() for row in rows])
        return np.array([score(bytes(row)) for row in rows]) + noise

    return Backgrounds(letters, noisy, DNA, "log-odds")


def late(row):
    """Return 2 if the word is in the last third on +, 0.5 elsewhere on +."""
    at = row.find(WORD)
    return 0.0 if at < 0 else 2.0 if at >= 80 else 0.5


def curve_of(score, **options):
    curves, table = position_curves({"word": ppm_of(WORD)}, backgrounds(score), **options)
    return curves, table.iloc[0]


def test_effect_by_position_and_strand_is_recovered():
    curves, row = curve_of(late)
    plus, minus = (curves[curves["strand"] == strand] for strand in "+-")
    assert len(plus) == len(minus) == NUM_POSITIONS + 2
    assert plus["effect"][plus["start"] >= 80].to_numpy() == pytest.approx(2, abs=0.2)
    assert plus["effect"][plus["end"] <= 80].to_numpy() == pytest.approx(0.5, abs=0.2)
    assert minus["effect"].to_numpy() == pytest.approx(0, abs=0.2)
    truth = np.where(plus["start"] >= 80, 2, 0.5)
    covered = (plus["effect_low"] <= truth) & (truth <= plus["effect_high"])
    assert covered[(plus["start"] >= 80) | (plus["end"] <= 80)].sum() >= 7
    assert row["marginal"] == pytest.approx(0.46, abs=0.1)  # half of 80 x .5 and 31 x 2 of 111
    assert row["marginal_low"] < row["marginal"] < row["marginal_high"]
    assert (row["marginal_start"], row["marginal_strand"]) >= (80, "+")
    assert row["marginal_peak"] == pytest.approx(2, abs=0.3)
    assert max(row["marginal_position_q"], row["marginal_strand_q"]) < 0.01
    # means over strands or positions, whose other half is 0
    by_position = row[["marginal_position_weakest", "marginal_position_strongest"]]
    assert by_position.to_numpy(float) == pytest.approx([0.25, 1], abs=0.15)
    by_strand = row[["marginal_strand_weakest", "marginal_strand_strongest"]]
    assert by_strand.to_numpy(float) == pytest.approx([0, 0.92], abs=0.2)


def test_an_effect_at_the_end_alone_is_found():
    curves, row = curve_of(lambda row: 3.0 * row.endswith(WORD) + (0.5 if WORD in row else 0))
    last = curves[curves["strand"] == "+"].iloc[-1]
    assert (last["start"], last["end"]) == (LENGTH - len(WORD), LENGTH - len(WORD) + 1)
    assert (row["marginal_start"], row["marginal_end"]) == (last["start"], last["end"])
    assert row["marginal_position_strongest"] == pytest.approx(1.75, abs=0.2)  # - has no effect
    # the mean over positions is that of the intervals between the ends
    assert row["marginal"] == pytest.approx(0.25, abs=0.1)


def test_a_weaker_effect_at_the_ends_alone_is_no_dependence():
    curves, row = curve_of(lambda row: 1.0 * (WORD in row[1:-1] or REVERSE in row[1:-1]))
    assert curves["effect"].iloc[0] == pytest.approx(0, abs=0.2)
    assert row["marginal_position_weakest"] == pytest.approx(1, abs=0.2)


def test_effect_without_preferences_is_flat():
    curves, row = curve_of(lambda row: float(WORD in row or REVERSE in row))
    assert curves["effect"].to_numpy() == pytest.approx(1, abs=0.2)
    assert 0.85 < row["marginal_low"] <= 1 <= row["marginal_high"] < 1.15
    assert min(row["marginal_position_p"], row["marginal_strand_p"]) > 0.05


def test_p_of_positions_is_uniform_without_preference():
    rng = np.random.default_rng(0)
    ps = [marginals.unevenness(rng.normal(size=(2, 6, 20)), rng) for _ in range(100)]
    assert np.mean(np.array(ps) < 0.1) == pytest.approx(0.1, abs=0.08)
    assert marginals.unevenness(np.ones((1, 4, 10)), rng) == 1.0


def test_extremes_of_equal_effects_are_not_biased():
    rng = np.random.default_rng(0)
    noise = rng.normal(0.5, 1, (200, 10, 30))  # simulations, positions, backgrounds
    means = noise.mean(axis=2)
    assert (means.max(axis=1) - means.min(axis=1)).mean() > 0.5
    found = pd.DataFrame([marginals.extremes("position", each) for each in noise]).mean()
    assert found["marginal_position_weakest"] == pytest.approx(0.5, abs=0.06)
    assert found["marginal_position_strongest"] == pytest.approx(0.5, abs=0.06)


def test_extremes_of_lowering_effects():
    effects = np.array([-0.3, -0.9, -0.5, 0.1])[:, None]  # one background
    assert list(marginals.extremes("distance", effects).values()) == [0.1, -0.9]


def test_intervals_hold_the_mean():
    held = []
    for seed in range(40):
        each = backgrounds(lambda row: 1.5 * (WORD in row), seed=seed)
        curves, _ = position_curves({"word": ppm_of(WORD)}, each, starts=[50], seed=seed)
        held.append(curves.loc[0, "effect_low"] <= 1.5 <= curves.loc[0, "effect_high"])
    assert 0.85 <= np.mean(held) < 1


def test_given_starts_are_used():
    seen = []

    def score(row):
        seen.append(row.find(WORD))
        return 0.0

    curves, _ = curve_of(score, starts=[0, 7, 110])
    assert set(seen) == {-1, 0, 7, 110}
    assert curves["start"].tolist() == [0, 7, 110] * 2
    assert (curves["end"] == curves["start"] + 1).all()


def test_sites_are_sampled_from_the_matrix():
    each = backgrounds(lambda row: 0.0)
    matrix = np.array([[0.5, 0.5, 0, 0], [0, 0, 0, 1.0]])
    plus, minus = each.sites(matrix, np.random.default_rng(0))
    assert set(map(bytes, plus)) == {b"AT", b"CT"}
    assert [bytes(DNA.reverse_complement(site)) for site in plus] == [bytes(row) for row in minus]
    protein = Backgrounds(plus, each.score, PROTEIN)
    assert len(protein.sites(np.eye(20)[:3], np.random.default_rng(0))) == 1


def test_motif_wider_than_the_backgrounds_is_left_out():
    motifs = {"wide": np.full((200, 4), 0.25), "word": ppm_of(WORD)}
    curves, table = position_curves(motifs, backgrounds(late))
    assert table["name"].tolist() == ["wide", "word"]
    assert list(table) == ["name", *marginals.COLUMNS]
    assert table["marginal"].isna().tolist() == [True, False]
    assert set(curves["name"]) == {"word"}


def close(row):
    """Return 1 for each word, and 2 more if both are 10 to 20 positions apart."""
    a, b = row.find(WORD), row.find(OTHER)
    return (a >= 0) + (b >= 0) + 2 * (a >= 0 and b >= 0 and 10 <= b - a - len(WORD) <= 20)


def by_distance(score, words=(WORD, OTHER), orientation="++", distances=marginals.DISTANCES):
    ppms, rng = tuple(map(ppm_of, words)), np.random.default_rng(0)
    return marginals.distance_curve(ppms, backgrounds(score), orientation, distances, rng)


def test_epistasis_by_distance_is_recovered():
    curve, row = by_distance(close)
    near = curve["distance"].between(10, 20)
    assert curve["epistasis"][near].to_numpy() == pytest.approx(2, abs=0.3)
    assert curve["epistasis"][~near].to_numpy() == pytest.approx(0, abs=0.3)
    assert curve["both"][near].to_numpy() == pytest.approx(4, abs=0.3)
    assert curve["alone"].to_numpy() == pytest.approx(2, abs=0.3)
    assert row["marginal_distance"] in (10, 15, 20)
    assert row["marginal_distance_p"] < 0.01


def test_motifs_that_add_up_have_no_epistasis():
    curve, row = by_distance(lambda row: late(row) + (OTHER in row), (OTHER, WORD))
    # the preferred position of the word is no preferred distance
    assert curve["epistasis"].to_numpy() == pytest.approx(0, abs=0.3)
    assert row["marginal_distance_p"] > 0.05


def test_touching_sites_are_no_preferred_distance():
    _, row = by_distance(lambda row: 3.0 * (WORD + OTHER in row))
    assert row["marginal_distance"] == 0
    assert row["marginal_distance_strongest"] == pytest.approx(0, abs=0.2)
    assert "marginal_distance_strongest" not in by_distance(close, distances=[0])[1]


def test_orientation_of_a_pair():
    def opposite(row):
        return float(WORD in row and OTHER_REVERSE in row)

    for orientation, expected in (("+-", 1), ("++", 0), ("-+", 0)):
        curve, _ = by_distance(opposite, orientation=orientation, distances=[4])
        assert curve["epistasis"].to_numpy() == pytest.approx(expected, abs=0.3)


def test_pairs_that_do_not_fit_are_missing():
    pairs = pd.DataFrame(
        [("a", "b", "++"), ("a", "wide", "++"), ("b", "a", np.nan)],
        columns=["name_a", "name_b", "orientation"],
        index=[5, 7, 9],
    )
    ppms = {"a": ppm_of(WORD), "b": ppm_of(OTHER), "wide": np.full((115, 4), 0.25)}
    curves, table = marginals.pair_curves(pairs, ppms, backgrounds(close))
    assert list(table) == marginals.PAIR_COLUMNS
    assert table.index.tolist() == [5, 7, 9]
    assert table["marginal_peak"].isna().tolist() == [False, True, True]
    assert curves[["name_a", "name_b"]].drop_duplicates().to_numpy().tolist() == [["a", "b"]]
    with pytest.raises(ArgumentError, match="do not fit into backgrounds of 120"):
        by_distance(close, distances=[101])


def test_backgrounds_are_shuffles_of_the_median_length():
    rng = np.random.default_rng(0)
    sequences = [rng.choice(BASES, length) for length in (30, 50, 80)]
    found, of = marginals.neutral_letters(sequences, rng, 7)
    assert found.shape == (7, 50)
    assert set(of.tolist()) == {1, 2}
    assert len({bytes(row) for row in found}) == 7

    def pairs(letters):
        return sorted(pairwise(letters))

    for row in found[of == 1]:
        assert pairs(row) == pairs(sequences[1])
    kept, of = marginals.neutral_letters(sequences, rng, 7, shuffle=False)
    assert [bytes(row) for row in kept] == [bytes(sequences[i][:50]) for i in of]
    assert sorted(of.tolist()) == [1, 2]


TEXT = "TATCGATA"
TEXTS = ["".join(np.random.default_rng(seed).choice(list("ACGT"), 60)) for seed in range(5)]


def test_effect_is_the_difference_of_scores():
    scorer = scorer_of()
    found = sb.marginalize(scorer, TEXTS, TEXT, starts=[10, 30], shuffle=False)
    assert found.num_backgrounds == 5
    inserted = [text[:30] + TEXT + text[38:] for text in TEXTS]
    rows = [[ascii_of(text) for text in each] for each in (TEXTS, inserted)]
    expected = (scorer.log_odds(rows[1]) - scorer.log_odds(rows[0])).mean()
    curve = found.curves.set_index(["strand", "start"]).loc[("+", 30)]
    assert curve["effect"] == pytest.approx(expected)
    assert curve["effect_low"] <= curve["effect"] <= curve["effect_high"]
    assert curve["unit"] == "log-odds"
    assert found.table["name"].tolist() == [TEXT]
    assert repr(found) == "Marginals of 1 motif in 5 backgrounds"
    assert isinstance(found.plot(), Figure)
    assert "marginal_peak" in found._repr_html_()


def test_motifs_and_defaults():
    motifs = {"word": TEXT, "matrix": np.full((6, 4), 0.25)}
    found = sb.marginalize(scorer_of(), TEXTS, [TEXT, "ACGT"])
    assert found.table["name"].tolist() == [TEXT, "ACGT"]
    found = sb.marginalize(scorer_of(), TEXTS, motifs)
    assert found.num_backgrounds == marginals.NUM_BACKGROUNDS
    assert len(found.curves) == 2 * 2 * (NUM_POSITIONS + 2)
    again = sb.marginalize(scorer_of(), TEXTS, motifs)
    pd.testing.assert_frame_equal(found.curves, again.curves)
    figure = found.plot("matrix")
    assert figure.get_suptitle() == "matrix"
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["+", "-"]
    one_strand = replace(found, curves=found.curves[found.curves["strand"] == "+"])
    assert one_strand.plot("matrix").axes[0].get_legend() is None
    with pytest.raises(ArgumentError, match="no curve of 'other'; there are those of"):
        found.plot("other")


def test_spacing_of_two_motifs():
    found = sb.marginalize_spacing(scorer_of(), TEXTS, TEXT, "GGTCACAC", distances=[0, 4])
    assert found.table["orientation"].tolist() == ["++", "+-", "-+", "--"]
    assert found.curves["distance"].tolist() == [0, 4] * 4
    difference = found.curves["both"] - found.curves["alone"]
    np.testing.assert_allclose(difference, found.curves["epistasis"], atol=1e-9)
    assert isinstance(found.plot(), Figure)
    assert repr(found) == "MarginalSpacing in 30 backgrounds, 4 orientations"


def test_ablation_of_an_interval():
    scorer = scorer_of()
    found = sb.ablate(scorer, TEXTS, 10, 40, shuffles=3)
    table = found.table
    np.testing.assert_allclose(table["score"], scorer.log_odds([ascii_of(text) for text in TEXTS]))
    np.testing.assert_allclose(table["effect"], table["score"] - table["shuffled"])
    assert found.low <= found.effect <= found.high
    assert found.effect == pytest.approx(table["effect"].mean())
    assert (table["effect"].abs() > 1e-6).all()
    alike = sb.ablate(scorer, ["ACGT" + "A" * 20] * 2, [4, 6], [20, 24])
    assert alike.table["effect"].tolist() == pytest.approx([0, 0], abs=1e-6)  # equal letters
    assert repr(alike).startswith("Ablation in 2 sequences: effect ")
    assert alike.unit == "log-odds"
    assert isinstance(alike.plot(), Figure)
    one = sb.ablate(scorer, TEXTS[:1], 10, 40, shuffles=3)
    assert one.effect == pytest.approx(one.table["effect"].item())
    assert np.isnan([one.low, one.high]).all()
    assert repr(one) == f"Ablation in 1 sequence: effect {one.effect:+.2f} log-odds"
    alone = sb.marginalize(scorer, TEXTS[:1], TEXT, shuffle=False).table  # one background
    assert np.isfinite(alone["marginal"]).all()
    assert alone["marginal_strand_p"].isna().all()
    with pytest.raises(ArgumentError, match=r"\[10, 70\) is not an interval of sequence '0'"):
        sb.ablate(scorer, TEXTS, 10, 70)
    with pytest.raises(ArgumentError, match="there are no sequences"):
        sb.ablate(scorer, [], 0, 4)
    with pytest.raises(ArgumentError, match="shuffles is 0, but at least 1 is needed"):
        sb.ablate(scorer, TEXTS, 0, 4, shuffles=0)


def test_target_chooses_the_output():
    scorer = scorer_of()
    found = sb.marginalize(scorer, TEXTS, TEXT, starts=[5], shuffle=False, target=0)
    assert found.curves["unit"].tolist() == ["log-odds"] * 2
    default = sb.marginalize(scorer, TEXTS, TEXT, starts=[5], shuffle=False)
    ratio = default.curves["effect"] / found.curves["effect"]
    np.testing.assert_allclose(ratio, scorer.calibration.slope, rtol=1e-4)
    with pytest.raises(ValueError, match="no output 'helix'"):
        sb.marginalize(scorer, TEXTS, TEXT, target="helix")


def test_wrong_motifs_are_refused():
    for motif, starts, message in (
        ("TATX", None, r"invalid character 'X' in motif 'TATX' \(expected IUPAC"),
        (TEXT, [53], "of width 8 does not fit into backgrounds of 60 at starts"),
        (TEXT, [-25, -18], "from the first position of .* is 0, so use 0 to 52"),
    ):
        with pytest.raises(ArgumentError, match=message):
            sb.marginalize(scorer_of(), TEXTS, motif, starts=starts)
