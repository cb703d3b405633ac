"""Test that the pages of numbers and classes show motifs per output, with effects in its unit."""

from dataclasses import replace

import numpy as np
import pytest
from pages import page_of
from target_results import make_targets

from selfattn_bio.report.cards import REVERSE, YES, findings, motif_rows, shortfall
from selfattn_bio.report.words import MINUS

LABELS = ("positives_with_hit", "negatives_with_hit", "positives", "negatives")
NUMBER = {
    **{"target": "activity.expression", "unit": "expression", "min_effect": 0.2},
    **{"difference": -1.5, "matched_difference": -1.25, "records_with_hit": 20, "records": 80},
    **{"effect": -0.9, "effect_low": -1.1, "effect_high": -0.7},
    **{"necessity": -0.8, "necessity_low": -1.0, "necessity_high": -0.6},
    **dict.fromkeys((*LABELS, "odds_ratio", "matched_odds_ratio"), np.nan),
}


@pytest.fixture(scope="module")
def several(results, tmp_path_factory):
    """Return results of a number and classes with the motifs of two classes."""
    of = make_targets("several", tmp_path_factory.mktemp("targets") / "several")
    names = ("motifs", "ppms", "sites", "discovery")
    curves = results.marginals.assign(unit="expression")  # of the first motif
    return replace(of, marginals=curves, **{name: getattr(results, name) for name in names})


def with_numbers(several, number):
    """Return results whose first motifs lower the number."""
    table = several.motifs.assign(target="class.ebox").astype(dict.fromkeys(LABELS, float))
    table.loc[: number - 1, list(NUMBER)] = list(NUMBER.values())
    return replace(several, motifs=table)


def test_page_shows_motifs_of_each_output(several):
    of = with_numbers(several, 1)
    page = " ".join(page_of(of).split())
    for text in (
        f"mean {MINUS}1.50 expression <small>20 of 80 records; q",
        f"{MINUS}0.90 <small>{MINUS}1.10 to {MINUS}0.70 expression; q",
        "sites, for activity.expression</small>",
        "sites, for class.ebox</small>",
        "<b>Supported</b> (expression): test records with a site have higher or",
        "<b>Supported</b>: sites are more frequent in positives than in negatives",
        "found and tested for activity.expression, class.ebox separately",
        "Is expression different in records with a site?",
        f"the difference of the means is {MINUS}1.50 expression;",
        "Is it more frequent in positives than in negatives?",  # of the class
        "1 of 3 motifs is supported",
    ):
        assert text in page
    row = motif_rows(of)[0]
    for effect, enrichment_q, expected in (
        (-0.9, 0.01, YES),  # as the records
        (0.9, 0.01, REVERSE),
        (0.9, 0.5, YES),  # no difference between the records
    ):
        changed = row | {"effect": effect, "necessity": effect, "enrichment_q": enrichment_q}
        found, _ = findings(changed, of.task)
        answers = [each.answer for each in found if each.question == "Does the model use it?"]
        assert answers == [expected]


def test_page_of_numbers_has_no_words_about_classes(several):
    page = page_of(with_numbers(several, 3))
    shown = page[page.index('<section id="motifs">') : page.index('<section id="performance">')]
    assert "<b>Supported</b>: test records with a site have higher or lower numbers" in shown
    assert "effect of at least 0.20 expression" in shown
    for word in ("positives", "negatives", "log-odds", "logit", "unlabelled"):
        assert word not in shown


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "permuted motifs have such effects"),
        ({"necessity": -0.1}, "effect smaller than 0.2"),
        ({"necessity_high": 0.1}, "interval of the effect includes 0"),
        ({"matched_difference": 1.25, "null_p": np.nan}, "unclear whether records with a site "),
    ],
)
def test_inconclusive_motif_of_a_number(changes, expected):
    row = {"verdict": "inconclusive", **dict.fromkeys(("enrichment_q", "matched_q"), 0.01)}
    row |= {"effect_q": 0.01, "support_q": 0.01, "null_motifs": 20, "null_p": 0.5}
    assert shortfall(row | NUMBER | changes, 0.05).startswith(expected)
