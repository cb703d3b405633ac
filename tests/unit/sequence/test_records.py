"""Every promised error of a sequence file, in its place, and what is read and counted."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from selfattn_bio.errors import SequenceFileError
from selfattn_bio.sequence.alphabet import DNA, PROTEIN
from selfattn_bio.sequence.readers import read_records
from selfattn_bio.sequence.records import Notes, letters_of

GZ = gzip.compress(b">a\n" + np.random.default_rng(0).choice(list(b"ACGT"), 5000).astype(np.uint8).tobytes() + b"\n", mtime=0)
DNA_RULE = "letters must be dna (ACGT, ambiguous RYSWKMBDHVN; U is read as T), got "

# name: (bytes, ":line" of the place, message after it, cure)
BAD = {
    "empty file": (b"", "", "sequence file must hold records, got an empty file", ""),
    "empty gz": (gzip.compress(b""), "", "sequence file must hold records, got an empty file", ""),
    "blank lines only": (b"\n\n \n", "", "sequence file must hold records, got no '>' header", ""),
    "binary": (b">a\nACGT\x00\x01", "", "sequence file must be FASTA text, plain or gz, got binary data", ""),
    "gz in gz": (gzip.compress(GZ), "", "sequence file must be FASTA text, plain or gz, got binary data", ""),
    "UTF-16": (">a\nACGT".encode("utf-16"), "", "sequence file must be UTF-8 text, got UTF-16", "Save it as plain text (UTF-8)"),
    "FASTQ": (
        b"@r\nACGT\n+\nIIII\n",
        ":1",
        "sequence file must be FASTA ('>' headers), got FASTQ ('@' headers)",
        "Convert it, e.g. seqtk seq -A reads.fq",
    ),
    "FASTQ gz": (
        gzip.compress(b"@r\nACGT\n+\nIIII\n"),
        ":1",
        "sequence file must be FASTA ('>' headers), got FASTQ ('@' headers)",
        "Convert it, e.g. seqtk seq -A reads.fq",
    ),
    "letters first": (
        b"\nACGT\n>a\nACGT\n",
        ":2",
        "first line must be a '>' header, got 'ACGT'",
        "Put '>' and an id on a line before each sequence",
    ),
    "empty record": (
        b">a\nACGT\n>b\n>c\nA\n",
        ":3",
        "record must have letters, got an empty record 'b'",
        "Remove the header or add its sequence",
    ),
    "last record empty": (
        b">a\nAC\n\n>b\n\n",
        ":4",
        "record must have letters, got an empty record 'b'",
        "Remove the header or add its sequence",
    ),
    "no id": (b">\nACGT\n", ":1", "record must have an id right after '>', got '>'", ""),
    "blank before the id": (b"> a\nACGT\n", ":1", "record must have an id right after '>', got '> a'", ""),
    "same id": (
        b">a\nAC\n>b\nAC\n>a x\nGG\n",
        ":5",
        "record ids must be unique, got 'a' again (first in {path}:1)",
        "Rename or remove one",
    ),
    "foreign letter": (b">a\nACGT\n>b\nACGT\nACJT\n", ":5", DNA_RULE + "'J' in record 'b'", "Mend the letter, or remove the record"),
    "foreign letters": (
        b">b\r\nACGTACGTACGTACGTACGT\r\n\r\nA?GT!\r\n",
        ":4",
        DNA_RULE + "'?' (the first of 2) in record 'b'",
        "Mend the letter, or remove the record",
    ),
    "header within a line": (b">a\nACGT>b\nACGT\n", ":2", DNA_RULE + "'>' in record 'a'", "Mend the letter, or remove the record"),
    "not ASCII": (
        b">a\nAC\xc3\xa9GT\n",
        ":2",
        DNA_RULE + "byte 0xC3 (the first of 2) in record 'a'",
        "Mend the letter, or remove the record",
    ),
    "gaps": (b">a\nAC--GT\n", ":2", DNA_RULE + "'-' (the first of 2) in record 'a'", "Remove the gaps of the alignment"),
    "protein": (
        b">p\nMKVLAAGIVGLLLAQPSFE\n",
        ":2",
        DNA_RULE + "'L' (the first of 9) in record 'p'",
        'It looks like protein: declare it, --alphabet protein or alphabet = "protein" in [data]',
    ),
    "truncated gz": (GZ[: len(GZ) // 2], "", "gz file must be whole, got an end in the middle (truncated)", "Download or copy it again"),
    "truncated second block": (
        GZ + GZ[:60],
        "",
        "gz file must be whole, got an end in the middle (truncated)",
        "Download or copy it again",
    ),
    "header not UTF-8": (b">a \xe9\nACGT\n", ":1", "header must be UTF-8 text, got byte 0xE9", ""),
    "CR alone": (b">a\rACGT\r", ":1", "line ends must be LF or CRLF, got CR alone", "Convert it, e.g. tr '\\r' '\\n' < old.fa > new.fa"),
    "start no number": (b">a start=x end=4\nACGT\n", ":1", "start= in the header must be a whole number, got 'x'", ""),
    "start without end": (b">a start=4\nACGT\n", ":1", "start= and end= in the header must come together, got only start", ""),
    "strand": (b">a strand=f\nACGT\n", ":1", "strand= in the header must be + or -, got 'f'", ""),
    "chrom without value": (b">a chrom= x\nACGT\n", ":1", "chrom= in the header must be followed by a value, got ''", ""),
    "1-based coordinates": (
        b">a start=1 end=4\nACGT\n",
        ":1",
        "end - start in the header must equal the number of letters (4), got 4 - 1 = 3",
        "Coordinates are 0-based half-open",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_file_is_named_with_place_rule_and_cure(name, tmp_path):
    content, line, message, cure = BAD[name]
    path = tmp_path / "bad.fa"
    path.write_bytes(content)
    with pytest.raises(SequenceFileError) as caught:
        list(read_records(path, DNA))
    expected = f"{path}{line}: {message.format(path=path)}" + (f". {cure}" if cure else "")
    assert str(caught.value) == expected


@pytest.mark.parametrize("flip", [30, 100, -6])
def test_damaged_gz_is_an_error(flip, tmp_path):
    damaged = bytearray(GZ)
    damaged[flip] ^= 0xFF
    path = tmp_path / "bad.fa.gz"
    path.write_bytes(damaged)
    with pytest.raises(SequenceFileError, match=r"gz file must be|letters must be"):
        list(read_records(path, PROTEIN))


def test_missing_file_and_folder_are_named(tmp_path):
    with pytest.raises(SequenceFileError, match=r"absent\.fa: sequence file must be an existing file, got no such file"):
        list(read_records(tmp_path / "absent.fa", DNA))
    with pytest.raises(SequenceFileError, match="sequence file must be an existing file, got a folder"):
        list(read_records(tmp_path, DNA))


# name: (bytes, letters of record "a", counts)
ODD = {
    "plain": (b">a\nACGT\n", "ACGT", {}),
    "no line end at the end": (b">a\nACGT", "ACGT", {}),
    "many lines": (b">a some words\nAC\nG\n\nT\n", "ACGT", {}),
    "lower case": (b">a\nacGT\n", "ACGT", {"lower case": 1}),
    "U": (b">a\nACGU\n", "ACGT", {"U in DNA": 1}),
    "u": (b">a\nACGu\n", "ACGT", {"U in DNA": 1, "lower case": 1}),
    "IUPAC": (b">a\nACGNRY\n", "ACGNRY", {"IUPAC codes": 1}),
    "CRLF": (b">a\r\nAC\r\nGT\r\n", "ACGT", {"CRLF": 1}),
    "blanks": (b">a\nACGT ACGT\t\n", "ACGTACGT", {}),
    "byte order mark": (b"\xef\xbb\xbf>a\nACGT\n", "ACGT", {}),
    "blank lines before": (b"\n\n>a\nACGT\n", "ACGT", {}),
    "gz": (gzip.compress(b">a\nACGT\n"), "ACGT", {}),
    "bgzip": (gzip.compress(b">a\nAC") + gzip.compress(b"GT\n") + gzip.compress(b""), "ACGT", {}),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_file_is_read_and_counted(name, tmp_path):
    content, letters, counts = ODD[name]
    path = tmp_path / "odd.fa.gz"  # what a file is called does not matter
    path.write_bytes(content)
    notes = Notes()
    (record,) = read_records(path, DNA, notes)
    assert (record.id, record.letters.tobytes().decode()) == ("a", letters)
    assert {what: count for what, count in notes.counts.items() if count} == counts


def test_header_attributes(tmp_path):
    path = tmp_path / "a.fa"
    path.write_text(">a chrom=chr2L start=7 end=11 strand=- group=g1 other=2\nACGT\n>b\nAC\n")
    first, second = read_records(path, DNA)
    assert (first.chrom, first.start, first.end, first.strand, first.group) == ("chr2L", 7, 11, "-", "g1")
    assert (second.chrom, second.start, second.end, second.strand, second.group) == (None,) * 5


def test_ids_are_unique_over_files_read_with_the_same_notes(tmp_path):
    for name in ("one.fa", "two.fa"):
        (tmp_path / name).write_text(">a\nACGT\n")
    notes = Notes()
    list(read_records(tmp_path / "one.fa", DNA, notes))
    with pytest.raises(SequenceFileError, match=r"two\.fa:1: record ids must be unique, got 'a' again \(first in .*one\.fa:1\)"):
        list(read_records(tmp_path / "two.fa", DNA, notes))


def test_protein_is_read_and_its_stop_sign_is_an_error(tmp_path):
    path = tmp_path / "p.fa"
    path.write_text(">p\nMKVLXU\n")
    assert next(read_records(path, PROTEIN)).letters.tobytes() == b"MKVLXU"
    path.write_text(">p\nMKVL*\n")
    with pytest.raises(SequenceFileError, match=r"got '\*' in record 'p'\. Remove the stop signs"):
        list(read_records(path, PROTEIN))


def test_letters_of_a_string():
    assert letters_of("acgU", DNA).tobytes() == b"ACGT"
    with pytest.raises(ValueError, match=r"sequence must be dna \(.*\), got 'E' \(the first of 2\)"):
        letters_of("ACEEG", DNA)
    with pytest.raises(ValueError, match="sequence must have at least one letter, got an empty string"):
        letters_of("", DNA)


def test_records_come_one_at_a_time(tmp_path: Path):
    path = tmp_path / "a.fa"
    path.write_text(">a\nACGT\n>b\n!\n")
    records = read_records(path, DNA)
    assert next(records).id == "a"
    with pytest.raises(SequenceFileError):
        next(records)
