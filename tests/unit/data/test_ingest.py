"""Test reading sequences into a corpus: rules, counts, targets, errors."""

import errno
import json
from collections import Counter

import pandas as pd
import pytest
from pyarrow import parquet
from small_corpus import NEGATIVES, ingested, with_targets, write_files

from selfattn_bio.data.corpus import Corpus
from selfattn_bio.data.ingest import build_corpus, describe
from selfattn_bio.data.writer import RecordRules
from selfattn_bio.errors import CorpusError, OutputError, SequenceFileError
from selfattn_bio.sequence.alphabet import DNA, PROTEIN
from selfattn_bio.sequence.readers import SequenceFile
from selfattn_bio.sequence.readers.fields import Fields

# Fingerprint of the two files with the rules of `corpus`; it must not change with the reader
FINGERPRINT = "3e6801e76b9aafe88960d4b3d04696e9d28042d36260bb3c59f2a31e603e93af"


@pytest.fixture
def files(tmp_path):
    return write_files(tmp_path)


def test_dna_among_proteins_is_refused(tmp_path):
    for name, letters in (("p.fa", "MKVLAAG"), ("n.fa", "ACGTT" * 6)):
        (tmp_path / name).write_text(f">{name}\n{letters}\n")
    message = (
        r"n.fa: this file is DNA \(only A, C, G, T, U and N\), but "
        rf"{tmp_path / 'p.fa'} is protein\. Use one alphabet for all files"
    )
    with pytest.raises(SequenceFileError, match=message):
        build_corpus(
            [(tmp_path / "p.fa", 1), (tmp_path / "n.fa", 0)],
            tmp_path / "corpus",
            RecordRules(PROTEIN),
        )
    for text, number in ((">n\nACGTACGTTACGTACGTTACGT\n>m\nMKV\n", 3), (">n\nGAAGA\n", 2)):
        (tmp_path / "n.fa").write_text(text)
        assert (
            len(
                build_corpus(
                    [(tmp_path / "p.fa", 1), (tmp_path / "n.fa", 0)],
                    tmp_path / "corpus",
                    RecordRules(PROTEIN),
                )
            )
            == number
        )


@pytest.fixture
def corpus(files, tmp_path):
    return ingested(files, tmp_path)


def test_summary_counts_what_was_read_dropped_and_noted(corpus, files):
    summary = json.loads((corpus.path / "corpus.json").read_text())
    assert summary["dropped"] == {
        "exact duplicate": 1,
        "only N": 1,
        "shorter than 6 bp": 1,
        "longer than 8 bp": 1,
        "same sequence, different label (the first is kept)": 1,
    }
    assert summary["noted"] == {"lower case": 1, "U in DNA": 1, "IUPAC codes": 2}
    assert [(source["path"], source["records"]) for source in summary["sources"]] == [
        (str(files[0]), 6),
        (str(files[1]), 2),
    ]
    assert list(describe(summary)) == [
        "read 8 records from 2 files",
        "dropped 1: exact duplicate",
        "dropped 1: only N",
        "dropped 1: shorter than 6 bp",
        "dropped 1: longer than 8 bp",
        "dropped 1: same sequence, different label (the first is kept)",
        "1 record with lower case",
        "1 record with U in DNA",
        "2 records with IUPAC codes",
        "kept 3 records with 22 bp",
    ]


def test_repeated_sequences_are_kept_and_counted(files, tmp_path):
    rules = RecordRules(DNA, "", min_length=6, max_length=8, repeats="count")
    corpus = build_corpus(zip(files, (1, 0), strict=True), tmp_path / "corpus", rules)
    assert corpus.records["id"].tolist() == ["a", "b", "again", "c", "d"]
    assert corpus.summary["repeated"] == {"exact duplicate": 1, "same sequence, different label": 1}
    assert [line for line in describe(corpus.summary) if line.startswith("repeated")] == [
        "repeated 1: exact duplicate (kept)",
        "repeated 1: same sequence, different label (kept)",
    ]


@pytest.mark.parametrize(
    ("learnt", "different"),
    [(("y",), 1), (("z",), 0), (("y", "z"), 1), (None, 2)],
)
def test_repeats_with_other_targets_are_counted_separately(tmp_path, learnt, different):
    table = "id,sequence,y,z,name\na,ACGT,1,5,first\nb,ACGT,2,5,first\nc,ACGT,1,5,second\n"
    (tmp_path / "s.csv").write_text(table)
    (tmp_path / "s.fa").write_text(">a\nACGT\n>b\nACGT\n>c\nACGT\n")
    rules, expected = (
        RecordRules(DNA, learnt=learnt),
        {"same sequence, different targets (the first is kept)": different},
    )
    own = build_corpus([(tmp_path / "s.csv", None)], tmp_path / "own", rules)
    joined = build_corpus(
        [(tmp_path / "s.fa", None)], tmp_path / "joined", rules, tmp_path / "s.csv"
    )
    for corpus in (own, joined):
        assert corpus.records["id"].tolist() == ["a"]
        assert corpus.summary["dropped"] == Counter(expected) + Counter(
            {"exact duplicate": 2 - different}
        )


def test_fingerprint_follows_content_alone(corpus, files, tmp_path):
    again = build_corpus(
        zip(files, (1, 0), strict=True),
        tmp_path / "again",
        RecordRules(DNA, "", min_length=6, max_length=8),
    )
    assert again.fingerprint == corpus.fingerprint
    turned = build_corpus(
        zip(files, (0, 1), strict=True),
        tmp_path / "turned",
        RecordRules(DNA, "", min_length=6, max_length=8),
    )
    assert turned.fingerprint != corpus.fingerprint


def test_unlabelled_corpus_has_no_labels(files, tmp_path):
    assert (
        build_corpus([(files[1], None)], tmp_path / "corpus", RecordRules(DNA))
        .records["label"]
        .isna()
        .all()
    )


@pytest.mark.parametrize(
    ("text", "rules", "message"),
    [
        (
            ">a\nNNN\n>b\nNN\n",
            RecordRules(DNA),
            "no record is left of 2: all contain only N",
        ),
        (
            ">a\nXX\n",
            RecordRules(PROTEIN),
            "no record is left of 1: all contain only X",
        ),
        (
            ">a\nACG\n>b\nNNNN\n",
            RecordRules(DNA, min_length=4),
            "no record is left of 2: 1 shorter than 4 bp, 1 only N",
        ),
        (
            ">a\nACGTACGTACGTACGTACGT\n",
            RecordRules(PROTEIN),
            "all records contain only A, C, G, T, U and N, so they are DNA, not protein. Use "
            'alphabet = "dna" in [data]',
        ),
    ],
)
def test_empty_corpus_is_an_error_and_leaves_no_files(text, rules, message, tmp_path):
    path = tmp_path / "a.fa"
    path.write_text(text)
    with pytest.raises(SequenceFileError) as caught:
        build_corpus([(path, 1)], tmp_path / "corpus", rules)
    assert message in str(caught.value)
    assert [part.name for part in tmp_path.iterdir()] == ["a.fa"]


def test_error_keeps_the_existing_corpus(corpus, files, tmp_path):
    files[1].write_text(">c\nACGT\n>d\n")
    with pytest.raises(SequenceFileError, match="record 'd' has no sequence"):
        build_corpus([(files[1], 0)], corpus.path, RecordRules(DNA))
    assert Corpus.open(corpus.path).fingerprint == corpus.fingerprint
    assert sorted(part.name for part in tmp_path.iterdir()) == [
        "corpus",
        "negatives.fa",
        "positives.fa",
    ]


def test_full_disk_names_the_folder_and_leaves_no_files(files, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(parquet.ParquetWriter, "write_table", fail)
    with pytest.raises(OSError, match="No space left on device") as caught:
        build_corpus([(files[0], 1)], tmp_path / "corpus", RecordRules(DNA))
    assert caught.value.filename == str(tmp_path / "corpus")
    assert sorted(part.name for part in tmp_path.iterdir()) == ["negatives.fa", "positives.fa"]


def test_other_folder_is_not_replaced(files, tmp_path):
    with pytest.raises(
        OutputError,
        match=r"the folder is not replaced: it contains 'negatives\.fa', which is not part of the "
        r"corpus",
    ):
        build_corpus([(files[0], 1)], tmp_path, RecordRules(DNA))
    with pytest.raises(OutputError, match="the corpus cannot replace a file"):
        build_corpus([(files[0], 1)], files[1], RecordRules(DNA))
    assert files[1].read_text() == NEGATIVES


def test_corpus_marked_by_snakemake_may_be_replaced(corpus, files):
    (corpus.path / ".snakemake_timestamp").touch()
    assert len(build_corpus([(files[1], 0)], corpus.path, RecordRules(DNA))) == 2


def test_targets_follow_record_order(files, tmp_path):
    corpus = with_targets(files, tmp_path, "id\tx\tkind\nb\t2.5\told\na\t1\t\nnobody\t3\tnew\n")
    ids = corpus.records["id"].tolist()
    targets = corpus.targets(["x", "kind"]).set_index(pd.Index(ids))
    assert targets.loc["a", "x"] == "1"
    assert pd.isna(targets.loc["a", "kind"])
    assert targets.loc["b"].tolist() == ["2.5", "old"]
    assert targets.drop(index=["a", "b"]).isna().all().all()
    lines = list(describe(corpus.summary))
    empty = len(ids) - 2
    assert f"targets: x (empty for {empty} records), kind (empty for {empty + 1} records)" in lines
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
        ("name\tx\na\t1\n", r"needs a column id and at least one more \(columns: 'name', 'x'\)"),
        ("id\na\n", r"needs a column id and at least one more \(columns: 'id'\)"),
        ("id,x\na,1\n", r"\(columns: 'id,x'\)\. Columns are separated by commas in \.csv"),
        (
            "id\tx\na\t1\nb\t1\na\t2\n",
            r"targets\.tsv:4: duplicate id 'a' in the table of targets",
        ),
        ('id\t"x\ny"\na\t1\n', r"targets\.tsv: .*: line break in the name of column 2, 'x\\ny'"),
        ("id\tx\nz\t1\n", r"\(ids such as 'z', records such as 'a'\)"),
    ],
)
def test_unfit_targets(files, tmp_path, text, message):
    with pytest.raises(CorpusError, match=message):
        with_targets(files, tmp_path, text)
    assert not (tmp_path / "corpus").exists()


def test_sequence_table_columns_join_other_targets(files, tmp_path):
    (tmp_path / "a.csv").write_text("id,sequence,x,y\na,ACGT,1,\nb,ACGG,,\n")
    own = build_corpus(
        [(files[1], None), (tmp_path / "a.csv", None)], tmp_path / "own", RecordRules(DNA)
    )
    assert own.targets(["x", "y"]).fillna("-").to_numpy().tolist() == [["-", "-"]] * 2 + [
        ["1", "-"],
        ["-", "-"],
    ]
    lines = list(describe(own.summary))
    assert "targets: x (empty for 3 records), y (empty for 4 records)" in lines
    (tmp_path / "t.tsv").write_text("id\tz\na\t9\n")
    joined = build_corpus(
        [(tmp_path / "a.csv", None)], tmp_path / "joined", RecordRules(DNA), tmp_path / "t.tsv"
    )
    assert joined.targets(["z"])["z"].tolist()[0] == "9"
    # Columns of the records are kept as well
    assert joined.targets(["x"])["x"].tolist()[0] == "1"
    with pytest.raises(
        CorpusError, match=r"no column 'w' in the targets \(columns: 'z', 'x', 'y'\)"
    ):
        joined.targets(["w"])
    same = build_corpus(
        [(tmp_path / "a.csv", None)], tmp_path / "same", RecordRules(DNA), tmp_path / "a.csv"
    )
    assert same.summary["targets"]["columns"] == ["x", "y"]
    (tmp_path / "named.csv").write_text("Name,Seq,x\na,ACGT,1\n")
    source = SequenceFile(
        tmp_path / "named.csv", fields=Fields(columns={"id": "Name", "sequence": "Seq"})
    )
    named = build_corpus([source], tmp_path / "named", RecordRules(DNA), tmp_path / "named.csv")
    assert named.summary["targets"]["columns"] == ["x"]


def test_fingerprint_does_not_depend_on_chunk_size(corpus, files, tmp_path, monkeypatch):
    monkeypatch.setattr("selfattn_bio.data.corpus.ROWS", 2)
    monkeypatch.setattr("selfattn_bio.data.writer.ROWS", 2)
    again = build_corpus(
        zip(files, (1, 0), strict=True),
        tmp_path / "again",
        RecordRules(DNA, "made up", min_length=6, max_length=8),
    )
    assert again.fingerprint == corpus.fingerprint == FINGERPRINT
    assert Corpus.open(again.path).records.equals(corpus.records)
