"""Test the families of matched factors."""

import numpy as np
import pytest
from letters import ascii_of, ppm_of

from selfattn_bio.motifs import open_database
from selfattn_bio.motifs.families import families_of, first_differs
from selfattn_bio.motifs.matching import match_label, match_motifs

ETS, ZINC = "Ets-related", "More than 3 adjacent zinc fingers"
RUNX = ("Runx1 (MA0002.3)", "RUNX2 (MA0511.2)")


@pytest.mark.parametrize(
    ("labels", "families"),
    [
        ([], ""),
        (["mine (1)"], ""),
        (["Trl (MA0205.3)"], f"{ZINC} (Trl)"),
        (["ZBTB11 (MA2336.1)", "ELK1 (MA0028.3)", "FEV (MA0156.4)"], f"{ETS} (ELK1, FEV)"),
        (
            ["pnr (MA0536.2)", "Dref (MA1456.2)"],
            "C4-GATA-related (pnr) or BED zinc finger factors (Dref)",
        ),
        (
            ["FOS (MA0476.2)", "JUN (MA0488.2)", "MAFK (MA0496.4)", "FOS (MA1951.2)"],
            "Basic leucine zipper factors (bZIP) (FOS, JUN, MAFK)",
        ),
    ],
    ids=["none", "another database", "one", "majority", "no majority", "class"],
)
def test_families_of_matrices(labels, families):
    assert families_of(labels) == families


def test_an_ets_site_has_the_name_of_the_family():
    rng = np.random.default_rng(0)
    others = {f"u{i}": rng.dirichlet(np.full(4, 0.4), 9) for i in range(10)}
    ppm = 0.9 * ppm_of(ascii_of(b"ACCGGAAGTG")) + 0.025
    table = match_motifs({"m": ppm} | others, open_database("jaspar:vertebrates"))
    row = table.iloc[0]
    assert row["match"].startswith("Z")  # a zinc finger by a narrow margin
    assert row["family"].startswith(f"{ETS} (")
    assert match_label(row) == row["family"]
    assert match_label({**row, "near_ties": 1}).startswith(f"{row['match'].partition(' (')[0]} or ")


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["Bcl11B (MA1989.2)", *RUNX], True),
        (["Bcl11B (MA1989.2)", *RUNX, "ELK1 (MA0028.3)"], False),
        (["RUNX3 (MA0684.3)", *RUNX], False),
        (["Bcl11B (MA1989.2)", "mine (1)", "yours (2)"], False),
        (["mine (1)", *RUNX], True),
    ],
    ids=["another", "several", "same", "unknown", "unknown best"],
)
def test_a_family_that_only_the_first_is_not_of(labels, expected):
    assert first_differs(labels) == expected


def test_a_runx_site_has_the_names_of_both_families():
    database = open_database("jaspar:vertebrates")
    rng = np.random.default_rng(0)
    others = {f"u{i}": rng.dirichlet(np.full(4, 0.4), 9) for i in range(10)}
    site = database.pop("RUNX2 (MA0511.2)")
    row = match_motifs({"m": site} | others, database).iloc[0]
    assert row["match"] == "Bcl11B (MA1989.2)"  # a zinc finger, with a matrix like those of RUNX
    assert row["family"] == match_label(row) == "Bcl11B or Runt-related factors (RUNX3, Runx1)"
