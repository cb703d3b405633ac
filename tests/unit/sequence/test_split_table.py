"""Test reading and describing split tables."""

import pandas as pd
import pytest

from selfattn_bio.errors import CorpusError, SequenceFileError
from selfattn_bio.sequence.split_table import describe, read_split


def test_read_split_checks_the_records(tmp_path):
    path = tmp_path / "split.tsv"
    path.write_text("id\tsplit\treason\nNA\ttrain\tx\nb\ttest\ty\n")
    assert read_split(path, ["NA", "b"]) == ["train", "test"]
    with pytest.raises(CorpusError, match="no such split table"):
        read_split(tmp_path / "absent.tsv", [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "id\tsplit\treason\nNA\ttrain\tx\nb\ttest\ty\n",
            r"the split table does not match the corpus \(2 and 1 records\): record ",
        ),
        (
            "id\tsplit\treason\na\ttrian\tx\n",
            r"split\.tsv:2: unknown split 'trian' \(expected train, valid, test or dropped\)",
        ),
        ('id\tsplit\t"rea\nson"\na\ttrain\tx\n', r"tsv:1: line break in the name of column 3"),
        ("", r"not a split table \(TSV with columns id, split, reason\)"),
        ("id,split\n", r"not a split table"),
    ],
)
def test_unfit_split_table(tmp_path, text, message):
    (tmp_path / "split.tsv").write_text(text)
    with pytest.raises((CorpusError, SequenceFileError), match=message):
        read_split(tmp_path / "split.tsv", ["a"])


def test_describe_counts_splits_and_positives():
    split = pd.DataFrame({"split": ["train", "train", "test"]})
    assert describe(split, pd.Series(pd.array([1, 0, 1], dtype="Int8")))[::2] == [
        "train: 2 records (1 positive)",
        "test: 1 record (1 positive)",
    ]
