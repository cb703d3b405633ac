"""Test the cards of motifs whose hits overlap those of a stronger motif."""

import numpy as np
import pytest
from small_results import TASK

from selfattn_bio.report.cards import NO, YES, findings, motif_rows
from selfattn_bio.report.words import MINUS


@pytest.mark.parametrize(("measured", "verdict"), [(True, "inconclusive"), (False, "supported")])
def test_cards_name_the_stronger_motif(results, measured, verdict):
    row, question = motif_rows(results)[0], "Is it used apart from sites of motif_03?"
    shared = {"overlaps": "motif_03", "overlapping_hits": 20.0, "num_hits": 34, "verdict": verdict}
    ends = dict.fromkeys(("effect_apart_low", "effect_apart_high", "effect_apart"), np.nan)
    others = "not measured, as they are in too few records."
    if measured:
        ends = {"effect_apart": 0.02, "effect_apart_low": -0.1, "effect_apart_high": 0.14}
        others = f"+0.02 ({MINUS}0.10 to +0.14); shuffling them does not change log-odds."
    lines = findings(row | shared | ends | {"necessity_apart": 0.001}, TASK)[0]
    (line,) = (each for each in lines if each.question == question)
    assert line.answer == (NO if measured else YES)
    assert line.figures == (
        "20 of 34 hits overlap hits of stronger motifs, most often of motif_03. Effect "
        f"of the other hits: {others}"
    )
