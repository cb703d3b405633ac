"""Test the plot functions of the report."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from selfattn_bio.attribution.readout import AttentionMap
from selfattn_bio.report import plots


def test_single_evaluation_is_plotted():
    history = pd.DataFrame(
        {"step": [50], "train_loss": [0.7], "valid_loss": [0.6], "valid_auroc": [0.8]}
    )
    with plots.style():
        figure = Figure()
        plots.draw_learning_curves(history, figure.subplots())
    curves = {
        line.get_label(): line.get_marker()
        for ax in figure.axes
        for line in ax.get_lines()
        if not line.get_label().startswith("_")
    }
    assert curves == dict.fromkeys(("training loss", "validation loss", "validation AUROC"), "o")


def test_scores_are_counted_by_class():
    ax = Figure().subplots()
    plots.draw_scores([0, 0, 0, 1], [0.05, 0.1, 0.6, 0.95], ax, threshold=0.5, bins=2)
    assert [patch.get_height() for patch in ax.patches] == [2, 1, 0, 1]  # negatives, then positives
    assert ax.get_lines()[0].get_xdata()[0] == 0.5


def test_zero_attention_is_not_drawn():
    names = ["attribution", "raw attention"]
    for attention, number in ((np.ones((2, 3)), 2), (np.zeros((2, 3)), 1)):
        ax = Figure().subplots()
        plots.draw_attention_and_attribution(attention, np.ones((2, 3)), ax)
        assert [line.get_label() for line in ax.get_lines()] == names[:number]


def test_attention_map_has_positions_on_both_axes():
    ax = Figure().subplots()
    plots.draw_attention_map(
        AttentionMap(np.array([0, 4, 6]), np.array([[0.9, 0.1], [0.3, 0.7]], dtype=np.float32)), ax
    )
    np.testing.assert_allclose(ax.collections[0].get_array(), [[0.9, 0.1], [0.3, 0.7]], rtol=1e-6)
    assert (ax.get_xlim(), ax.get_ylim()) == ((0, 6), (6, 0))  # the first position is at the top


def test_evidence_with_many_matches_has_wide_axes():
    matches = "; ".join(f"{name} (MA0000.1)" for name in ("Lim1", "Hmx", "unc-4", "CG32532"))
    motifs = pd.DataFrame(
        {
            "name": "motif_05",
            "match": "hbn (MA0226.1)",
            "match_q": 0.01,
            "other_matches": matches,
            "near_ties": 4,
            "effect": [0.2, 0.3],
            "effect_low": 0.1,
            "effect_high": 0.5,
            "unit": "liver",
            "verdict": "supported",
        }
    )
    with plots.style():
        figure = Figure(figsize=(3.6, 1.3), layout="constrained")
        ax = figure.subplots()
        plots.draw_evidence(motifs, ax)
        figure.draw_without_rendering()
    assert ax.get_position().width > 0.35
    assert ax.get_yticklabels()[0].get_text() == "motif_05 hbn or Lim1 or ..."
    assert ax.get_xlabel() == "effect on liver"
