"""Tables of leaks and nearest neighbours in the report."""

from pages import read, tables_of
from small_results import AUDIT, edit, make_results

from selfattn_bio.report.page import write_page
from selfattn_bio.report.tables import leakage_tables


def test_unknown_labels_have_no_row_of_leaks():
    known, unknown = (
        [row.cells["match among these records"] for row in leakage_tables(audit)["leaks"].rows]
        for audit in (AUDIT, AUDIT | {"near_other_label": None})
    )
    assert {*known} - {*unknown} == {"near neighbour with a different label"}


def test_unchecked_overlaps_are_not_zero():
    rows = leakage_tables(AUDIT | {"overlaps": None})["leaks"].rows
    cells = {row.cells["match among these records"]: row.cells["test records"] for row in rows}
    assert (
        cells["overlapping interval on either strand (not checked: no coordinates to compare)"]
        is None
    )


def test_near_neighbours_have_no_limit_by_default():
    limits = AUDIT["limits"] | {"max_near": 1.0}
    rows = leakage_tables(AUDIT | {"limits": limits})["leaks"].rows
    assert [
        row.cells["limit"] for row in rows if "near neighbour (" in row.cells[next(iter(row.cells))]
    ] == ["none"]


def test_page_of_pairs_counts_known_partners(tmp_path, page_text):
    assert "also in train" not in page_text
    make_results(tmp_path)
    edit(tmp_path / "audit.json", partners=79)
    write_page(read(tmp_path), "small_task")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.lower().count("partners also in train: 79 of 80") == 2
    assert "79 of 80 test records have a partner that is also in train." in page


def test_leakage_table_shows_limits(page_text):
    leaks, nearest, shifts = tables_of(page_text, "leakage")
    for name, number, limit in (
        ("near neighbour (at least 0.15 of k-mers shared)", "3", "8"),
        ("same species", "7", "none"),
        ("same family", "0", "none"),
        ("not compared by group: no family", "5", "none"),
        ("identical sequence on either strand", "0", "0"),
    ):
        assert leaks[name] == {"test records": number, "limit": limit}
    counts = {"below 0.05": "65", "0.05 to 0.15": "12", "0.15 to 1.0": "2", "1.0": "1"}
    assert nearest == {name: {"test records": count} for name, count in counts.items()}
    more = "12 more share 5 % to 15 % of their k-mers with a training record"
    assert page_text.count(more) == 2  # next to the number on top, and in the section
    means = {"mean in training": "60.000", "mean in the split": "61.500"}
    assert shifts == {"length, test": means | {"effect": "+0.250 Cohen's d", "p": "0.003 K-S"}}
