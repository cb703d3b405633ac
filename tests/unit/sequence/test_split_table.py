"""Test split tables, and that records with the same sequence leave train and valid."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from letters import ascii_of

from selfattn_bio.errors import CorpusError, SequenceFileError
from selfattn_bio.sequence import split_table
from selfattn_bio.sequence.alphabet import DNA, PROTEIN
from selfattn_bio.sequence.split_table import (
    describe,
    describe_copies,
    find_copies,
    read_split,
    remove_copies,
    strand_keys,
)
from selfattn_bio.split_names import SPLITS


def keys_of(*texts, alphabet=DNA):
    return strand_keys(map(ascii_of, texts), alphabet)


@pytest.mark.parametrize("piece", [1, 3, 8, 1000])
def test_keys_are_the_same_in_pieces_of_any_size(monkeypatch, piece):
    monkeypatch.setattr(split_table, "PIECE", piece)
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("ACGTN"), length)) for length in (1, 7, 8, 9, 64)]
    for text in [*texts, "ACGTACGT", "AAAAAAAAAC"]:  # ACGTACGT is its own reverse complement
        row = ascii_of(text)
        first = min(row.tobytes(), DNA.reverse_complement(row).tobytes())
        assert keys_of(text) == [hashlib.sha256(first).digest()]
        assert keys_of(text, alphabet=PROTEIN) == [hashlib.sha256(row.tobytes()).digest()]


def test_copies_leave_train_and_valid_but_never_a_given_test():
    assigned = ["train"] * 4 + ["valid"] * 3 + ["test"] * 2 + ["dropped"]
    texts = ["ACAA", "AACA", "AAAC", "AAAC", "TTGT", "AACA", "AACA", "ACAA", "ACAA", "ACAA"]
    split = pd.DataFrame({"id": [f"r{i}" for i in range(10)], "split": assigned, "reason": "set"})
    labels = pd.DataFrame({"label": [1, 1, 0, 1, 1, 1, 1, 1, 0, 1]})
    copies = find_copies(split, keys_of(*texts), texts, labels)
    assert copies.index.tolist() == [0, 1, 3, 4, 6, 8]
    removed = remove_copies(split, copies, ["train", "valid"])
    expected = "dropped dropped train dropped dropped valid dropped test test dropped"
    assert " ".join(removed["split"]) == expected
    assert removed["reason"][[0, 1, 3, 4, 6, 8]].tolist() == [
        "removed from train: same sequence as r7 in test",
        "removed from train: same sequence as r5 in valid",
        "removed from train: same sequence as r2 in train, different label",
        "removed from valid: same sequence as r7 in test",  # on the other strand
        "removed from valid: same sequence as r5 in valid",
        "set",
    ]
    assert describe_copies(copies, ["train", "valid"]) == [
        "removed from train: 3 duplicates (1 also in test, 1 also in valid, 1 repeated in train); "
        "1 has the same sequence but a different label",
        "removed from valid: 2 duplicates (1 also in test, 1 repeated in valid)",
        "kept in test: 1 duplicate (1 repeated in test); 1 has the same sequence but a different "
        "label",
    ]
    assert remove_copies(split, copies, []).equals(split)
    assert remove_copies(split, copies, SPLITS)["reason"][8].startswith("removed from test: same")


def test_reverse_complement_within_train_is_not_a_copy():
    split = pd.DataFrame({"id": ["a", "b"], "split": ["train", "train"], "reason": "set"})
    texts = ["ACAA", "TTGT"]
    assert find_copies(split, keys_of(*texts), texts, pd.DataFrame({"label": [1, 1]})).empty


def test_copies_with_other_targets_are_counted():
    split = pd.DataFrame({"id": list("abcd"), "split": ["train"] * 3 + ["test"], "reason": "set"})
    answers = pd.DataFrame({"y": ["1", None, None, "2"], "z": ["0"] * 4})
    copies = find_copies(split, [b"x", b"y", b"y", b"x"], list("xyyx"), answers)
    assert copies["different"].to_dict() == {0: True, 2: False}
    reason = remove_copies(split, copies, ["train"], "targets")["reason"][0]
    assert reason.endswith("same sequence as d in test, different targets")


TABLE = "id\tsplit\treason\nNA\ttrain\tx\nb\ttest\ty\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TABLE, r"the split table does not match the corpus \(2 and 1 records\): record "),
        (TABLE.replace("train", "trian"), "split.tsv:2: unknown split 'trian' .expected train, va"),
        (TABLE.replace("reason", '"rea\nson"'), "tsv:1: line break in the name of column 3"),
        ("", r"not a split table \(TSV with columns id, split, reason\)"),
        ("id,split\n", "not a split table"),
        (None, "no such split table"),
    ],
)
def test_read_split_checks_the_records(tmp_path, text, message):
    path = tmp_path / "split.tsv"
    path.write_text(TABLE)
    assert read_split(path, ["NA", "b"]) == ["train", "test"]
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises((CorpusError, SequenceFileError), match=message):
        read_split(path, ["a"])


def test_describe_counts_splits_and_positives():
    split = pd.DataFrame({"split": ["train", "train", "test"]})
    train, _, test, _ = describe(split, pd.Series(pd.array([1, 0, 1], dtype="Int8")))
    assert (train, test) == ("train: 2 records (1 positive)", "test: 1 record (1 positive)")
