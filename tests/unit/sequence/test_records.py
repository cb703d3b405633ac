"""Test records of odd files, which odd_*.py describe, of several files, and of texts."""

import importlib
import re
from pathlib import Path

import pytest
from odd import Odd

from selfattn_bio.errors import SelfAttnBioError, SequenceFileError
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.policy import SequencePolicy
from selfattn_bio.sequence.readers import read_records
from selfattn_bio.sequence.records import ReadSummary

CASES = [
    pytest.param(odd, id=f"{table.stem.removeprefix('odd_')}: {title}")
    for table in sorted(Path(__file__).parent.glob("odd_*.py"))
    for title, odd in importlib.import_module(table.stem).ODD_FILES
]


@pytest.mark.parametrize("odd", CASES)
def test_odd_file_gives_documented_result(odd: Odd, tmp_path):
    path = tmp_path / odd.name
    if callable(odd.content):
        odd.content(path)
    else:
        path.write_bytes(odd.content)
    if not isinstance(odd.expected, str):
        assert odd.read(path) == odd.expected
        return
    with pytest.raises(SelfAttnBioError) as caught:
        odd.read(path)
    place = "{path}:" if odd.expected[0].isdigit() else "{path}: "
    promised = odd.expected if odd.expected[0] == "{" else place + odd.expected
    promised = promised.replace("{path}", str(path)).replace("{folder}", str(tmp_path))
    assert re.fullmatch(".+".join(map(re.escape, promised.split("<...>"))), str(caught.value)), (
        f"{caught.value!s}\n{promised}"
    )
    assert "\n" not in str(caught.value)
    assert not Path(f"{path}.fai").exists()


def test_ids_are_unique_over_files_with_one_summary(tmp_path):
    for name in ("one.fa", "two.fa"):
        (tmp_path / name).write_text(">a\nACGT\n")
    summary = ReadSummary()
    list(read_records(tmp_path / "one.fa", DNA, summary))
    message = r"two\.fa:1: record id 'a' is used twice \(first in .*one\.fa:1\)"
    with pytest.raises(SequenceFileError, match=message):
        list(read_records(tmp_path / "two.fa", DNA, summary))


def test_bases_of_a_string():
    assert SequencePolicy(DNA).letters_of("acgU").tobytes() == b"ACGT"
    for text, message in (("ACEEG", "'E' and 1 more in sequence"), ("", "^sequence is empty$")):
        with pytest.raises(ValueError, match=message):
            SequencePolicy(DNA).letters_of(text)


def test_records_come_one_at_a_time(tmp_path):
    (tmp_path / "a.fa").write_text(">a\nACGT\n>b\n!\n")
    records = read_records(tmp_path / "a.fa", DNA)
    assert next(records).id == "a"
    with pytest.raises(SequenceFileError):
        next(records)
