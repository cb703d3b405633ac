"""Test the fields of BED and GFF lines, and that malformed lines give errors with their place."""

import gzip
import math

import pytest

from selfattn_bio.errors import IntervalError
from selfattn_bio.sequence.intervals import read_intervals

COLUMNS = ["chrom", "start", "end", "strand", "name", "score", "summit", "line"]
GFF = "chr2L\tf\t{type}\t8\t11\t{score}\t{strand}\t.\t{attributes}\n"


def read(tmp_path, name, text, feature=""):
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    table = read_intervals(path, feature)
    assert (table["path"] == str(path)).all()
    return [tuple(row) for row in table[COLUMNS].itertuples(index=False)]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.bed", "chr1\t0\t10\n", ("chr1", 0, 10, ".", "", math.nan, -1, 1)),
        ("a.bed", "chr1 5 10 peak\n", ("chr1", 5, 10, ".", "peak", math.nan, -1, 1)),
        ("a.bed.gz", "chr1\t5\t10\tp q\t7.5\t-\r\n", ("chr1", 5, 10, "-", "p q", 7.5, -1, 1)),
        (
            "a.bed",
            "\ufeff# c\nbrowser x\ntrack name=a\n\nchr1\t5\t10\t.\t.\t.",
            ("chr1", 5, 10, ".", "", math.nan, -1, 5),
        ),
        ("a.bed", "track7\t5\t10\n", ("track7", 5, 10, ".", "", math.nan, -1, 1)),
        ("a.bed", "chr1\t5\t10\tn\t0\t+\t5\t10\t0\t1\t5\t0\n", ("chr1", 5, 10, "+", "n", 0, -1, 1)),
        (
            "a.narrowPeak",
            "chr1\t5\t10\tn\t0\t.\t5.1\t-1\t-1\t3\n",
            ("chr1", 5, 10, ".", "n", 0, 3, 1),
        ),
        ("a.bed", "chr1\t5\t10\tn\t0\t.\t5.1\t-1\t-1\t-1\n", ("chr1", 5, 10, ".", "n", 0, -1, 1)),
        (
            "a.broadPeak.gz",
            "chr1\t5\t10\tn\t1e2\t.\t5.1\t-1\t-1\n",
            ("chr1", 5, 10, ".", "n", 100, -1, 1),
        ),
        (
            "a.gff3",
            GFF.format(type="exon", score=".", strand="-", attributes="Parent=g; ID=e1;"),
            ("chr2L", 7, 11, "-", "e1", math.nan, -1, 1),
        ),
        (
            "a.gff",
            GFF.format(type="exon", score="3", strand="?", attributes=".") + "##FASTA\n>a\nAC\n",
            ("chr2L", 7, 11, ".", "", 3, -1, 1),
        ),
        (
            "a.gtf.gz",
            "#!x\n"
            + GFF.format(type="exon", score=".", strand="+", attributes='gene_id "g; 1"; x y;'),
            ("chr2L", 7, 11, "+", "g; 1", math.nan, -1, 2),
        ),
        (
            "a.gtf",
            GFF.format(type="exon", score=".", strand="+", attributes="gene_id g1"),
            ("chr2L", 7, 11, "+", "", math.nan, -1, 1),
        ),
    ],
)
def test_a_line(tmp_path, name, text, expected):
    (row,) = read(tmp_path, name, text)
    assert row[:5] + row[6:] == expected[:5] + expected[6:]
    assert row[5] == pytest.approx(expected[5], nan_ok=True)


def test_one_type_of_gff_is_chosen(tmp_path):
    text = "".join(
        GFF.format(type=kind, score=".", strand="+", attributes=f"ID={kind}")
        for kind in ("gene", "exon", "gene")
    )
    assert [row[-1] for row in read(tmp_path, "a.gff3", text, "gene")] == [1, 3]
    with pytest.raises(
        IntervalError,
        match=r"a.gff3: no lines of type 'tss' \(the file has gene \(2\), "
        r"exon \(1\)\)$",
    ):
        read(tmp_path, "a.gff3", text, "tss")
    with pytest.raises(
        IntervalError,
        match=r"the file has several types of lines: gene \(2\), exon \(1\). "
        r"Choose one, e\.g\. ",
    ):
        read(tmp_path, "a.gff3", text)
    with pytest.raises(IntervalError, match="feature 'gene' applies only to GFF and GTF files"):
        read(tmp_path, "a.bed", "chr1\t0\t10\n", "gene")
