"""Test what the report says about motifs that have an effect when inserted alone only."""

from dataclasses import replace
from math import nan

import pandas as pd
from pages import page_of
from small_results import TASK

from selfattn_bio.report.cards import motif_rows
from selfattn_bio.report.figures import alone_note
from selfattn_bio.report.lines import alone_sentence

ALONE = {
    **{"marginal": 2.5, "marginal_low": 2.2, "marginal_high": 2.8},
    **{"effect_q": 0.3, "verdict": "inconclusive"},
}


def test_control_sites_that_change_the_score_are_the_reason(results):
    control = (
        "Shuffling its sites changes the score, but so does shuffling sites nearby (the control)"
    )
    used = {"effect": 0.38, "necessity": 0.93, "necessity_low": 0.67, "necessity_high": 1.24}
    first = motif_rows(results)[0] | ALONE
    row = first | used
    assert alone_note(row, TASK).startswith(control)
    composition = "The model reacts mainly to the composition of the motif, not to its order"
    for change in ({"effect": 0.9}, {"necessity_low": -0.1}, {"necessity": 0.05}, {"effect": 1.9}):
        assert alone_note(row | change, TASK).startswith(composition)
        for unclear in ({"effect_high": 1.2}, {"sufficiency_low": -1.2}, {"sufficiency_low": nan}):
            assert alone_note(row | change | unclear, TASK).startswith("Shuffling keeps")
    other = first | {"name": "motif_09"}
    sentence = alone_sentence(pd.DataFrame([row, other]), 0.05)
    assert sentence.count("Enriched and effective when inserted alone") == 2
    assert f"motif_01 of {row['target']}. {control}" in sentence
    assert f"motif_09 of {row['target']}. {composition}" in sentence


def test_supported_motifs_of_some_positions_refer_to_their_curve(results):
    note = 'Its effect alone depends on the position: see <a href="#marginals">Motifs alone</a>.'
    others = results.motifs.assign(marginal_position_weakest=0.9)
    for own, count in ((results, 1), (replace(results, motifs=others), 0)):
        assert page_of(own).count(note) == count
