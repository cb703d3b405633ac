"""Test the lines of the log about motifs."""

import pandas as pd
from pages import section_of
from small_results import MOTIFS

from selfattn_bio.config.split import ColumnSplit
from selfattn_bio.report.lines import motif_lines

SPLIT = ColumnSplit()


def test_printed_odds_ratios_are_readable():
    row = MOTIFS.to_dict("records")[0] | {"odds_ratio": 1487.4, "negatives_with_hit": 1}
    row["lacks"] = ""
    line, *_ = motif_lines(pd.DataFrame([row]), 0.05, SPLIT)
    assert ", odds ratio 1,500 (q " in line


def test_printed_sites_name_their_units():
    row = MOTIFS.to_dict("records")[0] | {"lacks": ""}
    line, *_ = motif_lines(pd.DataFrame([row]), 0.05, SPLIT)
    assert "120 sites of train and valid, " in line
    row["site_units"] = "5 of 78 clusters, at most 55 in one"
    line, *_ = motif_lines(pd.DataFrame([row]), 0.05, SPLIT)
    assert "120 sites of train and valid in 5 of 78 clusters, at most 55 in one, " in line


def test_the_remedy_for_unmeasured_motifs_is_at_the_top(page_text):
    answer = page_text[: page_text.index('<section id="performance">')]
    assert (
        "The test split is too small to measure the effect of 1 motif: 30 records with a known "
        "target, a site and space for a control site and sites in 10 independent units are "
        "needed. To enlarge it, increase test_fraction in [split] to about 0.50, and add records."
    ) in answer
    card = section_of(page_text, "motifs")
    assert (
        "9 of 80 test records with a known target have a site and space for a control site; 30 "
        "are needed, that is, about 267 test records with a known target"
    ) in card
