"""Test the cards of motifs, and the page of motifs of numbers with effects in their unit."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from letters import ppm_of
from pages import page_of, section_of
from small_results import TASK

from selfattn_bio.errors import DatabaseError
from selfattn_bio.evidence.verdicts import shortfall
from selfattn_bio.report import cards, plots
from selfattn_bio.report.cards import NO, REVERSE, YES, findings, motif_rows
from selfattn_bio.report.figures import alone_note
from selfattn_bio.report.words import MINUS

ENRICHED, USED = "Is it more frequent in positives than in negatives?", "Does the model use it?"
PERMUTED, ENOUGH = (
    "Does it use it more than permuted motifs?",
    "Does one site alone change the prediction?",
)
POSITION = "Does it prefer a position?"
MATCHED = "Also compared with negatives matched for GC content and length?"
WINDOW = "Is the middle of its sites enriched in positions 31 to 26 from the end?"
STRAND = "Does it prefer a strand?"
THIRDS = "Do measured values differ with the position of the site?"
NETWORKS = "Do the networks of the model agree?"
DIFFERENT = "Is expression different in records with a site?"

LABELS = ("positives_with_hit", "negatives_with_hit", "positives", "negatives")
NUMBER = {
    **{"target": "activity.expression", "unit": "expression", "min_effect": 0.2},
    **{"difference": -1.5, "matched_difference": -1.25, "records_with_hit": 20, "records": 80},
    **{"effect": -0.9, "effect_low": -1.1, "effect_high": -0.7},
    **{"necessity": -0.8, "necessity_low": -1.0, "necessity_high": -0.6},
    **dict.fromkeys((*LABELS, "odds_ratio", "matched_odds_ratio"), np.nan),
}


@pytest.fixture(scope="module")
def rows(results):
    return motif_rows(results)


def lines_of(row, **changes):
    """Return the lines of the card of a motif by question."""
    return {line.question: line for line in findings(row | changes, TASK)[0]}


def test_cards_show_answer_interval_and_q_per_question(rows):
    found = lines_of(rows[0])
    assert list(found)[:2] == [ENRICHED, MATCHED]
    for question, answer, figures in (
        (ENRICHED, YES, "30 of 40 positives, 2 of 40 negatives: odds ratio 19; q = 3e-20."),
        (ENRICHED, YES, "so it may differ from the consensus."),
        (MATCHED, YES, "Odds ratio 17; q = 2e-18."),
        (USED, YES, "Shuffling its sites lowers log-odds by 0.91. Effect of the sites, compared "),
        (USED, YES, ": +0.81 (+0.62 to +1.01), 32 records; q = 0.002."),
        (PERMUTED, YES, "Shuffling its sites lowers log-odds by 0.91. For 95 % of 20 "),
        (PERMUTED, YES, "in random order, it lowers log-odds by 0.12 at most; p = 0.048."),
        (ENOUGH, NO, f"+0.02 ({MINUS}0.03 to +0.07), compared with its shuffled bases; q = 0.4."),
        (WINDOW, YES, "9 of 30 best hits are in this window, the fullest of all. It is compared "),
        (WINDOW, YES, "; q = 0.008."),
        (STRAND, NO, "60 % of the best hits are on the + strand (41 % to 77 %)"),
        (STRAND, NO, "; q = 0.3."),
        (THIRDS, YES, "Fraction of positives among records with the best hit in the first third: "),
        (THIRDS, YES, "0.90 (n = 12), in the middle: 0.62 (n = 13), in the last: 0.20 (n = 11)"),
    ):
        assert found[question].answer == answer
        assert figures in found[question].figures
    assert rows[0]["untested"] == []
    given = TASK.interpret.model_copy(update={"window": (-31, -25)})
    of_given = findings(rows[0], TASK.model_copy(update={"interpret": given}))[0]
    assert [line.figures for line in of_given if line.question == WINDOW] == [
        "9 of 30 best hits are there, 3.2 are expected from permuted motifs; q = 0.008."
    ]
    exact = {"positives_with_consensus": 29.0, "negatives_with_consensus": 0.0}
    protein = lines_of(rows[0], **exact)[ENRICHED].figures
    assert protein.endswith(" The consensus matches 29 of 40 positives, 0 of 40 negatives.")


def test_small_and_negative_effects(rows):
    for effect, necessity, expected in (
        *((0.3, 0.3, YES), (0.05, 0.05, NO), (-0.3, -0.3, REVERSE)),
        (-0.3, 0.01, NO),  # effect relative to nearby sites
    ):
        assert lines_of(rows[0], effect=effect, necessity=necessity)[USED].answer == expected


def test_effect_that_the_verdict_does_not_count_is_not_shown(rows):
    for name in ("effect_low", "necessity_low"):
        unclear = {name: -0.1, "verdict": "inconclusive"}
        assert shortfall(rows[0] | unclear, 0.05).startswith("interval of the ")
        assert lines_of(rows[0], **unclear)[USED].answer == NO


def test_networks_agree_on_a_shown_effect_only(rows):
    both = {"stability": 1.0}
    assert lines_of(rows[0], **both)[NETWORKS].figures == (
        "Its sites raise log-odds by at least 0.10, compared with nearby bases, in 100 % of them, "
        "each tested alone."
    )
    lowers = {"effect": -0.3, "effect_low": -0.5, "effect_high": -0.1}
    lowers |= {f"necessity{of[6:]}": value for of, value in lowers.items()}
    assert "Its sites lower log-odds" in lines_of(rows[0], **both, **lowers)[NETWORKS].figures
    found, untested = findings(rows[0] | both | {"effect_q": 0.3}, TASK)
    assert not any(
        text.startswith(NETWORKS) for text in [*untested, *(of.question for of in found)]
    )


def test_motif_that_lowers_a_number(rows):
    number = NUMBER | {"null_necessity": -0.03, "sufficiency": -0.77, "sufficiency_q": 0.001}
    number |= {"sufficiency_low": -0.9, "sufficiency_high": -0.6}
    lines = lines_of(rows[0], **number)
    matched = "Also compared with records matched for GC content and length?"
    for question, answer, *figures in (
        (DIFFERENT, YES, f"means is {MINUS}1.50 expression;", "so it may differ from"),
        (matched, YES),
        (USED, YES, "Shuffling its sites raises expression by 0.80.", f"bases: {MINUS}0.90 ("),
        (PERMUTED, YES, "it raises expression by 0.03 at most"),
        (ENOUGH, YES, f"changes expression by {MINUS}0.77"),
    ):
        assert lines[question].answer == answer
        for text in figures:
            assert text in lines[question].figures
    for question, expected, changes in (
        (ENOUGH, REVERSE, {"sufficiency": 0.77}),
        (ENOUGH, NO, {"sufficiency_high": 0.01}),
        (matched, REVERSE, {"difference": 1.5}),
        (USED, REVERSE, {"effect": 0.9, "necessity": 0.9}),
        # no difference between the records
        (USED, YES, {"effect": 0.9, "necessity": 0.9, "enrichment_q": 0.5}),
    ):
        assert lines_of(rows[0], **number | changes)[question].answer == expected


def test_permuted_motifs_with_the_reverse_effect(rows):
    for verb, changes in (("lower", {"null_necessity": -0.2}), ("raise", NUMBER)):
        for null in (-0.2, -0.004):
            number = changes | {"null_necessity": null if verb == "lower" else -null}
            found = lines_of(rows[0], **number)[PERMUTED].figures
            assert f"in random order, it does not {verb} " in found


def test_measured_values_by_third_have_their_sign(rows):
    shown = lines_of(rows[0], **NUMBER, last_third=-0.31, thirds_q=0.2)[THIRDS]
    assert shown.answer == NO
    assert shown.figures == (
        "Mean of records with the best hit in the first third: 0.90 (n = 12), in the middle: "
        f"0.62 (n = 13), in the last: {MINUS}0.31 (n = 11); q = 0.2. Other differences between "
        "them may be the cause."
    )


def test_undecided_tests_are_named(rows):
    last = rows[-1] | {"effect_records": 34, "positives_with_hit": 34}
    units = "(34 records with a site are in 7 of 12 clusters; 10 are needed)"
    untested = findings(last, TASK)[1]
    assert f"{USED} {units}" in untested
    assert not any(line.startswith(NETWORKS) for line in untested)
    assert f"{ENOUGH} (sites are in fewer than 10 independent units)" in untested
    elsewhere = "(permuted motifs match elsewhere in fewer than 10 records)"
    assert f"{POSITION} {elsewhere}" in untested
    assert sum(elsewhere in line for line in untested) == 2  # and that of a window
    few = findings(last | {"positives_with_hit": 9}, TASK)[1]
    assert f"{ENOUGH} (9 test positives have a site; 30 are needed)" in few
    assert f"{STRAND} (9 test positives have a site; 10 are needed)" in few
    of_numbers = findings(last | NUMBER | {"effect_q": np.nan, "records_with_hit": 9}, TASK)[1]
    assert f"{STRAND} (9 test records have a site; 10 are needed)" in of_numbers
    missing = dict.fromkeys(("stability", "window_q", "strand_q", "null_p", "thirds_q"), np.nan)
    assert findings(rows[0] | missing, TASK)[1] == [
        f"{PERMUTED} (only motifs that pass the other tests are compared)",
        f"{NETWORKS} (the model has one network)",
        f"{WINDOW} (records are short)",
        f"{STRAND} (the motif is palindromic)",
        f"{THIRDS} (fewer than 10 records have it in one of the thirds)",
    ]
    assert [line.question for line in last["findings"]] == [ENRICHED, MATCHED]
    tested, untested = findings(last, TASK, "protein")
    assert not any(line.startswith(STRAND) for line in untested)
    assert any(
        line.question == "Also compared with negatives matched for length?" for line in tested
    )


def test_effects_that_round_to_0_are_no_change(rows):
    shown = lines_of(rows[0], necessity=-0.004)[USED].figures
    assert shown.startswith("Shuffling its sites does not change log-odds. Effect")


ALONE = {  # evidence of a motif whose composition matters
    **{"marginal": 2.5, "marginal_low": 2.2, "marginal_high": 2.8},
    **{"effect": 0.02, "necessity": 0.03, "necessity_low": -0.1, "necessity_high": 0.2},
    **{"effect_q": 0.3, "verdict": "inconclusive"},
}


def test_motifs_that_act_only_alone_are_explained(rows):
    row = rows[0] | ALONE | {"effect_high": 1.2}
    assert alone_note(row, TASK).startswith(
        "Shuffling keeps the composition of a site, so the effect may be too small to show. "
        "Inserted alone it changes log-odds by +2.50 (+2.20 to +2.80), compared with no site. "
        "Depends on the position: +0.30 to +1.15 (q = 0.003). Largest if the site starts at "
        "positions 41 to 45."
    )
    lowers = {"marginal": -0.62, "marginal_low": -0.8, "marginal_high": -0.44}
    assert alone_note(row | lowers, TASK) == ""
    assert f"changes expression by {MINUS}0.62" in alone_note(row | NUMBER | ALONE | lowers, TASK)
    for change in (
        *({"effect_q": 0.01}, {"effect": -0.11}, {"enrichment_q": 0.3}),
        {"marginal_low": -0.1},
        {"marginal": 0.05, "marginal_low": 0.01},
        {"marginal": np.nan, "marginal_low": np.nan, "marginal_high": np.nan},
    ):
        assert alone_note(row | change, TASK) == ""


def test_motifs_of_some_positions_are_explained(rows):
    row = rows[0] | {"verdict": "inconclusive", "lacks": "enrichment not shown"}
    assert alone_note(row, TASK).startswith(
        "Sites where its effect is small weaken the test of enrichment. Inserted alone it changes "
        "log-odds by +0.40 (+0.05 to +0.60), compared with no site. Depends on the position: +0.30 "
        "to +1.15"
    )
    for change in ({"lacks": "effect not shown"}, {"marginal_position_weakest": 0.9}):
        assert alone_note(row | change, TASK) == ""


def test_match_is_aligned_on_its_best_strand():
    rng = np.random.default_rng(0)
    motif = rng.dirichlet(np.full(4, 0.1), size=6)
    longer = np.concatenate([rng.dirichlet(np.full(4, 5.0), size=2), motif])
    ours, theirs = cards.aligned(motif, longer[::-1, ::-1])
    assert ours.shape == theirs.shape == (8, 4)
    np.testing.assert_allclose(ours[2:], motif)
    np.testing.assert_allclose(ours[:2], 0.25)
    np.testing.assert_allclose(theirs, longer)


def test_sites_are_placed_by_their_centre(results, monkeypatch):
    plotted = []
    monkeypatch.setattr(
        plots,
        "draw_position_profile",
        lambda positions, ends, *others: plotted.append((set(positions), ends)),
    )
    motif_rows(results)
    # [10, 15) of 60 bp on the + strand is [45, 50) in a record on the - strand
    # positions count from 1, or from -1 at the end if the tested window does
    assert plotted == [({12 - 60, 47 - 60}, (-60, -1)), ({13, 48}, (1, 60))]


def test_only_significant_match_has_a_logo(results, rows, tmp_path):
    assert [len(row["pair"]) for row in rows] == [2, 0, 2]
    interpret = results.task.interpret.model_copy(update={"database": str(tmp_path / "own.meme")})
    task = results.task.model_copy(update={"interpret": interpret})
    motifs = results.motifs.replace({"match": {"Dref (MA1456.2)": "mine (1)"}})
    own = replace(results, task=task, motifs=motifs)
    with pytest.raises(DatabaseError, match="motif database not found"):
        motif_rows(own)
    text = results.layout.matrices.read_text().replace("motif_01", "1 mine")
    (tmp_path / "own.meme").write_text(text)
    assert [len(row["pair"]) for row in motif_rows(own)] == [2, 0, 0]


INCONCLUSIVE = {
    **{"verdict": "inconclusive", "enrichment_q": 0.01, "matched_q": 0.01, "effect_q": 0.01},
    **{"effect": 0.5, "effect_low": 0.4, "effect_high": 0.6, "min_effect": 0.1},
    **{"necessity": 0.5, "necessity_low": 0.4, "necessity_high": 0.6, "difference": np.nan},
    **{"support_q": 0.01, "null_motifs": 20, "null_p": 1 / 21, "overlaps": ""},
}
SHUFFLED = "score change from shuffling its sites"
UNCLEAR = "unclear whether records with a site have higher or lower numbers"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"verdict": "supported", "enrichment_q": 0.5}, ""),
        ({"enrichment_q": 0.5, "matched_q": 0.5}, "enrichment not shown"),
        ({"matched_q": 0.5}, "no enrichment over matched records"),
        ({"effect_q": 0.5}, "effect not shown"),
        ({"effect_q": np.nan}, "effect not measured"),
        ({"effect": 0.05}, "effect smaller than 0.1"),
        ({"necessity": -0.05}, f"{SHUFFLED} smaller than 0.1"),
        ({"necessity_low": -0.1}, f"interval of the {SHUFFLED} includes 0"),
        (
            {"necessity": -0.5, "necessity_low": -0.6, "necessity_high": -0.4},
            f"effect and {SHUFFLED} have opposite signs",
        ),
        ({"effect_low": -0.1}, "interval of the effect includes 0"),
        ({"support_q": 0.06}, "not shown by all tests together"),
        ({"null_p": 0.2}, "permuted motifs have such effects"),
        (
            {"overlaps": "motif_12", "overlapping_hits": 60.0, "num_hits": 148},
            "not shown apart from sites of motif_12 (60 of 148 hits overlap)",
        ),
        ({"null_motifs": 12, "null_p": 1 / 13}, "too few sites of permuted motifs to compare with"),
        ({"enrichment_q": np.nan, "effect_q": 0.5}, "enrichment not shown; effect not shown"),
        (NUMBER | {"null_p": 0.5}, "permuted motifs have such effects"),
        (NUMBER | {"necessity": -0.1}, f"{SHUFFLED} smaller than 0.2"),
        (NUMBER | {"necessity_high": 0.1}, f"interval of the {SHUFFLED} includes 0"),
        (NUMBER | {"matched_difference": 1.25, "null_p": np.nan}, UNCLEAR),
    ],
)
def test_inconclusive_motif_names_what_is_missing(changes, expected):
    assert shortfall(INCONCLUSIVE | changes, 0.05) == expected


@pytest.fixture
def several(results, make):
    """Return results of a number and classes with the motifs of two classes."""
    shared = ("motifs", "ppms", "sites", "discovery")
    values = {name: getattr(results, name) for name in shared}
    curves = results.marginals.assign(unit="expression")  # of the first motif
    return replace(make("several"), marginals=curves, **values)


def test_cards_of_a_verdict_are_sorted_by_output(results):
    motifs = results.motifs.assign(verdict="supported", target=["b", "a", "b"], effect=[1, 3, 2])
    of_outputs = replace(results, motifs=motifs)
    names = motifs["name"].tolist()
    # outputs in the order of the table, then the largest effect first
    assert [row["name"] for row in motif_rows(of_outputs)] == [names[2], names[0], names[1]]
    section = section_of(page_of(of_outputs), "motifs")
    assert "supported ones first, then the others, in both lists by output (b, a)." in section
    assert "in both lists by output" not in page_of(results)


def with_numbers(several, number):
    """Return results whose first motifs lower the number."""
    table = several.motifs.assign(target="class.ebox").astype(dict.fromkeys(LABELS, float))
    table.loc[: number - 1, list(NUMBER)] = list(NUMBER.values())
    return replace(several, motifs=table)


def test_page_shows_motifs_of_each_output(several):
    page = " ".join(page_of(with_numbers(several, 1)).split())
    for text in (
        f"mean differs by {MINUS}1.50 expression <small>20 of 80 records; q",
        f"{MINUS}0.90 <small>{MINUS}1.10 to {MINUS}0.70 expression; q",
        "sites, for activity.expression</small>",
        "sites, for class.ebox</small>",
        "<b>Supported</b> (expression): test records with a site have higher or",
        "<b>Supported</b>: sites are more frequent in positives than in negatives",
        "and were found for activity.expression, class.ebox.",
        DIFFERENT,
        ENRICHED,  # of the class
        "1 of 3 motifs is supported",
    ):
        assert text in page


def test_page_of_numbers_has_no_words_about_classes(several):
    page = page_of(with_numbers(several, 3))
    shown = page[page.index('<section id="motifs">') : page.index('<section id="leakage">')]
    assert "<b>Supported</b>: test records with a site have higher or lower numbers" in shown
    assert "effect of at least 0.20 expression" in shown
    for word in ("positives", "negatives", "log-odds", "logit", "unlabelled"):
        assert word not in shown


def test_effects_are_introduced_only_if_measured(results, page_text):
    assert "Several effects are measured" in page_text
    unmeasured = results.motifs.assign(effect=np.nan)
    assert "Several effects are measured" not in page_of(replace(results, motifs=unmeasured))


def test_motifs_of_several_outputs_refer_to_each_other(results, page_text):
    assert "Also found for" not in page_text
    shared = results.motifs.assign(target=["liver", "heart", "heart"])
    words = ("TTGGTCACACTG", "GTGTGACC", "CCGTTTGGAA")  # the second is on the other strand
    ppms = dict(zip(shared["name"], map(ppm_of, words), strict=True))
    page = page_of(replace(results, motifs=shared, ppms=ppms))
    found = re.findall("Also found for .*?<", page)
    assert found == ["Also found for heart (motif_02).<", "Also found for liver (motif_01).<"]


def test_outputs_without_support_have_their_numbers(results, page_text):
    assert "No supported motif" not in page_text
    motifs = results.motifs.assign(target=["liver", "heart", "heart"], effect=np.nan)
    notes = {name: f"of {name}, 12 seqlets" for name in ("liver", "heart", "brain")}
    own = replace(results, motifs=motifs, notes=notes)
    found = re.findall("<p><b>No supported motif.*?</p>", section_of(page_of(own), "motifs"))
    first, second = (text.partition(". A class may")[0] for text in found)
    absence = "such as GC content, or by the absence of the motifs of the others. If its"
    assert absence in found[1]
    assert second == "<p><b>No supported motif of brain</b>: of brain, 12 seqlets"
    assert first.startswith(
        "<p><b>No supported motif of heart</b>: of heart, 12 seqlets. motif_02, 44 sites, "
    )
    assert "34 records with a site are in 7 of 12 clusters; 10 are needed" in first
    assert first.endswith("): no enrichment over matched records; effect not shown")


def test_motifs_of_composition_are_named_without_support(results):
    targets = ["liver", "heart", "heart"]
    motifs = results.motifs.assign(target=targets, matched_q=0.01, effect_q=0.5, marginal_low=0.05)
    curves = results.marginals.replace({"name": {"motif_01": "motif_02"}})
    own = replace(
        results, motifs=motifs, marginals=curves, notes={"liver": "", "heart": "of heart"}
    )
    page = page_of(own)
    sentence = "Enriched and effective when inserted alone, but not supported: motif_02 of heart."
    assert page.count(sentence) == 2  # in the summary and the section of motifs alone
    missing = re.search("<p><b>No supported motif of heart.*?</p>", page)[0]
    assert "motif_02, 44 sites" in missing
    assert "effect not shown. Shuffling keeps the composition" in missing
    assert "near chance" not in missing
    assert "<h3>motif_02 of heart</h3>" in section_of(page, "marginals")


def test_unmeasured_effects_need_a_larger_test_split(results):
    motifs = results.motifs.assign(target=["liver", "liver", "heart"])
    page = page_of(replace(results, motifs=motifs, notes={"heart": "of heart"}))
    assert "enrichment not shown. Enlarge the test split to measure its effect.</p>" in page
    motifs = motifs.assign(enrichment_q=0.01, matched_q=0.01)
    page = page_of(replace(results, motifs=motifs, notes={"heart": "of heart"}))
    assert "<p><b>Not yet testable: motif</b>: of heart. motif_03, " in page
    assert "units with a site). Enlarge the test split to measure its effect.</p>" in page


def test_rate_of_false_support_is_that_of_the_documentation(page_text):
    docs = Path(__file__).parents[3] / "docs" / "interpretation_evidence.md"
    rate = "2 of 1,440 motifs without a signal were supported"
    assert rate in docs.read_text(encoding="utf-8")
    assert rate in section_of(page_text, "motifs")


def test_motifs_of_one_strand_have_no_strand(results):
    motifs = results.motifs.assign(marginal_strand_q=np.nan)
    corpus = results.corpus | {"alphabet": "rna"}
    shown = section_of(page_of(replace(results, motifs=motifs, corpus=corpus)), "marginals")
    assert "The effect depends on the position for 1: TATNC (+0.30 to +1.15)." in shown


def test_effects_of_a_motif_are_explained_together(page_text):
    shown = section_of(page_text, "motifs")
    assert "as changes of log-odds (1 more multiplies the odds by 2.7)" in shown
    for name in (
        "<b>Effect</b>: decrease of the score",
        "<b>Does one site alone change the prediction?</b> Gain",
        "Motifs alone</a>",
    ):
        assert name in shown
