from dataclasses import replace

import numpy as np
import pytest

from selfattn_bio.errors import DatabaseError
from selfattn_bio.report import plots
from selfattn_bio.report.cards import (
    NO,
    REVERSE,
    YES,
    aligned,
    findings,
    motif_rows,
    shortfall,
    window_name,
)
from selfattn_bio.report.words import MINUS

ENRICHED, USED = "Is it more frequent in positives than in negatives?", "Does the model use it?"
PERMUTED, ENOUGH = "Does it use it more than permuted motifs?", "Is one site sufficient?"
WINDOW = "Is it enriched at 31 to 25 positions before the end?"
STRAND = "Does it prefer a strand?"


def test_cards_show_answer_interval_and_q_per_question(results):
    first = motif_rows(results)[0]
    found = {line.question: line for line in first["findings"]}
    matched = "Also compared with negatives matched for GC content and length?"
    assert list(found)[:2] == [ENRICHED, matched]
    for question, answer, figures in (
        (ENRICHED, YES, "30 of 40 positives and 2 of 40 negatives: odds ratio 19; q = 3e-20."),
        (matched, YES, "Odds ratio 17; q = 2e-18."),
        (USED, YES, "Shuffling its sites lowers log-odds by 0.91. Effect of the sites, compared "),
        (USED, YES, ": +0.81 (+0.62 to +1.01), 32 records; q = 0.002."),
        (PERMUTED, YES, "Shuffling sites of 20 motifs"),
        (PERMUTED, YES, "lowers log-odds by 0.12 at the 95th percentile; p = 0.048."),
        (ENOUGH, NO, f"+0.02 ({MINUS}0.03 to +0.07); q = 0.4."),
        (WINDOW, YES, "9 best hits are there, 3.2 "),
        (WINDOW, YES, "; q = 0.008."),
        (STRAND, NO, "60 % of the best hits are on the + strand (41 % to 77 %)"),
        (STRAND, NO, "; q = 0.3."),
    ):
        assert found[question].answer == answer
        assert figures in found[question].figures
    assert first["untested"] == []


def test_small_and_negative_effects(results):
    row = motif_rows(results)[0]

    def answer(effect, necessity=None):
        of_both = {"effect": effect, "necessity": effect if necessity is None else necessity}
        lines, _ = findings(row | of_both, results.task)
        return next(line.answer for line in lines if line.question == USED)

    assert [answer(value) for value in (0.3, 0.05, -0.3)] == [YES, NO, REVERSE]
    assert answer(-0.3, 0.01) == NO  # effect relative to nearby sites


def test_motif_that_lowers_a_number(results):
    row = motif_rows(results)[0] | {"unit": "liver expr", "min_effect": 0.09, "difference": -1.03}
    row |= {"matched_difference": -1.0, "records_with_hit": 47, "records": 97}
    row |= {"effect": -0.91, "necessity": -0.87, "null_necessity": -0.03}

    def found(sufficiency):
        changes = {"sufficiency": sufficiency, "sufficiency_q": 0.001}
        return {line.question: line for line in findings(row | changes, results.task)[0]}

    assert [found(value)[ENOUGH].answer for value in (-0.77, 0.77)] == [YES, REVERSE]
    lines = found(-0.77)
    assert f"changes its liver expr by {MINUS}0.77" in lines[ENOUGH].figures
    used = lines[USED].figures
    assert used.startswith("Shuffling its sites raises liver expr by 0.87. Effect of the sites, ")
    assert f"nearby bases: {MINUS}0.91" in used
    permuted = lines[PERMUTED].figures
    assert "raises liver expr by 0.03 at the 95th percentile" in permuted
    assert "Is liver expr different in records with a site?" in lines
    matched = "Also compared with records matched for GC content and length?"
    assert lines[matched].answer == YES
    row |= {"difference": 1.03}
    assert found(-0.77)[matched].answer == REVERSE


def test_undecided_tests_are_named(results):
    last = motif_rows(results)[-1]
    assert USED in last["untested"]
    assert [line.question for line in last["findings"]] == [ENRICHED]
    _, untested = findings(last, results.task, "protein")
    assert STRAND not in untested
    assert "Also compared with negatives matched for length?" in untested


def test_window_positions_count_from_1():
    windows = [(0.0, 10.0), (99, 109), (-31, -25), (-31.0, 0.0), (np.nan, np.nan)]
    names = [window_name({"window_start": start, "window_end": end}) for start, end in windows]
    positions = ["positions 1 to 10", "positions 100 to 109"]
    ends = [f"31 to {end} positions before the end" for end in (25, 0)]
    assert names == [*positions, *ends, "one position"]


def test_match_is_aligned_on_its_best_strand():
    rng = np.random.default_rng(0)
    motif = rng.dirichlet(np.full(4, 0.1), size=6)
    longer = np.concatenate([rng.dirichlet(np.full(4, 5.0), size=2), motif])
    ours, theirs = aligned(motif, longer[::-1, ::-1])
    assert ours.shape == theirs.shape == (8, 4)
    np.testing.assert_allclose(ours[2:], motif)
    np.testing.assert_allclose(ours[:2], 0.25)
    np.testing.assert_allclose(theirs, longer)


def test_sites_are_placed_by_their_centre(results, monkeypatch):
    plotted = []
    monkeypatch.setattr(
        plots, "draw_position_profile", lambda positions, *others: plotted.append(set(positions))
    )
    motif_rows(results)
    # [10, 15) of 60 bp on the + strand is [45, 50) in a record on the - strand
    assert plotted == [{12, 47}, {12, 47}]


def test_only_significant_match_has_a_logo(results, tmp_path):
    assert [len(row["pair"]) for row in motif_rows(results)] == [2, 0, 2]
    interpret = results.task.interpret.model_copy(update={"database": str(tmp_path / "own.meme")})
    task = results.task.model_copy(update={"interpret": interpret})
    motifs = results.motifs.replace({"match": {"Dref (MA1456.2)": "mine (1)"}})
    own = replace(results, task=task, motifs=motifs)
    with pytest.raises(DatabaseError, match="motif database not found"):
        motif_rows(own)
    text = results.layout.matrices.read_text().replace("motif_01", "1 mine")
    (tmp_path / "own.meme").write_text(text)
    assert [len(row["pair"]) for row in motif_rows(own)] == [2, 0, 0]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"verdict": "supported", "enrichment_q": 0.5}, ""),
        ({"enrichment_q": 0.5, "matched_q": 0.5}, "enrichment not shown"),
        ({"matched_q": 0.5}, "no enrichment over matched records"),
        ({"effect_q": 0.5}, "effect not shown"),
        ({"effect_q": np.nan}, "effect not measured"),
        ({"effect": 0.05}, "effect smaller than 0.1"),
        ({"necessity": -0.05}, "effect smaller than 0.1"),
        ({"effect_low": -0.1}, "interval of the effect includes 0"),
        ({"support_q": 0.06}, "not shown by all tests together"),
        ({"null_p": 0.2}, "permuted motifs have such effects"),
        ({"null_motifs": 12, "null_p": 1 / 13}, "too few sites of permuted motifs to compare with"),
        ({"enrichment_q": np.nan, "effect_q": 0.5}, "enrichment not shown; effect not shown"),
    ],
)
def test_inconclusive_motif_names_what_is_missing(changes, expected):
    row = {"verdict": "inconclusive", "enrichment_q": 0.01, "matched_q": 0.01, "effect_q": 0.01}
    row |= {"effect": 0.5, "effect_low": 0.4, "necessity": 0.5, "necessity_low": 0.4}
    row |= {"effect_high": 0.6, "necessity_high": 0.6, "min_effect": 0.1, "difference": np.nan}
    row |= {"support_q": 0.01, "null_motifs": 20, "null_p": 1 / 21}
    assert shortfall(row | changes, 0.05) == expected
