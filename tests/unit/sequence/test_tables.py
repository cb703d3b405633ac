"""Test tables of results as they are read."""

from selfattn_bio.sequence.tables import read_table


def test_names_stay_text_and_empty_figures_are_missing(tmp_path):
    (tmp_path / "t.tsv").write_text("id\teffect\tmatch\tchrom\nNA\t1.5\t\t1\n007\t\tnan\t2\n")
    table = read_table(tmp_path / "t.tsv")
    assert table["id"].tolist() == ["NA", "007"]
    assert table["match"].tolist() == ["", "nan"]
    assert table["chrom"].tolist() == ["1", "2"]
    assert table["effect"].isna().tolist() == [False, True]
