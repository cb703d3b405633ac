"""Test records of odd files, which odd_*.py describe, of damaged ones, of several, and of texts."""

import importlib
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
from odd import Odd
from odd_intervals import genome_beside
from odd_vcf import HEADER, LINE

from selfattn_bio.errors import SelfAttnBioError, SequenceFileError
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.policy import SequencePolicy
from selfattn_bio.sequence.readers import SequenceFile, read_records
from selfattn_bio.sequence.records import ReadSummary
from selfattn_bio.sequence.vcf import VcfFile

TABLES = sorted(path.stem for path in Path(__file__).parent.glob("odd_*.py"))
FILES = {table: importlib.import_module(table).ODD_FILES for table in TABLES}
CASES = [
    pytest.param(odd, id=f"{table.removeprefix('odd_')}: {title}")
    for table, files in FILES.items()
    for title, odd in files
]


@pytest.mark.parametrize("odd", CASES)
def test_odd_file_gives_documented_result(odd: Odd, tmp_path):
    path = odd.create(tmp_path)
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


TOKENS = [bytes([byte]) for byte in b'>@\n\r\0",\t#. -;*']
TOKENS += [b"//", b"ORIGIN", b"\xff\xfe", b"start=9", b"9" * 20, b"chr1", b"1e9", b"<DEL>"]


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Apply one to three changes: change, cut or insert bytes, swap lines, or truncate."""
    for _ in range(rng.integers(1, 4)):
        # more often near the end: many damaged headers would hide damaged records
        at, size = round((1 - rng.random() ** 2) * len(content)), int(rng.integers(1, 9))
        before, behind, lines = content[:at], content[at:], content.split(b"\n")
        i, j = rng.integers(len(lines), size=2)
        lines[i], lines[j] = lines[j], lines[i]
        changes = [
            before + rng.bytes(1) + behind[1:],
            before + behind[size:],
            before + rng.bytes(size) + behind,
            before + TOKENS[rng.integers(len(TOKENS))] + behind,
            b"\n".join(lines),
            before,
        ]
        content = changes[rng.integers(len(changes))]
    return content


@pytest.mark.parametrize("table", TABLES)
def test_damaged_file_gives_records_or_known_error(table, tmp_path):
    """Every odd file that can be read is damaged at random, thousands of files in all."""
    rng, errors, num_files = np.random.default_rng(zlib.crc32(table.encode())), [], 0
    readable = [odd for _, odd in FILES[table] if not isinstance(odd.expected, str)]
    for odd in readable:
        content = odd.create(tmp_path).read_bytes()
        for _ in range(25 if len(content) < 5000 else 1):
            for left in tmp_path.glob("*odd*"):
                left.unlink()
            path = tmp_path / odd.name
            path.write_bytes(damaged(content, rng))
            num_files += 1
            try:
                odd.read(path)
            except SelfAttnBioError as error:
                errors.append(str(error))
    assert 0.1 * num_files < len(errors) < 0.95 * num_files
    assert not [error for error in errors if "\n" in error or str(tmp_path) not in error]


def test_ids_are_unique_over_files_with_one_summary(tmp_path):
    for name in ("one.fa", "two.fa"):
        (tmp_path / name).write_text(">a\nACGT\n")
    summary, policy = ReadSummary(), SequencePolicy(DNA)
    list(SequenceFile(tmp_path / "one.fa").records(policy, summary))
    message = r"two\.fa:1: record id 'a' is used twice \(first in .*one\.fa:1\)"
    with pytest.raises(SequenceFileError, match=message):
        list(SequenceFile(tmp_path / "two.fa").records(policy, summary))


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


def test_vcf_can_be_read_again_and_keeps_its_text(tmp_path):
    lines, path = [LINE, LINE.replace("chr1\t1", "chr1\t5")], tmp_path / "a.vcf"
    path.write_text(HEADER + "".join(lines))
    with genome_beside(path) as genome:
        variants = VcfFile(path, genome)
        assert variants.header == HEADER.splitlines()
        for _ in range(2):
            assert ["\t".join(v.fields) + "\n" for v in variants] == lines
            assert [v.place for v in variants] == [f"{path}:3", f"{path}:4"]
