"""Test the lines of the log about motifs."""

import pandas as pd
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
    row["site_units"] = "5 of 78 clusters, 55 in one"
    line, *_ = motif_lines(pd.DataFrame([row]), 0.05, SPLIT)
    assert "120 sites of train and valid in 5 of 78 clusters, 55 in one, " in line
