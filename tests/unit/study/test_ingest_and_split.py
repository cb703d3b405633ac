"""Ingest and split in Python: results, progress, and errors that name the run file."""

import os

import pandas as pd
import pytest

import selfattn_bio as sb
from selfattn_bio.errors import ArgumentError, CorpusError
from selfattn_bio.sequence.alphabet import DNA


@pytest.fixture
def task(two_classes):
    """Return a run file of 30 positives and 30 negatives on three chromosomes."""
    return sb.read_run_file("run.toml")


def test_ingest_and_split_return_what_they_write(task, caplog):
    caplog.set_level("INFO", "selfattn_bio")
    corpus = sb.ingest(task, "corpus")
    split = sb.split(task, corpus, "out/split.tsv")
    assert caplog.messages == [
        "read 60 records from 2 files",
        "kept 60 records with 1,800 bp",
        "train: 20 records (10 positive)",
        "valid: 20 records (10 positive)",
        "test: 20 records (10 positive)",
        "dropped: 0 records (0 positive)",
    ]
    assert repr(corpus) == "Corpus of 60 records, 1,800 bp, in corpus"
    assert repr(task) == "RunFile 'run': binary, p.fa, n.fa, model attention"
    assert str(task) == repr(task)
    many = task.model_copy(
        update={"data": task.data.model_copy(update={"positives": ("a", "b", "c", "d")})}
    )
    assert repr(many) == "RunFile 'run': binary, a, b, c, 2 more files, model attention"
    opened = sb.Corpus.open("corpus")
    assert opened._repr_html_().count("<tr") == 1 + 5
    assert opened.fingerprint == corpus.fingerprint
    pd.testing.assert_frame_equal(opened.records, corpus.records)
    assert split.counts == {"train": 20, "valid": 20, "test": 20, "dropped": 0}
    assert repr(split) == "Split of 60 records: 20 train, 20 valid, 20 test, 0 dropped"
    assert os.fspath(split) == "out/split.tsv"
    pd.testing.assert_frame_equal(pd.read_csv(split, sep="\t", keep_default_na=False), split.table)


def test_unknown_column_of_the_objective_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [f"r{i},{'ACGT' * 5},{i / 7},{i}" for i in range(9)]
    (tmp_path / "t.csv").write_text("\n".join(["id,sequence,heart,liver", *rows]))
    (tmp_path / "run.toml").write_text(
        '[data]\nsequences = "t.csv"\ntargets = "t.csv"\n'
        '[objective]\nkind = "regression"\ncolumns = ["hart"]\n'
    )
    message = r"run.toml:6: no column 'hart' in the targets .*\. Did you mean 'heart'\?"
    with pytest.raises(CorpusError, match=message):
        sb.ingest(sb.read_run_file("run.toml"), "corpus")


def test_steps_are_silent_by_default(task, capsys):
    sb.split(task, sb.ingest(task, "corpus"), "split.tsv")
    assert capsys.readouterr().out == ""


def test_ingest_files_equals_a_run_file(task):
    corpus = sb.ingest_files(["p.fa", "n.fa"], "files", "dna", labels=[1, 0])
    assert corpus.fingerprint == sb.ingest(task, "corpus").fingerprint
    unlabelled = sb.ingest_files("p.fa", "numbered", "dna", ids="numbered")
    assert unlabelled.records["id"].iloc[0] == "p_1"
    assert unlabelled.records["label"].isna().all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": [1]}, "2 files need 2 labels, not 1"),
        ({"header": "("}, "is not a valid regular expression"),
    ],
)
def test_ingest_files_argument_errors(task, arguments, message):
    with pytest.raises(ArgumentError, match=message):
        sb.ingest_files(["p.fa", "n.fa"], "files", "dna", **arguments)


def test_ingest_files_with_rules_and_columns(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text("id,seq,kind\na,ACGTAC,tss\nb,ACGTAC,no\nc,ACGT,no\n")
    rules = sb.RecordRules(DNA, "dm3", min_length=5, repeats="count")
    corpus = sb.ingest_files(
        ["t.csv"], "corpus", rules, labels="kind", positive=["tss"], sequence_column="seq"
    )
    assert corpus.records["id"].tolist() == ["a", "b"]
    assert corpus.records["label"].tolist() == [1, 0]
    assert corpus.summary["assembly"] == "dm3"


def test_lengths_of_rules_are_in_order():
    with pytest.raises(ArgumentError, match="min_length 9 is larger than max_length 8"):
        sb.RecordRules(DNA, min_length=9, max_length=8)


def test_split_error_names_run_file_and_corpus(task, tmp_path):
    (tmp_path / "run.toml").write_text(
        (tmp_path / "run.toml").read_text().split("[split]")[0] + '[split]\nkind = "column"\n'
    )
    column = sb.read_run_file("run.toml")
    corpus = sb.ingest(column, "corpus")
    with pytest.raises(CorpusError, match=r"run\.toml:5: no column 'split' in the corpus"):
        sb.split(column, corpus, "split.tsv")
    positives = sb.ingest_files(["p.fa"], "positives", "dna", labels=[1])
    with pytest.raises(CorpusError, match="positives: all 30 records have label 1"):
        sb.split(task, positives, "split.tsv")
    assert not (tmp_path / "split.tsv").exists()
