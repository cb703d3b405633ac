"""Tests of the sources of [data]: files by split, numbered ids, and splits in FASTA headers."""

import pytest
from commands import exit_code

from selfattn_bio import config, ingest_files
from selfattn_bio.errors import SequenceFileError


def test_files_of_each_split_may_have_different_formats(ingest, capsys):
    corpus = ingest(
        '[data]\ntrain = ["a.csv", "b.fa"]\nvalid = "v.fa"\ntest = "t.tsv"\nlabel = "label"\n',
        a_csv="sequence,label\nACGT,1\nACGG,0\n",
        b_fa=">b label=1\nACGC\n",
        v_fa=">v label=0\nACTT\n",
        t_tsv="id\tsequence\tlabel\tsplit\nt\tACGT\t1\ttrain\n",  # the column split is ignored here
    )
    assert corpus.records["id"].tolist() == ["a_1", "a_2", "b", "v", "t"]
    assert corpus.records["label"].tolist() == [1, 0, 1, 0, 1]
    assert " ".join(corpus.column(config.FilesSplit.column)) == "train train train valid test"
    splits = [source["split"] for source in corpus.summary["sources"]]
    assert splits == ["train", "train", "valid", "test"]
    assert "repeated 1: exact duplicate (kept)" in capsys.readouterr().out


def test_windows_of_each_split(ingest, capsys):
    genome = "".join("ACGT"[i * i % 7 % 4] for i in range(90))
    corpus = ingest(
        '[data]\ngenome = "g.fa"\nids = "numbered"\ntrain = "a.bed"\ntest = "t.bed"\nlabel = { '
        'kind = "score", threshold = 5 }\n',
        g_fa=f">c\n{genome}\n",
        a_bed="c\t0\t20\tx\t9\t+\nc\t20\t40\ty\t1\t+\n",
        t_bed="c\t0\t20\tx\t9\t+\nc\t60\t90\tz\t1\t-\n",  # its first window is also in train
    )
    assert corpus.records["id"].tolist() == ["a_1", "a_2", "t_1", "t_2"]
    assert corpus.column(config.FilesSplit.column).tolist() == ["train", "train", "test", "test"]
    # train and valid lack records of a class, so no split is written
    assert exit_code("split .") == 1
    assert "removed from train: 1 duplicate (1 also in test)" in capsys.readouterr().out


def test_split_of_headers_is_read_with_any_name(ingest):
    data = 'data = { positives = "p.fa", negatives = { kind = "shuffled" } }\n'
    text = ">a my.set=train mymset=no\nACGTACGTTT\n>b my.set=test\nACGTTGCATT\n"
    corpus = ingest(f'{data}split = {{ kind = "column", column = "my.set" }}\n', p_fa=text)
    assert corpus.records["id"].tolist() == ["a", "b", "a/shuffled1", "b/shuffled1"]
    assert corpus.column("my.set").tolist() == ["train", "test", "train", "test"]
    assert corpus.summary["targets"]["columns"] == []  # the split is not a target


def test_numbered_ids_of_files_with_repeated_and_missing_ids(ingest):
    corpus = ingest(
        '[data]\nids = "numbered"\npositives = ["x/s.fa", "y/s.fa"]\nnegatives = "n.csv"\n',
        x__s_fa=">DNA\nACGT\n>DNA chrom=c\nACGG\n",
        y__s_fa="> 6400\nACGC\n>\nACCC\n",
        n_csv="id,sequence\na,TTTT\na,TTTG\n",
    )
    assert corpus.records["id"].tolist() == ["s_1", "s_2", "s.2_1", "s.2_2", "n_1", "n_2"]
    assert corpus.records["chrom"][1] == "c"


def test_errors_of_numbered_records_have_the_id_of_the_file(here):
    (here / "p.fa").write_text(">a\nACGT\n>a\nAC-T\n")
    message = r"p\.fa:4: invalid character '-' in record 'a' .* in FASTA with sed "
    with pytest.raises(SequenceFileError, match=message):
        ingest_files("p.fa", "corpus", "dna", ids="numbered")


def test_numbered_ids_of_partners_in_a_column(ingest):
    corpus = ingest(
        '[data]\nids = "numbered"\nsequences = ["x/s.csv", "y/s.csv"]\nlabel = "label"\n'
        '[partner]\nkind = "sequence"\ncolumn = "other"\n[model]\nkind = "paired"\n',
        x__s_csv="id,sequence,other,label\na,ACGT,AAAA,1\na,ACGT,CCCC,0\n",
        y__s_csv="id,sequence,other,label\na,ACGT,GGGG,1\n",
    )
    assert corpus.records["id"].tolist() == ["s_1", "s_2", "s.2_1"]
    letters = [corpus.partner_letters(row).tobytes() for row in range(3)]
    assert letters == [b"AAAA", b"CCCC", b"GGGG"]
