"""Test errors of init: each is one line."""

import os
import re
from pathlib import Path

import pandas as pd
import pytest
from commands import exit_code
from init_files import table, write

from selfattn_bio import ingest_files
from selfattn_bio.errors import RunFileError, SequenceFileError
from selfattn_bio.wizard import propose

SETS = ("test", "train", "valid")
PROTEIN = "ACDEFGHIKLMNPQRSTVWY"


@pytest.mark.parametrize(
    ("record", "letters", "codes"),
    [(0, "ACGT", "IUPAC DNA codes"), (6, PROTEIN, "one-letter amino acid codes")],
)
def test_invalid_character_names_the_record(here, capsys, letters, codes, record):
    write("a.fa", letters=letters)
    lines = Path("a.fa").read_text().splitlines()
    lines[2 * record + 1] += "!"
    Path("a.fa").write_text("\n".join(lines))
    assert exit_code("init my_task --positives a.fa --negatives shuffled") == 1
    message = f"invalid character '!' in record 'a{record}' (expected {codes}"
    assert f"a.fa:{2 * record + 2}: {message}" in capsys.readouterr().err


def test_init_checks_that_it_can_write(here, monkeypatch, capsys):
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != ".")
    write("a.fa")
    assert exit_code("init mine --positives a.fa --negatives shuffled") == 1
    assert "cannot write workflows/tasks/mine.toml: permission denied" in capsys.readouterr().err


# arguments of init, and the error below them
ERRORS = """
'my task' --positives a.fa --negatives a.fa
    invalid task name 'my task': use only letters, digits, _ and -
mine --positives a.fa
    --positives needs --negatives. Give a file, or --negatives shuffled to generate
mine --positives a.fa --negatives b.fa a.fa
    a.fa: this file is given twice. Name each file once
mine --sequences -
    init cannot read standard input (-), because it reads each file twice. Save the data
mine --sequences latin.fa
    latin.fa:1: invalid byte 0xE9 in the header
mine
    no sequence files given. Give --positives and --negatives, or one table
mine --train a.fa --sequences b.fa
    --sequences and --train cannot be combined. Give --positives
mine --train a.fa
    --train is not enough to learn from. Give --positives
mine --sequences a.fa
    a.fa: the sequences have no labels or numbers to learn. Give a table, or --targets TABLE with \
ids, or --column NAME
mine --sequences family.fa
    family.fa: the headers have family (such as kinase), species (such as 9606). Choose what to \
learn with --column NAME. For one file per class, give --targets TABLE (see docs/commands.md)
mine --sequences family.fa --column famly
    family.fa: found no column 'famly' (--column; did you mean 'family'?); the columns are family \
(such as kinase), species (such as 9606). Choose what to learn with --column NAME
mine --sequences a.fa --column famly
    a.fa: found no column 'famly' (--column). Give a table, or --targets TABLE with ids, or \
--column NAME for a header attribute
mine --positives p.fa --negatives a.fa
    the files mix alphabets: p.fa looks like protein (MKVLAAGIVGLL...), a.fa like DNA (
mine --positives a.fa --negatives matched
    --negatives matched needs a genome to take windows from. Give it with --genome
mine --positives a.fa --negatives b.fa --genome a.fa
    a.fa: unknown type of interval file. Give BED, narrowPeak, broadPeak, GFF3, GTF, or a table
mine --positives a.fa --negatives b.fa --points p.bed
    --points needs windows of a genome. Give windows with --sequences WINDOWS.bed and --genome
mine --sequences a.bed --genome g.fa --points a.bed
    a.bed:1: the point has no strand (column 6 of BED)
mine --sequences a.bed --genome g.fa --points far.bed
    far.bed: no point is in a window. Is it the same assembly?
mine --sequences a.bed --genome a.fa
    --genome needs --positives. Or give --tracks or --profile, or a table with chrom, start and end
mine --positives a.bed --genome a.fa --tracks b.bw
    --positives and --tracks cannot be combined. Give --positives
mine --sequences a.bed --genome g.fa --profile b.bw
    no such file: 'b.bw'. Correct the path
mine --positives a.bed --genome a.fa
    a.fa: no chromosome 'chr1' in the genome (it has a0, a1
mine --positives a.fa --negatives b.fa --organism yeast
    unknown --organism 'yeast'. Choose from vertebrates
mine --positives p.fa --negatives q.fa --organism insects
    the organism chooses a database of DNA motifs, but this is protein
mine --positives a.fa --negatives b.fa --column x
    --column cannot be used with --positives
mine --positives a.fa --negatives b.fa --targets u.tsv
    --targets cannot be used with --positives
mine --sequences words.txt
    words.txt:1: no '>' header before 'hello'
mine --positives no.fa --negatives a.fa
    error: no such file: 'no.fa'. Correct the path
mine --sequences a.fa --targets no.tsv
    no.tsv: no such file for the targets
mine --sequences a.fa --targets u.tsv
    u.tsv: none of the ids in this table, such as 'z', is the id of a sequence, such as 'a0'. \
Write the ids of the sequences. In FASTA, an id is the first word of the header
mine --sequences only.csv
    only.csv: none of the columns can be learned: id, sequence. Add a column of labels or numbers, \
or give --targets TABLE with ids
mine --sequences only.csv --column x
    only.csv: found no column 'x' (--column); the columns are id (such as a), sequence (such as \
ACGTACGTACGTACGTACGT). Add a column
mine --sequences only.csv --column sequence
    only.csv: column 'sequence' (--column) has the sequences. Name another
mine --sequences genes.csv --sequence-column gene
    genes.csv: column 'gene' (--sequence-column) does not hold sequences. These columns do: utr
mine --sequences genes.csv --sequence-column worn
    genes.csv:3: invalid character '!'
mine --sequences a.fa --targets v.tsv
    v.tsv: none of the ids in this table, such as 'z', is the id of a sequence, such as 'a0'
mine --positives a.bed --negatives a.fa
    a.bed: intervals need their genome. Give it with --genome GENOME.fa
there --positives a.fa --negatives b.fa
    there.toml: the run file already exists. Edit it, remove it, or
there --sequences no.tsv
    error: no such file: 'no.tsv'. Correct the path
"""
LINES = [line.strip() for line in ERRORS.strip().splitlines()]


@pytest.mark.parametrize(("words", "message"), list(zip(LINES[::2], LINES[1::2], strict=True)))
def test_init_errors_are_one_line(here, capsys, words, message):
    write("a.fa")
    write("b.fa")
    write("family.fa", header=lambda i: "family=kinase species=9606")
    Path("u.tsv").write_text("id\tx\nz\t1\n")
    Path("v.tsv").write_text("name\tx\nz\t1\n")
    Path("words.txt").write_text("hello\n")
    Path("only.csv").write_text(f"id,sequence\na,{'ACGT' * 9}\nb,{'TGCA' * 9}\n")
    Path("genes.csv").write_text(
        f"gene,worn,utr,y\nKIF102,{'ACGT' * 9},{'ACGT' * 9},1\nF73,{'TGCA' * 9}!,{'TGCA' * 9},2\n"
    )
    Path("latin.fa").write_bytes(b">caf\xe9\nACGT\n")
    write("p.fa", letters=PROTEIN)
    Path("p.fa").write_text(">p\nMKVLAAGIVGLLLAQWERTY\n" + Path("p.fa").read_text())
    Path("q.fa").write_text(Path("p.fa").read_text().replace(">", ">q"))
    Path("g.fa").write_text(f">chr1\n{'ACGT' * 500}\n")
    Path("a.bed").write_text("chr1\t0\t30\n")
    Path("far.bed").write_text("chr1\t30\t31\tx\t0\t+\n")
    Path("workflows/tasks").mkdir(parents=True)
    Path("workflows/tasks/there.toml").write_text("mine")
    assert exit_code(f"init {words}") == 1
    assert message in capsys.readouterr().err
    assert [path.name for path in Path("workflows/tasks").iterdir()] == ["there.toml"]
    assert Path("workflows/tasks/there.toml").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "place"), [("t.csv", "t.csv:1"), ("t.tsv", "t.tsv:1"), ("t.parquet", "t.parquet")]
)
def test_column_name_with_a_line_break_is_refused(here, capsys, name, place):
    evil = """x\ncolumn = "x"\n[interpret]\nmethod = { kind = "saturation" }
[variants.x.model]\nkind = "module"\nmodule = "evil:build"\n[variants.x.model.settings]\n#"""
    table(name.replace("parquet", "csv"), letters="MKVLA", **{evil: lambda i, row: "abc"[i % 3]})
    if name.endswith("parquet"):
        pd.read_csv("t.csv").to_parquet(name)
    assert exit_code(f"init mine --sequences {name}") == 1
    message = f"{place}: line break in the name of column 2, 'x\\ncolumn = "
    assert message in capsys.readouterr().err
    with pytest.raises(SequenceFileError, match=f"^{re.escape(message)}"):
        ingest_files(name, "corpus", "protein")
    assert not Path("workflows").exists()
    assert not Path("corpus").exists()


def test_lists_of_labels_are_refused(here, capsys):
    lists = ("T cell", "T cell, Ery", "Ery", "")
    table("t.csv", cells=lambda i, row: lists[i % 4])
    assert exit_code("init mine --sequences t.csv --column cells") == 1
    error = capsys.readouterr().err
    assert "t.csv: column 'cells' has lists of labels. Write a column of 1 and 0" in error
    assert "t['cells'].str.get_dummies" in error


def test_init_refuses_a_split_that_would_stop(here, capsys):
    """A class has no training record: its only one is in the test set."""
    table(
        kind=lambda i, row: "rare" if i == 10 else "abc"[i % 3],
        split=lambda i, row: SETS[i % 5 % 3],
    )
    assert exit_code("init mine --sequences all.csv --column kind") == 1
    error = capsys.readouterr().err
    assert "all.csv: the run would stop: unknown class 'rare' in column 'kind'" in error
    assert "Merge rare classes, leave their cells empty, or list all" in error
    assert not Path("workflows").exists()


def test_python_messages_name_parameters(here, caplog):
    write("a.fa")
    for name, message in (
        ("positives", "`positives` needs `negatives`"),
        ("sequences", "`targets` TABLE with ids, or `columns` NAME"),
    ):
        with pytest.raises(RunFileError, match=message) as caught:
            propose("mine", {name: ["a.fa"]})
        assert "--" not in str(caught.value)
    caplog.set_level("INFO", "selfattn_bio")
    propose("mine", {"positives": Path("a.fa"), "negatives": "shuffled"})
    assert "choose others with `organism`" in caplog.text
    assert "--" not in caplog.text
