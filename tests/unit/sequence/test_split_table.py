"""Test reading and describing split tables."""

import pandas as pd
import pytest

from selfattn_bio.errors import CorpusError, SequenceFileError
from selfattn_bio.sequence.split_table import describe, read_split


def test_read_split_checks_the_records(tmp_path):
    path = tmp_path / "split.tsv"
    path.write_text("id\tsplit\treason\nNA\ttrain\tx\nb\ttest\ty\n")
    assert read_split(path, ["NA", "b"]) == ["train", "test"]
    with pytest.raises(
        CorpusError, match=r"the split table does not match the corpus \(2 and 1 records\): record "
    ):
        read_split(path, ["b"])
    with pytest.raises(CorpusError, match="no such split table"):
        read_split(tmp_path / "absent.tsv", [])
    path.write_text("id\tsplit\treason\na\ttrian\tx\n")
    with pytest.raises(
        CorpusError,
        match=r"split\.tsv:2: unknown split 'trian' \(expected train, valid, test or dropped\)",
    ):
        read_split(path, ["a"])
    path.write_text('id\tsplit\t"rea\nson"\na\ttrain\tx\n')
    with pytest.raises(SequenceFileError, match=r"tsv:1: line break in the name of column 3"):
        read_split(path, ["a"])
    for text in ("", "id,split\n"):
        path.write_text(text)
        with pytest.raises(
            CorpusError, match=r"not a split table \(TSV with columns id, split, reason\)"
        ):
            read_split(path, ["a"])


def test_describe_counts_splits_and_positives():
    split = pd.DataFrame({"split": ["train", "train", "test"]})
    assert describe(split, pd.Series(pd.array([1, 0, 1], dtype="Int8")))[::2] == [
        "train: 2 records (1 positive)",
        "test: 1 record (1 positive)",
    ]
