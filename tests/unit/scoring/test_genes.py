"""Test the annotation of intervals and variants with genes by hand."""

from xml.etree.ElementTree import parse

import numpy as np
import pandas as pd
import pytest
from commands import exit_code, run

from selfattn_bio.errors import ArgumentError, IntervalError, SequenceFileError
from selfattn_bio.scoring.genes import nearest_genes
from selfattn_bio.sequence.bigwig import open_bigwig

# 1-based, both ends included; tx 2 of gene a starts at 7001, c and d have a common promoter
EXONS = (
    ("1", "a", "+", {"t1": ((5001, 5200), (7801, 8000)), "t2": ((7001, 7050), (7801, 8000))}),
    ("1", "b", "-", {"t3": ((20001, 20300), (21801, 22000))}),
    ("3", "c", "-", {"t4": ((3001, 3500),)}),
    ("3", "d", "+", {"t5": ((5001, 5500),)}),
)
BY_HAND = """
    1 3999 4000    intergenic a + -1001
    1 4000 4001    promoter a + -1000
    1 5000 5001    promoter a + 0
    1 4990 5300    promoter a + 0
    1 5099 5100    promoter a + 99
    1 5100 5101    exon a + 100
    1 5300 5310    intron a + 300
    1 6500 6510    promoter a + -491
    1 7900 7901    exon a + 900
    1 9000 9010    intergenic a + 2000
    1 15000 15010  intergenic b - 6990
    1 20500 20600  intron b - 1400
    1 21899 21900  exon b - 100
    1 21900 21901  promoter b - 99
    1 21999 22000  promoter b - 0
    1 22999 23000  promoter b - -1000
    1 23000 23001  intergenic b - -1001
    3 4100 4110    promoter c - -601
    3 4300 4310    promoter d + -691
"""
ROWS = [line.split() for line in BY_HAND.strip().splitlines()]


def gtf():
    for chrom, gene, strand, transcripts in EXONS:
        names = f'gene_id "G{gene}"; gene_name "{gene}"'
        for transcript, exons in transcripts.items():
            for first, last in exons:
                yield chrom, "exon", first, last, strand, f'{names}; transcript_id "{transcript}";'
        spans = [span for exons in transcripts.values() for span in exons]
        yield chrom, "gene", spans[0][0], spans[-1][1], strand, f"{names};"


def gff():
    for chrom, gene, strand, transcripts in EXONS:
        spans = [span for exons in transcripts.values() for span in exons]
        attributes = f"ID=G{gene};Name={gene};Note=of the tests"
        yield chrom, "gene", spans[0][0], spans[-1][1], strand, attributes
        for span in sorted(set(spans)):
            parents = ",".join(name for name, exons in transcripts.items() if span in exons)
            yield chrom, "exon", *span, strand, f"Parent={parents}"
        for name, exons in transcripts.items():
            yield chrom, "mRNA", exons[0][0], exons[-1][1], strand, f"ID={name};Parent=G{gene}"


def without_genes():
    return (line for line in gtf() if line[1] == "exon")


def write(path, lines):
    text = "{}\tx\t{}\t{}\t{}\t.\t{}\t.\t{}\n".format
    path.write_text("#!assembly\n" + "".join(text(*line) for line in lines))
    return path


@pytest.fixture
def genes(here):
    return write(here / "genes.gtf", gtf())


@pytest.mark.parametrize(
    ("lines", "name"), [(gtf, "g.gtf"), (gff, "g.gff3"), (without_genes, "e.gtf")]
)
def test_features_by_hand(tmp_path, lines, name):
    table = pd.DataFrame([row[:3] for row in ROWS], columns=["chrom", "start", "end"])
    table = table.astype({"start": int, "end": int}).set_axis([7] * len(ROWS))
    found = nearest_genes(table, write(tmp_path / name, lines()))
    assert found.index.equals(table.index)
    assert found["gene_id"].tolist() == [f"G{row[4]}" for row in ROWS]
    if lines is without_genes:
        found["gene"] = found["gene_id"].str[1:]
    columns = ["feature", "gene", "gene_strand", "distance"]
    assert found[columns].astype(str).to_numpy().tolist() == [row[3:] for row in ROWS]


def test_gene_without_exons_is_an_exon(tmp_path):
    """As in files of bacteria."""
    lines = [("c", "pseudogene", 5001, 9000, "-", "ID=p"), ("c", "CDS", 5001, 9000, "-", "ID=x")]
    table = pd.DataFrame({"chrom": "c", "start": [6000], "end": [6001]})
    found = nearest_genes(table, write(tmp_path / "g.gff", lines))
    assert found.iloc[0, 3:].tolist() == ["exon", "p", "p", "-", 2999]
    with pytest.raises(SequenceFileError, match=r"g\.gff:2: exon without gene_id, ID or Parent"):
        nearest_genes(table, write(tmp_path / "g.gff", [("c", "exon", 1, 2, "+", "level 2")]))


def test_odd_columns_and_indexes_of_tables_are_refused(genes):
    table = pd.DataFrame({"chrom": ["1"], "pos": [2], "ref": [3], "start": [1], "end": [2]})
    for wrong in (pd.concat([table, table], axis=1), table.set_index([["a"], ["b"]])):
        with pytest.raises(ArgumentError, match="two columns of one name, or an index"):
            nearest_genes(wrong, genes)
    assert nearest_genes(table, genes)["distance"].tolist() == [-4999]


def test_annotate_variants_and_peaks(here, genes, capsys):
    """Alleles at chr1 [5099, 5102) and [5100, 5101); no gene on chr2."""
    effects = "chrom\tpos\tref\tid\teffect\nchr1\t5100\tACG\t007\t.5\nchr1\t5101\tA\tNA\t-.25\n"
    (here / "effects.tsv").write_text(effects)
    run("annotate effects.tsv --genes genes.gtf --output effects.tsv.tsv")
    assert capsys.readouterr().out == (
        "annotate: wrote 2 rows to effects.tsv.tsv: 1 promoter, 1 exon\n"
    )
    header, *rows = (here / "effects.tsv.tsv").read_text().splitlines()
    assert header == "chrom\tpos\tref\tid\teffect\tfeature\tgene\tgene_id\tgene_strand\tdistance"
    assert rows[0] == "chr1\t5100\tACG\t007\t.5\tpromoter\ta\tGa\t+\t99"
    assert rows[1] == "chr1\t5101\tA\tNA\t-.25\texon\ta\tGa\t+\t100"
    (here / "peaks.bed").write_text("chr2\t1\t9\tp1\t1000\t+\nchr1\t5200\t5201\tp2\t7\t-\n")
    run("annotate peaks.bed --genes genes.gtf --output peaks.tsv")
    _, *rows = (here / "peaks.tsv").read_text().splitlines()
    assert rows[0] == "chr2\t1\t9\tp1\t1000\t+\t\t\t\t\t"
    assert rows[1] == "chr1\t5200\t5201\tp2\t7\t-\tintron\ta\tGa\t+\t200"
    assert "warning: genes.gtf: no genes on chr2, but on 1, 3\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("chrom\tstart\tend\nI\t1\t2\n", "genes.gtf: no genes on I, but on 1, 3. Use the chromo"),
        ("chrom\tstart\n1\t2\n", "the table has no column 'end'"),
        ("chrom\tstart\tend\n1\t2\tx\n", "row 0: invalid end 'x'"),
        ("chrom\tpos\tref\n1\t0\tA\n", "row 0: invalid start '-1'"),
        ("chrom\tstart\tend\n1\t2\t3\t4\n", "t.tsv: cannot read this TSV table: "),
        ("chrom\tstart\tend\n1\t2\t3\t4\t5\n", "Expected 3 fields in line 2, saw 5"),
        ("chrom\tstart\tend\tend\n1\t2\t3\t4\n", "t.tsv:1: duplicate column 'end'"),
    ],
)
def test_tables_that_cannot_be_annotated(here, genes, capsys, text, message):
    (here / "t.tsv").write_text(text)
    assert exit_code("annotate t.tsv --genes genes.gtf --output out.tsv") == 1
    assert message in capsys.readouterr().err.splitlines()[-1]
    for text, problem in (
        ("", "no intervals in the file"),
        ("1\tx\tCDS\t1\t9\t.\t+\t.\tID=c\n", r"no lines of type gene or exon .* has CDS \(1\)"),
    ):
        (here / "none.gtf").write_text(text)
        with pytest.raises(IntervalError, match=rf"none\.gtf: {problem}"):
            nearest_genes(pd.DataFrame({"chrom": ["1"], "start": 1, "end": 2}), here / "none.gtf")


def test_session_names_tracks_relative_to_itself(here, genes, capsys):
    (here / "g.fa").write_text(f">1\n{'ACGT' * 6000}\n")
    run("browse genes.gtf --genome g.fa --region 1:2-3 --output views/a.xml")
    assert capsys.readouterr().out == "browse: wrote views/a.xml with 1 track\n"
    session = parse(here / "views" / "a.xml").getroot()
    assert session.tag == "Session"
    assert session.attrib == {"genome": "../g.fa", "locus": "1:2-3", "version": "8"}
    assert [each.attrib for each in session.iter("Resource")] == [{"path": "../genes.gtf"}]
    tracks = [{"id": "../genes.gtf", "name": "genes.gtf", "autoScale": "true"}]
    assert [each.attrib for each in session.iter("Track")] == tracks
    for words, message in (
        ("absent.bw", "absent.bw: no such file"),
        ("g.fa", "g.fa: not a track that IGV opens by its name. Its name must end with .bed, "),
        ("genes.gtf --region 1:3-2", "region 1:3-2: the first position is after the last"),
        ("genes.gtf --region 1:2-30000", "region 1:2-30000 is not within 1:1-24000"),
    ):
        assert exit_code(f"browse {words} --genome g.fa --output a.xml") == 1
        assert message in capsys.readouterr().err
        assert not (here / "a.xml").exists()


VCF = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"


def test_damaged_tracks_are_not_in_a_session(here, capsys):
    (here / "g.fa").write_text(">1\nACGT\n")
    with open_bigwig(here / "long.bw", {"1": 9}) as write:
        write("1", np.array([0]), 2, np.array([1.0]))
    (here / "cut.bw").write_bytes((here / "long.bw").read_bytes()[:300])
    (here / "empty.bed").write_text("")  # as `scan` writes it without a peak
    for name, text, problem in (
        ("a.bed", "1\t2\t3\n1\tx\t3\n", ":2: invalid start 'x'"),
        ("a.gff3", "1\tx\tgene\t9\t2\t.\t.\t.\t.\n", ":1: start is not before end"),
        ("a.bedgraph", "1\t2\n", ":1: bedGraph line has 2 columns"),
        ("a.vcf", "#CHROM\n", ":1: VCF starts with '#CHROM'"),
        ("a.vcf", f"{VCF}1\tx\t.\tA\tC\t.\t.\t.\n", ":3: invalid POS 'x'"),
        ("a.vcf", f"{VCF}1\t5\t.\tA\tC\t.\t.\t.\n", ":3: REF ends at 5, beyond the end of 1"),
        ("a.vcf", f"{VCF}7\t1\t.\tA\tC\t.\t.\t.\n", ":3: no chromosome '7'"),
        ("a.bed", "1\t2\t3\n1\t2\t5\n", ":2: ends at 5, beyond 1 (4 bp). Is it the same assembly"),
        ("a.gtf", "1\tx\tgene\t1\t5\t.\t.\t.\t.\n", ":1: ends at 5, beyond 1 (4 bp)"),
        ("a.bw", "no bigWig file" * 9, ": damaged bigWig file: not in bigWig format"),
        ("cut.bw", None, ": damaged bigWig file: "),
        ("long.bw", None, ": ends at 9, beyond 1 (4 bp). Is it the same assembly?"),
    ):
        if text is not None:
            (here / name).write_text(text)
        assert exit_code(f"browse empty.bed {name} --genome g.fa --output a.xml") == 1
        assert f"browse: error: {name}{problem}" in capsys.readouterr().err
        assert not (here / "a.xml").exists()
    (here / "patch.bed").write_text("7\t1\t9\n1\t2\t4\n")  # the genome lacks 7
    (here / "deletion.vcf").write_text(f"{VCF}1\t1\t.\tA\t<DEL>\t.\t.\t.\n")
    with open_bigwig(here / "short.bw", {"1": 3}) as write:  # ends at the last record
        write("1", np.array([0]), 2, np.array([1.0]))
    run("browse empty.bed patch.bed deletion.vcf short.bw --genome g.fa --output a.xml")
