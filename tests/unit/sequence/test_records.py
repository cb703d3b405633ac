"""Test ids over several files, and lazy reading; odd_*.py has other file errors."""

from pathlib import Path

import pytest

from selfattn_bio.errors import SequenceFileError
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.policy import SequencePolicy
from selfattn_bio.sequence.readers import read_records
from selfattn_bio.sequence.records import ReadSummary


def test_ids_are_unique_over_files_read_with_the_same_notes(tmp_path):
    for name in ("one.fa", "two.fa"):
        (tmp_path / name).write_text(">a\nACGT\n")
    notes = ReadSummary()
    list(read_records(tmp_path / "one.fa", DNA, notes))
    with pytest.raises(
        SequenceFileError, match=r"two\.fa:1: record id 'a' is used twice \(first in .*one\.fa:1\)"
    ):
        list(read_records(tmp_path / "two.fa", DNA, notes))


def test_bases_of_a_string():
    assert SequencePolicy(DNA).letters_of("acgU").tobytes() == b"ACGT"
    with pytest.raises(
        ValueError,
        match=r"invalid character 'E' and 1 more in sequence \(expected IUPAC DNA codes\)",
    ):
        SequencePolicy(DNA).letters_of("ACEEG")
    with pytest.raises(ValueError, match=r"^sequence is empty$"):
        SequencePolicy(DNA).letters_of("")


def test_records_come_one_at_a_time(tmp_path: Path):
    path = tmp_path / "a.fa"
    path.write_text(">a\nACGT\n>b\n!\n")
    records = read_records(path, DNA)
    assert next(records).id == "a"
    with pytest.raises(SequenceFileError):
        next(records)
