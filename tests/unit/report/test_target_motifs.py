"""Test that the pages of numbers and classes show motifs per output, with effects in its unit."""

import numpy as np
import pandas as pd
import pytest
from pages import page_of, read
from small_results import MOTIFS, make_results
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


def make_number_motifs(folder, numbers=1):
    """Write results of a number and three classes, whose first motifs lower the number."""
    task = make_targets("several", folder).task
    make_results(folder / "binary")
    for name in ("motifs.meme", "seqlets.bed", "discovery_seqlets.bed"):
        (folder / "binary" / name).rename(folder / name)
    table = MOTIFS.assign(target="class.ebox").astype(dict.fromkeys(LABELS, float))
    table.loc[: numbers - 1, list(NUMBER)] = list(NUMBER.values())
    table.to_csv(folder / "motifs.tsv", sep="\t", index=False)
    curves = folder / "marginals.tsv"  # of the first motif
    pd.read_csv(curves, sep="\t").assign(unit="expression").to_csv(curves, sep="\t", index=False)
    return task


def test_page_shows_motifs_of_each_output(tmp_path):
    task = make_number_motifs(tmp_path)
    page = " ".join(page_of(tmp_path, task).split())
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
        "Also compared with records matched for GC content and length?",
        "Shuffling its sites raises expression by 0.80.",
        "Is it more frequent in positives than in negatives?",  # of the class
        "1 of 3 motifs is supported",
    ):
        assert text in page
    row = motif_rows(read(tmp_path, task))[0]
    for effect, enrichment_q, expected in (
        (-0.9, 0.01, YES),  # as the records
        (0.9, 0.01, REVERSE),
        (0.9, 0.5, YES),  # no difference between the records
    ):
        changed = row | {"effect": effect, "necessity": effect, "enrichment_q": enrichment_q}
        found, _ = findings(changed, task)
        answers = [each.answer for each in found if each.question == "Does the model use it?"]
        assert answers == [expected]


def test_page_of_numbers_has_no_words_about_classes(tmp_path):
    page = " ".join(page_of(tmp_path, make_number_motifs(tmp_path, numbers=3)).split())
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
