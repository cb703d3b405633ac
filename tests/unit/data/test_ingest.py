"""Test reading sequences into a corpus: rules, counts, targets, errors."""

import errno
import json
import re
from collections import Counter

import pandas as pd
import pytest
from pyarrow import parquet
from small_corpus import fasta, ingested, with_targets

from selfattn_bio.data.corpus import Corpus
from selfattn_bio.data.ingest import build_corpus, describe
from selfattn_bio.data.writer import RecordRules
from selfattn_bio.errors import CorpusError, OutputError, SequenceFileError
from selfattn_bio.sequence.alphabet import DNA, PROTEIN
from selfattn_bio.sequence.readers import SequenceFile
from selfattn_bio.sequence.records import Fields

# Fingerprint of the two files with the rules of `corpus`; it must not change with the reader
FINGERPRINT = "3e6801e76b9aafe88960d4b3d04696e9d28042d36260bb3c59f2a31e603e93af"
LENGTHS = {"min_length": 6, "max_length": 8}


def test_dna_among_proteins_is_refused(tmp_path):
    files = [fasta(tmp_path / "p.fa", "MKVLAAG"), fasta(tmp_path / "n.fa", "ACGTT" * 6, prefix="n")]
    message = rf"n.fa: this file is DNA \(only A, C, G, T, U and N\), but {files[0]} is protein"
    with pytest.raises(SequenceFileError, match=message):
        ingested(files, tmp_path / "corpus", alphabet=PROTEIN)
    for text, number in ((">n\nACGTACGTTACGTACGTTACGT\n>m\nMKV\n", 3), (">n\nGAAGA\n", 2)):
        files[1].write_text(text)
        assert len(ingested(files, tmp_path / "corpus", alphabet=PROTEIN)) == number


def test_summary_counts_what_was_read_dropped_and_noted(corpus, files):
    summary = json.loads((corpus.path / "corpus.json").read_text())
    dropped = ["exact duplicate", "with only N", "shorter than 6 bp", "longer than 8 bp"]
    dropped.append("same sequence, different label (the first is kept)")
    noted = {"lower case": 1, "U in DNA": 1, "IUPAC codes": 2}
    assert (summary["dropped"], summary["noted"]) == (dict.fromkeys(dropped, 1), noted)
    sources = [(source["path"], source["records"]) for source in summary["sources"]]
    assert sources == [(str(files[0]), 6), (str(files[1]), 2)]
    first, *lines, last = describe(summary)
    assert (first, last) == ("read 8 records from 2 files", "kept 3 records with 22 bp")
    assert lines[:5] == [f"dropped 1: {reason}" for reason in dropped]
    assert lines[5:] == [f"{n} record{'s'[: n - 1]} with {what}" for what, n in noted.items()]


def test_repeated_sequences_are_kept_and_counted(files, tmp_path):
    corpus = ingested(files, tmp_path / "corpus", labels=(1, 0), repeats="count", **LENGTHS)
    assert corpus.records["id"].tolist() == ["a", "b", "again", "c", "d"]
    assert corpus.summary["repeated"] == {"exact duplicate": 1, "same sequence, different label": 1}
    lines = list(describe(corpus.summary))
    for what in corpus.summary["repeated"]:
        assert f"repeated 1: {what} (kept)" in lines


@pytest.mark.parametrize(
    ("learnt", "different"), [(("y",), 1), (("z",), 0), (("y", "z"), 1), (None, 2)]
)
def test_repeats_with_other_targets_are_counted_separately(tmp_path, learnt, different):
    table = "id,sequence,y,z,name\na,ACGT,1,5,first\nb,ACGT,2,5,first\nc,ACGT,1,5,second\n"
    (tmp_path / "s.csv").write_text(table)
    (tmp_path / "s.fa").write_text(">a\nACGT\n>b\nACGT\n>c\nACGT\n")
    counts = {"same sequence, different targets": different, "exact duplicate": 2 - different}
    for name, targets in (("s.csv", None), ("s.fa", tmp_path / "s.csv")):
        corpus = ingested([tmp_path / name], tmp_path / "corpus", targets, learnt=learnt)
        assert corpus.records["id"].tolist() == ["a"]
        dropped = {what.split(" (")[0]: n for what, n in corpus.summary["dropped"].items()}
        assert dropped == +Counter(counts)
    kept = ingested([tmp_path / "s.csv"], tmp_path / "kept", learnt=learnt, repeats="count")
    assert kept.summary["repeated"] == +Counter(counts)


@pytest.mark.parametrize(("numbers", "missing"), [(("y",), 2), ((), 1)])
def test_record_without_a_value_keeps_no_copy_out(tmp_path, numbers, missing):
    table = "id,sequence,y\na,ACGT,NA\nb,ACGT,1\nc,ACGT,2\nd,ACGG,\ne,ACGT,n.d.\n"
    (tmp_path / "s.csv").write_text(table)
    (tmp_path / "s.fa").write_text(">a\nACGT\n>b\nACGT\n>c\nACGT\n>d\nACGG\n>e\nACGT\n")
    for name, targets in (("s.csv", None), ("s.fa", tmp_path / "s.csv")):
        rules = {"learnt": ("y",), "numbers": numbers}
        corpus = ingested([tmp_path / name], tmp_path / "corpus", targets, **rules)
        assert corpus.records["id"].tolist() == ["a", "b", "d"]
        assert corpus.summary["targets"]["empty"] == {"y": missing}


def test_fingerprint_follows_content_alone(corpus, files, tmp_path, monkeypatch):
    monkeypatch.setattr("selfattn_bio.data.corpus.ROWS", 2)
    monkeypatch.setattr("selfattn_bio.data.writer.ROWS", 2)
    again = ingested(files, tmp_path / "again", labels=(1, 0), assembly="made up", **LENGTHS)
    assert again.fingerprint == corpus.fingerprint == FINGERPRINT
    assert Corpus.open(again.path).records.equals(corpus.records)
    turned = ingested(files, tmp_path / "turned", labels=(0, 1), **LENGTHS)
    assert turned.fingerprint != corpus.fingerprint


def test_unlabelled_corpus_has_no_labels(files, tmp_path):
    assert ingested(files[1:], tmp_path / "corpus").records["label"].isna().all()


OF_PROTEIN = {"alphabet": PROTEIN}


@pytest.mark.parametrize(
    ("texts", "rules", "message"),
    [
        (["NNN", "NN"], {}, "no record is left of 2: 2 with only N"),
        (["XX"], OF_PROTEIN, "no record is left of 1: 1 with only X"),
        (
            ["ACG", "NNNN"],
            {"min_length": 4},
            "is left of 2: 1 shorter than 4 bp, 1 with only N. Change the length",
        ),
        (
            ["ACGT" * 5],
            OF_PROTEIN,
            'so they are DNA, not protein. Use alphabet = "dna" or "rna" in [data]',
        ),
    ],
)
def test_empty_corpus_is_an_error_and_leaves_no_files(texts, rules, message, tmp_path):
    with pytest.raises(SequenceFileError, match=re.escape(message)):
        ingested([fasta(tmp_path / "a.fa", *texts)], tmp_path / "corpus", **rules)
    assert [part.name for part in tmp_path.iterdir()] == ["a.fa"]


def test_error_keeps_the_existing_corpus(corpus, files, tmp_path):
    files[1].write_text(">c\nACGT\n>d\n")
    with pytest.raises(SequenceFileError, match="record 'd' has no sequence"):
        ingested(files[1:], corpus.path)
    assert Corpus.open(corpus.path).fingerprint == corpus.fingerprint
    names = sorted(part.name for part in tmp_path.iterdir())
    assert names == ["corpus", "negatives.fa", "positives.fa"]


def test_full_disk_names_the_folder_and_leaves_no_files(files, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(parquet.ParquetWriter, "write_table", fail)
    with pytest.raises(OSError, match="No space left on device") as caught:
        ingested(files[:1], tmp_path / "corpus")
    assert caught.value.filename == str(tmp_path / "corpus")
    assert sorted(part.name for part in tmp_path.iterdir()) == ["negatives.fa", "positives.fa"]


def test_other_folder_is_not_replaced(files, tmp_path):
    message = r"not replaced: it contains 'negatives\.fa', which is not part of the corpus"
    before = files[1].read_bytes()
    with pytest.raises(OutputError, match=message):
        ingested(files[:1], tmp_path)
    with pytest.raises(OutputError, match="the corpus cannot replace a file"):
        ingested(files[:1], files[1])
    assert files[1].read_bytes() == before


def test_corpus_marked_by_snakemake_may_be_replaced(corpus, files):
    (corpus.path / ".snakemake_timestamp").touch()
    assert len(ingested(files[1:], corpus.path)) == 2


def test_targets_follow_record_order(files, tmp_path):
    text = "id\tx\tkind\tnote\nb\t2.5\told\tq\na\t1\t\t\nnobody\t3\tnew\tq\n"
    corpus = with_targets(files, tmp_path, text, learnt=("x", "kind"))
    assert corpus.summary["targets"]["columns"] == ["x", "kind", "note"]
    ids = corpus.records["id"].tolist()
    targets = corpus.targets(["x", "kind"]).set_index(pd.Index(ids))
    assert targets.loc["a", "x"] == "1"
    assert pd.isna(targets.loc["a", "kind"])
    assert targets.loc["b"].tolist() == ["2.5", "old"]
    assert targets.drop(index=["a", "b"]).isna().all().all()
    lines, empty = list(describe(corpus.summary)), len(ids) - 2
    x, kind = (
        f"'1' 1, '2.5' 1, missing for {empty} records",
        f"'old' 1, missing for {empty + 1} records",
    )
    assert f"targets: x ({x}), kind ({kind})" in lines
    assert "left out the targets of 1 id without a kept record, such as 'nobody'" in lines


def test_targets_are_part_of_the_fingerprint(files, tmp_path):
    first = with_targets(files, tmp_path, "id,x\na,1\n", "targets.csv").fingerprint
    assert with_targets(files, tmp_path, "id,x\na,1\n", "targets.csv").fingerprint == first
    assert with_targets(files, tmp_path, "id,x\na,2\n", "targets.csv").fingerprint != first
    pd.DataFrame({"x": [9]}).to_parquet(tmp_path / "corpus" / "targets.parquet")
    with pytest.raises(CorpusError, match="the corpus was altered: fingerprint is"):
        Corpus.open(tmp_path / "corpus")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name\tx\na\t1\n", "the column id and another one; the columns are name, x. Separate"),
        ("id\na\n", "the column id and another one; the columns are id. Separate"),
        ("id,x\na,1\n", "the columns are id,x. Separate columns by tabs in a .tsv and by commas"),
        (
            "id\tx\na\t1\nb\t1\na\t2\n",
            r"targets\.tsv:4: duplicate id 'a' in the table of targets\. Keep one row",
        ),
        ('id\t"x\ny"\na\t1\n', r"targets\.tsv: .*: line break in the name of column 2, 'x\\ny'"),
        ("id\tx\nz\t1\n", r"\(ids such as 'z', records such as 'a'\)\. Write the ids of"),
    ],
)
def test_unfit_targets(files, tmp_path, text, message):
    with pytest.raises(CorpusError, match=message):
        with_targets(files, tmp_path, text)
    assert not (tmp_path / "corpus").exists()


def test_sequence_table_columns_join_other_targets(files, tmp_path):
    table = tmp_path / "a.csv"
    table.write_text("id,sequence,x,y\na,ACGT,1,\nb,ACGG,,\n")
    own = ingested([files[1], table], tmp_path / "own", learnt=("x", "y"))
    found = own.targets(["x", "y"]).fillna("-").to_numpy().tolist()
    assert found == [["-", "-"], ["-", "-"], ["1", "-"], ["-", "-"]]
    line = "targets: x ('1' 1, missing for 3 records), y (missing for 4 records)"
    assert line in describe(own.summary)
    # Columns of the records are kept as well
    joined = with_targets([table], tmp_path, "id\tz\na\t9\n")
    assert joined.targets(["z", "x"]).iloc[0].tolist() == ["9", "1"]
    assert joined.summary["targets"]["columns"] == ["z", "x", "y"]
    same = ingested([table], tmp_path / "same", table)
    assert same.summary["targets"]["columns"] == ["x", "y"]
    named = tmp_path / "named.csv"
    named.write_text("Name,Seq,x\na,ACGT,1\n")
    source = SequenceFile(named, fields=Fields(columns={"id": "Name", "sequence": "Seq"}))
    joined = build_corpus([source], tmp_path / "named", RecordRules(DNA), named)
    assert joined.summary["targets"]["columns"] == ["x"]
