"""Test the functions that insert motifs for a model: backgrounds, targets, results, errors."""

import numpy as np
import pandas as pd
import pytest
from learners import scorer_of
from letters import ascii_of
from matplotlib.figure import Figure

import selfattn_bio as sb
from selfattn_bio.errors import ArgumentError
from selfattn_bio.evidence.marginals import NUM_BACKGROUNDS, NUM_POSITIONS

WORD = "TATCGATA"
TEXTS = ["".join(np.random.default_rng(seed).choice(list("ACGT"), 60)) for seed in range(5)]


def test_effect_is_the_difference_of_scores():
    scorer = scorer_of()
    found = sb.marginalize(scorer, TEXTS, WORD, starts=[10, 30], shuffle=False)
    assert found.num_backgrounds == 5
    inserted = [text[:30] + WORD + text[38:] for text in TEXTS]
    rows = [[ascii_of(text) for text in each] for each in (TEXTS, inserted)]
    expected = (scorer.log_odds(rows[1]) - scorer.log_odds(rows[0])).mean()
    curve = found.curves.set_index(["strand", "start"]).loc[("+", 30)]
    assert curve["effect"] == pytest.approx(expected)
    assert curve["effect_low"] <= curve["effect"] <= curve["effect_high"]
    assert curve["unit"] == "log-odds"
    assert found.table["name"].tolist() == [WORD]
    assert repr(found) == "Marginals of 1 motif in 5 backgrounds"
    assert isinstance(found.plot(), Figure)
    assert "marginal_peak" in found._repr_html_()


def test_motifs_and_defaults():
    motifs = {"word": WORD, "matrix": np.full((6, 4), 0.25)}
    found = sb.marginalize(scorer_of(), TEXTS, motifs)
    assert found.num_backgrounds == NUM_BACKGROUNDS
    assert len(found.curves) == 2 * 2 * NUM_POSITIONS
    again = sb.marginalize(scorer_of(), TEXTS, motifs)
    pd.testing.assert_frame_equal(found.curves, again.curves)
    assert found.plot("matrix").axes[0].get_title() == "matrix"
    with pytest.raises(ArgumentError, match="no curve of 'other'; there are those of"):
        found.plot("other")


def test_spacing_of_two_motifs():
    found = sb.marginalize_spacing(scorer_of(), TEXTS, WORD, "GGTCACAC", distances=[0, 4])
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
    with pytest.raises(ArgumentError, match=r"\[10, 70\) is not an interval of sequence '0'"):
        sb.ablate(scorer, TEXTS, 10, 70)
    with pytest.raises(ArgumentError, match="there are no sequences"):
        sb.ablate(scorer, [], 0, 4)


def test_target_chooses_the_output():
    scorer = scorer_of()
    found = sb.marginalize(scorer, TEXTS, WORD, starts=[5], shuffle=False, target=0)
    assert found.curves["unit"].tolist() == ["log-odds"] * 2
    default = sb.marginalize(scorer, TEXTS, WORD, starts=[5], shuffle=False)
    ratio = default.curves["effect"] / found.curves["effect"]
    np.testing.assert_allclose(ratio, scorer.calibration.slope, rtol=1e-4)
    with pytest.raises(ValueError, match="no output 'helix'"):
        sb.marginalize(scorer, TEXTS, WORD, target="helix")


@pytest.mark.parametrize(
    ("motif", "options", "message"),
    [
        ("TATX", {}, r"invalid character 'X' in motif 'TATX' \(expected IUPAC"),
        ("", {}, "a motif is empty text"),
        (WORD, {"starts": [53]}, "of width 8 does not fit into backgrounds of 60 at starts"),
        ({"a": np.ones((5, 20))}, {}, r"have shape \(5, 20\) instead of \(width, 4\) for dna"),
    ],
)
def test_wrong_motifs_are_refused(motif, options, message):
    with pytest.raises(ArgumentError, match=message):
        sb.marginalize(scorer_of(), TEXTS, motif, **options)
