"""Test tables of results: BED, TSV, Parquet, and coordinates on a chromosome."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from letters import BASES

from selfattn_bio.errors import OutputError
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.tables import on_chromosome, read_bed, write_bed, write_table


def test_bed_has_more_columns_and_comes_back(tmp_path):
    records = pd.DataFrame({"id": ["a", "1"]} | dict.fromkeys(["chrom", "start", "end", "strand"]))
    places = {"record": [0, 1], "start": [3, 0], "end": [9, 6], "strand": ["+", "-"], "name": "m"}
    places |= {"score": [5, 1000], "p_value": [1e-5, 2e-4]}
    rows = on_chromosome(pd.DataFrame(places), records)
    write_bed(tmp_path / "a.bed", rows, ["p_value"])
    text = (tmp_path / "a.bed").read_text()
    assert text == "1\t0\t6\tm\t1000\t-\t0.0002\na\t3\t9\tm\t5\t+\t1e-05\n"
    found = read_bed(tmp_path / "a.bed").rename(columns={6: "p_value"})
    pd.testing.assert_frame_equal(found, rows, check_dtype=False)
    (tmp_path / "short.bed").write_text("a\t3\t9\n")
    with pytest.raises(ValueError, match=r"BED file has 3 columns instead of chrom, start"):
        read_bed(tmp_path / "short.bed")
    write_bed(tmp_path / "none.bed", rows[:0])
    assert read_bed(tmp_path / "none.bed").empty


def test_bed_names_stay_text(tmp_path):
    names = ["one#1#chr1", "007", "1e5", "NA", 'a"b', '"c"']
    rows = pd.DataFrame(
        {"chrom": names, "start": 3, "end": 9, "name": names[::-1], "score": 5, "strand": "+"}
    )
    write_bed(tmp_path / "a.bed", rows)
    assert (tmp_path / "a.bed").read_text().splitlines()[4] == 'a"b\t3\t9\t007\t5\t+'
    pd.testing.assert_frame_equal(read_bed(tmp_path / "a.bed"), rows, check_dtype=False)


def test_tables_as_tsv_and_parquet(tmp_path):
    table = pd.DataFrame({"name": ["m", "n"], "p_value": [0.25, 1e-9]})
    for name, read in (("t.tsv", partial(pd.read_csv, sep="\t")), ("t.parquet", pd.read_parquet)):
        write_table(tmp_path / name, table)
        pd.testing.assert_frame_equal(read(tmp_path / name), table, check_dtype=False)
    message = r"unknown table format. Use a name ending in .tsv or .parquet"
    with pytest.raises(OutputError, match=message):
        write_table(tmp_path / "t.csv", table)


def test_bed_intervals_match_their_sequences():
    chromosome = np.random.default_rng(0).choice(BASES, 120)
    letters = [chromosome[20:60], DNA.reverse_complement(chromosome[50:100]), chromosome[:30]]
    # one record of each strand, and one without coordinates
    rows = [("a", "chr1", 20, 60, "+"), ("b", "chr1", 50, 100, "-"), ("c", None, None, None, None)]
    records = pd.DataFrame(rows, columns=["id", "chrom", "start", "end", "strand"])
    records = records.astype({"start": "Int64", "end": "Int64"})
    columns = {"record": [0, 0, 1, 1, 2], "start": [3, 10, 0, 41, 5], "end": [11, 18, 8, 50, 12]}
    columns |= {"strand": list("+-+-+"), "name": ["p0", "p1", "p2", "p3", "p4"], "score": 1}
    places = pd.DataFrame(columns)
    rows = on_chromosome(places, records).set_index("name")
    for place in places.itertuples():
        read = letters[place.record][place.start : place.end]
        read = read if place.strand == "+" else DNA.reverse_complement(read)
        row = rows.loc[place.name]
        source = letters[2] if row["chrom"] == "c" else chromosome
        fetched = source[row["start"] : row["end"]]
        fetched = fetched if row["strand"] == "+" else DNA.reverse_complement(fetched)
        assert bytes(fetched) == bytes(read), place.name
    assert rows.loc["p2", ["chrom", "start", "end", "strand"]].tolist() == ["chr1", 92, 100, "-"]
    assert rows.loc["p4", "chrom"] == "c"
