"""Odd and malformed files with their expected records or one-line error, run by test_odd_files.py.

Each row of the table has the bytes of a file and the expected result. Other file types have modules
`odd_KIND.py` in this folder, with a table ODD_FILES of the same form.
"""

from __future__ import annotations

import gzip
import os
import socket
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow

from selfattn_bio.sequence.alphabet import DNA, PROTEIN
from selfattn_bio.sequence.policy import SequencePolicy
from selfattn_bio.sequence.readers import SequenceFile
from selfattn_bio.sequence.readers.fields import Fields
from selfattn_bio.sequence.records import ReadSummary

IN_DNA, PLAIN = SequencePolicy(DNA), Fields()


class Promised(NamedTuple):
    """The complete text of an expected error.

    {path} is the path of the file, {folder} the path of its folder, and <...> any text from a
    library.
    """

    error: str


def read(
    path: Path, policy: SequencePolicy = IN_DNA, fields: Fields = PLAIN
) -> list[tuple[str, str]]:
    """Return ids and letters of a file."""
    return [
        (record.id, record.letters.tobytes().decode())
        for record in SequenceFile(path, None, fields).records(policy, ReadSummary())
    ]


def counted(path: Path, policy: SequencePolicy = IN_DNA) -> tuple[str, dict[str, int]]:
    """Return the letters of the only record, and the counts."""
    summary = ReadSummary()
    (record,) = SequenceFile(path).records(policy, summary)
    return record.letters.tobytes().decode(), {
        what: count for what, count in summary.counts.items() if count
    }


def annotations(path: Path, fields: Fields = PLAIN) -> list[tuple[Any, ...]]:
    """Return the other fields: id, chrom, start, end, strand, group, label, targets."""
    records = SequenceFile(path, None, fields).records(SequencePolicy(DNA), ReadSummary())
    return [
        (record.id, *record[2:8], dict(record.targets) if record.targets else None)
        for record in records
    ]


def masked(path: Path) -> list[list[list[int]]]:
    """Return the intervals of lower case."""
    records = SequenceFile(path).records(SequencePolicy(DNA, "keep"), ReadSummary())
    return [record.masked.tolist() for record in records if record.masked is not None]


class Odd(NamedTuple):
    """One file.

    `content` is its bytes, or a function that creates the file at a given path. `read` is called
    with the path; its result must equal `expected`, or it must raise the expected error. `name` is
    the name of the file.
    """

    content: bytes | Callable[[Path], object]
    expected: Any
    read: Callable[[Path], Any] = read
    name: str = "odd.fa"
    long: bool = False  # takes over half a minute


GOOD, A = b">a\nACGT\n", [("a", "ACGT")]
RANDOM = np.random.default_rng(0).choice(list(b"ACGT"), 5000).astype(np.uint8).tobytes()
GZ = gzip.compress(b">a\n" + RANDOM + b"\n", mtime=0)
numbered = partial(read, fields=Fields(numbered=True))
NUMBERED = (
    '. Rename or remove one, or number the records: ids = "numbered" in [data] (--ids numbered)'
)
NO_ID = (
    "record without an id: header '>'. Write an id after '>', or number the records: ids = "
    '"numbered" in [data] (--ids numbered)'
)
protein = partial(read, policy=SequencePolicy(PROTEIN))
CORRECT, AGAIN = ". Correct the sequence or remove the record", ". Download or copy it again"
EMPTY = "record 'b' has no sequence. Remove the record or add its sequence"
GAPS = '. Remove the alignment gaps, or set gaps = "remove" in [data] (--gaps remove)'
STOPS = ". Remove the stop signs; only one at the end of a protein is removed automatically"
LOOKS_PROTEIN = (
    '. It looks like protein; set alphabet = "protein" in [data] (--alphabet protein), or in '
    "[partner] for a second input"
)
FOUR_LINES = ". Each FASTQ record has four lines: header, sequence, +, qualities"


def invalid(
    found: str, record: str = "a", hint: str = CORRECT, expected: str = "IUPAC DNA codes"
) -> str:
    return f"invalid {found} in record {record!r} (expected {expected}){hint}"


def in_protein(found: str, hint: str) -> str:
    return invalid(found, "p", hint, "one-letter amino acid codes")


def unsupported(kind: str, hint: str = "") -> Promised:
    return error(
        None,
        f"unsupported file type: {kind} (expected FASTA, FASTQ, GenBank, EMBL, CSV, TSV or "
        f"Parquet){hint}",
    )


def zstd(content: bytes) -> bytes:
    return pyarrow.compress(content, codec="zstd", asbytes=True)


def error(line: int | None, message: str) -> Promised:
    """Return an error in one line of the file, or in the complete file if `line` is None."""
    return Promised(
        (f"{{path}}:{line}: " if line else "{path}: ")
        + message.replace("{", "{{").replace("}", "}}")
    )


def raw(message: str) -> Promised:
    """Return an error in the complete file whose text may contain placeholders."""
    return Promised("{path}: " + message)


# all formats
def loop(path: Path) -> None:
    path.symlink_to(path.with_name("other"))
    path.with_name("other").symlink_to(path)


def link(path: Path) -> None:
    path.with_name("target").write_bytes(GOOD)
    path.symlink_to("target")


def listen(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))  # the absolute path is too long for a socket


def nothing(path: Path) -> None:
    pass


WHOLE = {
    "empty file": Odd(b"", error(None, "the file is empty")),
    "empty gz": Odd(gzip.compress(b""), error(None, "the file is empty")),
    "empty zstd": Odd(zstd(b""), error(None, "the file is empty")),
    "blank lines alone": Odd(b"\n\n \n", error(None, "no '>' header in the file")),
    "a byte order mark alone": Odd(b"\xef\xbb\xbf", error(None, "no '>' header in the file")),
    "no such file": Odd(nothing, error(None, "no such file")),
    "a folder": Odd(Path.mkdir, error(None, "this is a folder, not a file")),
    "links that lead to each other": Odd(loop, error(None, "symbolic links form a loop")),
    "a link to nothing": Odd(
        lambda path: path.symlink_to("gone"), error(None, "broken symbolic link")
    ),
    "a link to itself": Odd(
        lambda path: path.symlink_to(path), error(None, "symbolic links form a loop")
    ),
    "a link": Odd(link, A),
    "a socket": Odd(listen, error(None, "this is a device, not a file")),
    "a device": Odd(
        lambda path: path.symlink_to("/dev/null"), error(None, "this is a device, not a file")
    ),
    "a file in a file": Odd(
        GOOD,
        Promised("{path}/b.fa: cannot open the file: Not a directory"),
        lambda path: read(path / "b.fa"),
    ),
    "a name that is too long": Odd(
        nothing,
        Promised("{folder}/" + "x" * 300 + ": cannot open the file: File name too long"),
        lambda path: read(path.with_name("x" * 300)),
    ),
    "blanks and other letters in the name": Odd(GOOD, A, name="my séquences é 序列 (1).fa"),
    "a quote in the name": Odd(b">a\nAC!T\n", error(2, invalid("character '!'")), name="it's.fa"),
    "no ending in the name": Odd(GOOD, A, name="sequences"),
    "gz that is called plain": Odd(gzip.compress(GOOD), A, name="odd.fa"),
    "plain that is called gz": Odd(GOOD, A, name="odd.fa.gz"),
    "FASTA that is called a table": Odd(GOOD, A, name="odd.csv"),
    "FASTA that is called FASTQ": Odd(GOOD, A, name="odd.fastq"),
    "binary": Odd(b">a\nACGT\x00\x01", error(None, "binary data (expected text or Parquet)")),
    "NULs": Odd(b"\x00" * 100, error(None, "binary data (expected text or Parquet)")),
    "gz in gz": Odd(gzip.compress(GZ), error(None, "binary data (expected text or Parquet)")),
    "UTF-16": Odd(
        ">a\nACGT".encode("utf-16"),
        error(None, "the file is UTF-16 (expected UTF-8). Save it as plain text (UTF-8)"),
    ),
    "UTF-16, the other way": Odd(
        b"\xfe\xff" + ">a\nACGT".encode("utf-16-be"),
        error(None, "the file is UTF-16 (expected UTF-8). Save it as plain text (UTF-8)"),
    ),
    "UTF-16 without a mark": Odd(
        ">a\nACGT".encode("utf-16-le"),
        error(None, "binary data (expected text or Parquet)"),
    ),
    "an Excel sheet": Odd(
        b"PK\x03\x04" + bytes(50),
        unsupported("zip archive or Excel sheet", ". Save the sheet as CSV UTF-8"),
    ),
    "an old Excel sheet": Odd(
        b"\xd0\xcf\x11\xe0" + bytes(50),
        unsupported("Excel sheet", ". Save the sheet as CSV UTF-8"),
    ),
    "BAM": Odd(
        gzip.compress(b"BAM\x01" + bytes(50)),
        unsupported("BAM or CRAM alignments", ". Convert it, e.g. samtools fasta reads.bam"),
    ),
    "SAM": Odd(
        b"@HD\tVN:1.6\n@SQ\tSN:c\tLN:9\n",
        unsupported("SAM alignments", ". Convert it, e.g. samtools fasta reads.sam"),
    ),
    "bzip2": Odd(b"BZh91AY&SY", unsupported("bzip2", ". Compress it as gz or zstd, or unpack it")),
    "xz": Odd(b"\xfd7zXZ\x00\x00", unsupported("xz", ". Compress it as gz or zstd, or unpack it")),
    "a web page": Odd(
        b"<!DOCTYPE html>\n<html>404",
        unsupported("web page or XML", ". Download the file itself"),
    ),
    "VCF": Odd(b"##fileformat=VCFv4.2\n#CHROM\tPOS\n", unsupported("VCF variants")),
    "gz": Odd(gzip.compress(GOOD), A),
    "bgzip": Odd(gzip.compress(b">a\nAC") + gzip.compress(b"GT\n") + gzip.compress(b""), A),
    "gz of many members": Odd(b"".join(gzip.compress(bytes([byte])) for byte in GOOD), A),
    "gz, then zeros": Odd(gzip.compress(GOOD) + bytes(512), A),
    "gz, then something else": Odd(
        gzip.compress(GOOD) + b"ACGT",
        error(None, "damaged gz file: <...>" + AGAIN),
    ),
    "gz of a mebibyte and more": Odd(
        gzip.compress(b">a\n" + b"ACGT" * 600_000), [("a", "ACGT" * 600_000)]
    ),
    "truncated gz": Odd(
        GZ[: len(GZ) // 2],
        error(None, "gz file is truncated" + AGAIN),
    ),
    "gz without its last byte": Odd(GZ[:-1], error(None, "gz file is truncated" + AGAIN)),
    "the header of a gz alone": Odd(GZ[:10], error(None, "gz file is truncated" + AGAIN)),
    "two bytes of a gz": Odd(GZ[:2], error(None, "gz file is truncated" + AGAIN)),
    "truncated second member": Odd(
        GZ + gzip.compress(RANDOM)[:60],
        error(None, "gz file is truncated" + AGAIN),
    ),
    "gz with another sum": Odd(
        GZ[:-8] + bytes([GZ[-8] ^ 1]) + GZ[-7:],
        error(None, "damaged gz file: <...>" + AGAIN),
    ),
    "gz with another length": Odd(GZ[:-1] + b"\x01", error(None, "damaged gz file: <...>" + AGAIN)),
    "gz of another method": Odd(
        b"\x1f\x8b\x07" + GZ[3:],
        error(None, "damaged gz file: <...>" + AGAIN),
    ),
    "zlib that is no gz": Odd(
        zlib.compress(GOOD * 100, 9),
        error(None, "binary data (expected text or Parquet)"),
    ),
    "zstd": Odd(zstd(GOOD), A),
    "zstd of two frames": Odd(zstd(b">a\nAC") + zstd(b"GT\n"), A),
    "truncated zstd": Odd(
        zstd(GZ)[:-2],
        error(None, "zstd file is truncated" + AGAIN),
    ),
    "four bytes of a zstd": Odd(
        b"\x28\xb5\x2f\xfd",
        error(None, "zstd file is truncated" + AGAIN),
    ),
    "zstd, then something else": Odd(
        zstd(GOOD) + b"garbage.", error(None, "damaged zstd file: <...>" + AGAIN)
    ),
    "damaged zstd": Odd(
        b"\x28\xb5\x2f\xfd\x00\x58\xff\xff\xff\xff\xff",
        error(None, "damaged zstd file: <...>" + AGAIN),
    ),
}

# FASTA
FASTA = {
    "no line end at the end": Odd(b">a\nACGT", A),
    "many lines": Odd(b">a some words\nAC\nG\n\nT\n", A),
    "blank lines before": Odd(b"\n\n>a\nACGT\n", A),
    "blanks": Odd(b">a\nAC GT\t\n", A),
    "CRLF": Odd(b">a\r\nAC\r\nGT\r\n", ("ACGT", {"CRLF": 1}), counted),
    "CRLF in the header alone": Odd(b">a\r\nACGT\n", ("ACGT", {"CRLF": 1}), counted),
    "mixed line ends": Odd(b">a\nAC\r\nGT\n>b\r\nAC\n", [("a", "ACGT"), ("b", "AC")]),
    "CR within the letters": Odd(b">a\nAC\rGT\n", ("ACGT", {"CRLF": 1}), counted),
    "CR alone": Odd(
        b">a\rACGT\r",
        error(
            1,
            "lines end in CR (expected LF or CRLF). Convert it, e.g. tr '\\r' '\\n' < old.fa "
            "> new.fa",
        ),
    ),
    "a byte order mark": Odd(b"\xef\xbb\xbf>a\nACGT\n", A),
    "a byte order mark in a gz": Odd(gzip.compress(b"\xef\xbb\xbf>a\nACGT\n"), A),
    "a tab after the id": Odd(b">a\tsome words\nACGT\n", A),
    "tabs in the header": Odd(
        b">a\tchrom=c\tstart=2\tend=6\nACGT\n",
        [("a", "c", 2, 6, None, None, None, None)],
        annotations,
    ),
    "an id of other letters": Odd(">séq_序列\nACGT\n".encode(), [("séq_序列", "ACGT")]),
    "an id of bars": Odd(b">sp|P1|X_Y 1\nACGT\n", [("sp|P1|X_Y", "ACGT")]),
    "> in the header": Odd(b">a>b > c\nACGT\n", [("a>b", "ACGT")]),
    "> in the letters": Odd(b">a\nACGT>b\nACGT\n", error(2, invalid("character '>'"))),
    "; comment": Odd(
        b"; old style\n>a\nACGT\n",
        error(
            1,
            "no '>' header before '; old style'. Put '>' and an id on a line before each sequence",
        ),
    ),
    "letters first": Odd(
        b"\nACGT\n>a\nACGT\n",
        error(
            2,
            "no '>' header before 'ACGT'. Put '>' and an id on a line before each sequence",
        ),
    ),
    "letters alone": Odd(
        b"ACGT\n",
        error(
            1,
            "no '>' header before 'ACGT'. Put '>' and an id on a line before each sequence",
        ),
    ),
    "an empty record": Odd(b">a\nACGT\n>b\n>c\nA\n", error(3, EMPTY)),
    "an empty last record": Odd(b">a\nAC\n\n>b\n\n", error(4, EMPTY)),
    "a header alone": Odd(b">b\n", error(1, EMPTY)),
    "a header without line end": Odd(b">a\nAC\n>b", error(3, EMPTY)),
    "> alone": Odd(b">", error(1, NO_ID)),
    "no id": Odd(b">\nACGT\n", error(1, NO_ID)),
    "a blank before the id": Odd(b"> a b\nACGT\n", A),
    "a blank before the id, numbered": Odd(
        b"> 6400\nACGT\n>\nAC\n", [("odd_1", "ACGT"), ("odd_2", "AC")], numbered
    ),
    "repeated ids, numbered": Odd(
        b">DNA\nACGT\n>DNA\nAC\n", [("odd_1", "ACGT"), ("odd_2", "AC")], numbered
    ),
    "the same id": Odd(
        b">a\nAC\n>b\nAC\n>a x\nGG\n",
        Promised("{path}:5: record id 'a' is used twice (first in {path}:1)" + NUMBERED),
    ),
    "a NUL in the id": Odd(
        b">" + b"x" * 5000 + b"\nA\n>b\x00\nA\n", error(3, "invalid byte 0x00 in the record id")
    ),
    "an escape in the id": Odd(
        b">" + b"x" * 5000 + b"\nA\n>b\x1b\nA\n", error(3, "invalid byte 0x1B in the record id")
    ),
    "a header that is not UTF-8": Odd(
        b">a \xe9\nACGT\n", error(1, "invalid byte 0xE9 in the header (expected UTF-8)")
    ),
    "a header of a mebibyte": Odd(
        b">" + b"x" * 3 * 2**20,
        error(1, "header '>xxxxxxxxxxxxxxxxxxx'... is longer than 1,048,576 bytes"),
    ),
    "a long header": Odd(b">a " + b"x" * 100_000 + b"\nACGT\n", A),
    "a foreign letter": Odd(b">a\nACGT\n>b\nACGT\nACJT\n", error(5, invalid("character 'J'", "b"))),
    "foreign letters": Odd(
        b">b\r\nACGTACGTACGTACGTACGT\r\n\r\nA?GT!\r\n",
        error(4, invalid("character '?' and 1 more", "b")),
    ),
    "a foreign letter far on": Odd(
        b">a\n" + b"ACGT\n" * 300_000 + b"A!GT\n",
        error(300_002, invalid("character '!'")),
    ),
    "letters that are not ASCII": Odd(
        b">a\nAC\xc3\xa9GT\n",
        error(2, invalid("byte 0xC3 and 1 more")),
    ),
    "a NUL far on": Odd(
        b">a\n" + b"ACGT\n" * 2000 + b"A\x00GT\n",
        error(2002, invalid("byte 0x00")),
    ),
    "digits among letters": Odd(b">a\n1 ACGT\n", error(2, invalid("character '1'"))),
    "gaps": Odd(b">a\nAC--GT\n", error(2, invalid("character '-' and 1 more", "a", GAPS))),
    "dots": Odd(b">a\nACGT..\n", error(2, invalid("character '.' and 1 more", "a", GAPS))),
    "gaps that are removed": Odd(
        b">a\nA-C--GT.\n",
        ("ACGT", {"gaps (removed)": 1}),
        partial(counted, policy=SequencePolicy(DNA, gaps="remove")),
    ),
    "gaps alone, removed": Odd(
        b">b\n----\n",
        error(1, EMPTY),
        partial(read, policy=SequencePolicy(DNA, gaps="remove")),
    ),
    "protein": Odd(
        b">p\nMKVLAAGIVGLLLAQPSFE\n",
        error(2, invalid("character 'L' and 8 more", "p", LOOKS_PROTEIN)),
    ),
    "a stop sign in DNA": Odd(b">a\nACGT*\n", error(2, invalid("character '*'", "a", STOPS))),
    "lower case": Odd(b">a\nacGT\n", ("ACGT", {"lower case": 1}), counted),
    "U": Odd(b">a\nACGU\n", ("ACGT", {"U in DNA": 1}), counted),
    "u": Odd(b">a\nACGu\n", ("ACGT", {"lower case": 1, "U in DNA": 1}), counted),
    "IUPAC": Odd(b">a\nACGNRY\n", ("ACGNRY", {"IUPAC codes": 1}), counted),
    "iupac": Odd(b">a\nacgnry\n", ("ACGNRY", {"lower case": 1, "IUPAC codes": 1}), counted),
    "lower case as a mask": Odd(
        b">a\nacGTac\nGtt\n>b\nACGT\n>c\nacgt\n", [[[0, 2], [4, 6], [7, 9]], [], [[0, 4]]], masked
    ),
    "a mask over blocks": Odd(b">a\nAC" + b"g" * 3_000_000 + b"T\n", [[[2, 3_000_002]]], masked),
    "lower case as N": Odd(
        b">a\nacGTnu\n",
        ("NNGTNN", {"lower case": 1, "U in DNA": 1, "IUPAC codes": 1}),
        partial(counted, policy=SequencePolicy(DNA, "hard")),
    ),
    "attributes": Odd(
        b">a chrom=chr2L start=7 end=11 strand=- group=g1 other=2\nACGT\n>b\nAC\n",
        [("a", "chr2L", 7, 11, "-", "g1", None, None), ("b", *[None] * 7)],
        annotations,
    ),
    "start that is no number": Odd(
        b">a start=x end=4\nACGT\n",
        error(1, "invalid start 'x' in the header (expected a whole number)"),
    ),
    "start without end": Odd(
        b">a start=4\nACGT\n",
        error(1, "start without end in the header"),
    ),
    "end without start": Odd(
        b">a end=4\nACGT\n",
        error(1, "end without start in the header"),
    ),
    "strand f": Odd(
        b">a strand=f\nACGT\n", error(1, "invalid strand 'f' in the header (expected + or -)")
    ),
    "chrom without value": Odd(
        b">a chrom= x\nACGT\n", error(1, "invalid chrom '' in the header (expected a name)")
    ),
    "1-based coordinates": Odd(
        b">a start=1 end=4\nACGT\n",
        error(
            1,
            "end - start in the header is 3, but the sequence has length 4. "
            "Coordinates are 0-based half-open",
        ),
    ),
    "a record over blocks": Odd(
        b">a\n" + b"ACGT" * 700_000 + b"\n>b\nAC\n", [("a", "ACGT" * 700_000), ("b", "AC")]
    ),
    "headers at the border of a block": Odd(
        b">a\n" + b"A" * (2**20 - 5) + b"\n>b\nAC\n", [("a", "A" * (2**20 - 5)), ("b", "AC")]
    ),
    "a single line of 100 MB": Odd(
        lambda path: path.write_bytes(b">a\n" + RANDOM * 20_000),
        100_000_000,
        lambda path: len(read(path)[0][1]),
        long=True,
    ),
}

# labels from the header
pattern = Fields(header=r"class:(\w+)")
HEADERS = {
    "label=": Odd(
        b">a label=1\nAC\n>b label=0\nGT\n",
        [("a", *[None] * 5, 1, None), ("b", *[None] * 5, 0, None)],
        partial(annotations, fields=Fields("label")),
    ),
    "no label=": Odd(
        b">a label=1\nAC\n>b\nGT\n",
        error(3, "no label in the header '>b' (expected label=...)"),
        partial(annotations, fields=Fields("label")),
    ),
    "label=2": Odd(
        b">a label=2\nAC\n",
        error(
            1,
            "label '2' in 'label' is neither 1 nor 0. Name the positive labels, e.g. positive = "
            '"2" in [data]',
        ),
        partial(annotations, fields=Fields("label")),
    ),
    "label= without value": Odd(
        b">a label= x\nAC\n",
        error(1, "the label 'label' is empty"),
        partial(annotations, fields=Fields("label")),
    ),
    "another attribute": Odd(
        b">a kind=tss\nAC\n",
        [("a", *[None] * 5, 1, None)],
        partial(annotations, fields=Fields("kind", ("tss",))),
    ),
    "a pattern": Odd(
        b">a class:x\nAC\n",
        [("a", *[None] * 6, {"label": "x"})],
        partial(annotations, fields=pattern),
    ),
    "a pattern that holds the label": Odd(
        b">a class:x\nAC\n>b class:y\nGT\n",
        [("a", *[None] * 5, 1, None), ("b", *[None] * 5, 0, None)],
        partial(annotations, fields=Fields("label", ("x",), r"class:(\w+)")),
    ),
    "a pattern that is not there": Odd(
        b">a\nAC\n",
        error(
            1,
            "header '>a' does not match 'class:(\\\\w+)'. Change header in [data], or the record",
        ),
        partial(annotations, fields=pattern),
    ),
    "a pattern of names": Odd(
        b">x chr2:4-6(+) 37C\nAC\n",
        [("x", "chr2", 4, 6, "+", None, None, {"temperature": "37"})],
        partial(
            annotations,
            fields=Fields(
                header=r"(?P<chrom>\w+):(?P<start>\d+)-(?P<end>\d+)\((?P<strand>.)\) "
                r"(?P<temperature>\d+)C"
            ),
        ),
    ),
    "a pattern of the id": Odd(
        b">sp|P1|X\nAC\n",
        [("P1", *[None] * 7)],
        partial(annotations, fields=Fields(header=r"sp\|(?P<id>\w+)")),
    ),
}

# protein
PROTEINS = {
    "every residue": Odd(b">p\nACDEFGHIKLMNPQRSTVWY\n", [("p", "ACDEFGHIKLMNPQRSTVWY")], protein),
    "U and O": Odd(
        b">p\nMKUO\n",
        ("MKUO", {"selenocysteine or pyrrolysine (U, O)": 1}),
        partial(counted, policy=SequencePolicy(PROTEIN)),
    ),
    "B, Z, J and X": Odd(
        b">p\nMKBZJX\n",
        ("MKBZJX", {"ambiguous residues (B, Z, J, X)": 1}),
        partial(counted, policy=SequencePolicy(PROTEIN)),
    ),
    "a stop at the end": Odd(
        b">p\nMKVL*\n",
        ("MKVL", {"a stop sign at the end (removed)": 1}),
        partial(counted, policy=SequencePolicy(PROTEIN)),
    ),
    "a stop on a separate line": Odd(b">p\nMKVL\n*\n", [("p", "MKVL")], protein),
    "a stop at the end of each": Odd(
        b">p\nMKVL*\n>q\nMK*\n", [("p", "MKVL"), ("q", "MK")], protein
    ),
    "a stop inside": Odd(b">p\nMK\nM*VL\n", error(3, in_protein("character '*'", STOPS)), protein),
    "two stops": Odd(
        b">p\nMKVL**\n",
        error(2, in_protein("character '*' and 1 more", STOPS)),
        protein,
    ),
    "a stop alone": Odd(b">b\n*\n", error(1, EMPTY), protein),
    "gaps of an alignment": Odd(
        b">p\nMK-VL\n", error(2, in_protein("character '-'", GAPS)), protein
    ),
    "residues in lower case": Odd(
        b">p\nmkvl\n", ("MKVL", {"lower case": 1}), partial(counted, policy=SequencePolicy(PROTEIN))
    ),
    "residues in lower case as X": Odd(
        b">p\nmkVL\n", [("p", "XXVL")], partial(read, policy=SequencePolicy(PROTEIN, "hard"))
    ),
}

# FASTQ
FQ = b"@a\nACGT\n+\nIIII\n"
FASTQ = {
    "FASTQ": Odd(FQ, A),
    "FASTQ gz": Odd(gzip.compress(FQ), A, name="odd.fq.gz"),
    "FASTQ zstd": Odd(zstd(FQ), A, name="odd.fq.zst"),
    "FASTQ with the id again": Odd(b"@a x\nACGT\n+a x\nIIII\n", A),
    "FASTQ without line end": Odd(FQ[:-1], A),
    "FASTQ of CRLF": Odd(FQ.replace(b"\n", b"\r\n"), ("ACGT", {"CRLF": 1}), counted),
    "FASTQ with @ as quality": Odd(
        b"@a\nACGT\n+\n@@@@\n@b\nAC\n+\n>>\n", [("a", "ACGT"), ("b", "AC")]
    ),
    "FASTQ with blank lines between": Odd(
        FQ + b"\n" + FQ.replace(b"@a", b"@b") + b"\n\n", [("a", "ACGT"), ("b", "ACGT")]
    ),
    "FASTQ with a byte order mark": Odd(b"\xef\xbb\xbf" + FQ, A),
    "FASTQ with N": Odd(b"@a\nACGN\n+\nIII!\n", ("ACGN", {"IUPAC codes": 1}), counted),
    "FASTQ with attributes": Odd(
        b"@a chrom=c\nAC\n+\nII\n", [("a", "c", *[None] * 6)], annotations
    ),
    "FASTQ with too few qualities": Odd(
        b"@a\nACGT\n+\nIII\n",
        error(4, "FASTQ record has 3 qualities for 4 bases"),
    ),
    "FASTQ with too many qualities": Odd(
        b"@a\nACGT\n+\nIIIII\n",
        error(4, "FASTQ record has 5 qualities for 4 bases"),
    ),
    "FASTQ without qualities": Odd(
        FQ + b"@b\nACGT\n+\n",
        error(8, "FASTQ record has 0 qualities for 4 bases"),
    ),
    "FASTQ that ends after the letters": Odd(
        FQ + b"@b\nACGT\n",
        error(
            7,
            "the file ends within a FASTQ record" + FOUR_LINES,
        ),
    ),
    "FASTQ of several lines": Odd(
        b"@a\nAC\nGT\n+\nIIII\n",
        error(3, "the third line of the FASTQ record is 'GT' instead of '+'" + FOUR_LINES),
    ),
    "FASTQ, then FASTA": Odd(
        FQ + GOOD, error(5, "FASTQ record starts with '>a' instead of an '@' header" + FOUR_LINES)
    ),
    "FASTQ without id": Odd(b"@\nACGT\n+\nIIII\n", error(1, NO_ID.replace(">", "@"))),
    "FASTQ without letters": Odd(b"@b\n\n+\n\n", error(1, EMPTY)),
    "FASTQ with the same id": Odd(
        FQ + FQ, Promised("{path}:5: record id 'a' is used twice (first in {path}:1)" + NUMBERED)
    ),
    "FASTQ with a foreign letter": Odd(
        FQ + b"@b\nAC.T\n+\nIIII\n", error(6, invalid("character '.'", "b", GAPS))
    ),
    "letters that are called FASTQ": Odd(
        b"ACGT\n",
        error(1, "FASTQ record starts with 'ACGT' instead of an '@' header" + FOUR_LINES),
        name="odd.fq",
    ),
}

# GenBank, EMBL
GENBANK = b"""LOCUS       X1                        20 bp    DNA     linear   INV 01-JAN-2000
DEFINITION  Synthetic.
ACCESSION   X1
VERSION     X1.1
SOURCE      Drosophila melanogaster
  ORGANISM  Drosophila melanogaster
            Eukaryota.
FEATURES             Location/Qualifiers
     gene            1..9
                     /gene="g"
ORIGIN
        1 acgtacgtac gtacgtacgn
//
"""
EMBL = b"""ID   X2; SV 1; linear; genomic DNA; STD; INV; 12 BP.
AC   X2;
DE   Synthetic.
OS   Drosophila melanogaster
SQ   Sequence 12 BP; 3 A; 3 C; 3 G; 3 T; 0 other;
     acgtacgtac gt                                                            12
//
"""
X1 = [("X1.1", "ACGTACGTACGTACGTACGN")]
FLAT = {
    "GenBank": Odd(GENBANK, X1, name="odd.gb"),
    "GenBank by its content": Odd(GENBANK, X1, name="odd.txt"),
    "GenBank gz": Odd(gzip.compress(GENBANK), X1, name="odd.gb.gz"),
    "GenBank of CRLF": Odd(GENBANK.replace(b"\n", b"\r\n"), X1),
    "GenBank of two entries": Odd(
        GENBANK + GENBANK.replace(b"X1", b"X3"), [*X1, ("X3.1", X1[0][1])]
    ),
    "the organism of GenBank": Odd(
        GENBANK, [("X1.1", *[None] * 6, {"organism": "Drosophila melanogaster"})], annotations
    ),
    "N in GenBank": Odd(GENBANK, (X1[0][1], {"IUPAC codes": 1}), counted),
    "GenBank without ORIGIN": Odd(
        GENBANK.partition(b"FEATURES")[0] + b"CONTIG      join(Y:1..20)\n//\n",
        error(
            None,
            "record 'X1.1' has no sequence. Remove the record or add its sequence",
        ),
    ),
    "GenBank twice": Odd(
        GENBANK + GENBANK, raw("record id 'X1.1' is used twice (first in {path})" + NUMBERED)
    ),
    "GenBank with a foreign letter": Odd(
        GENBANK.replace(b"acgn", b"acgj"), error(None, invalid("character 'J'", "X1.1"))
    ),
    "GenBank that ends in a feature": Odd(
        GENBANK.partition(b"ORIGIN")[0],
        error(None, "Biopython cannot read GenBank entry 1: <...>"),
    ),
    "letters that are called GenBank": Odd(
        b"ACGT\n",
        error(None, "no GenBank entry in the file"),
        name="odd.gbk",
    ),
    "EMBL": Odd(EMBL, [("X2.1", "ACGTACGTACGT")], name="odd.embl"),
    "EMBL by its content": Odd(EMBL, [("X2.1", "ACGTACGTACGT")]),
    "EMBL without letters": Odd(
        EMBL.partition(b"SQ")[0] + b"//\n",
        error(None, "Biopython cannot read EMBL entry 1: <...>"),
    ),
    "GenBank of features that end early": Odd(
        GENBANK.partition(b"ORIGIN")[0] + b"//\n",
        error(None, "Biopython cannot read GenBank entry 1: <...>"),
    ),
}

# tables
NO_SEQUENCE = "no column 'sequence' in the table (columns: "
NAME_IT = ' columns = {{ sequence = "{0}" }} in [data] (--sequence-column {0})'
label = Fields("label")


def parquet(**columns: list[Any]) -> Callable[[Path], None]:
    from pyarrow import parquet as written

    return lambda path: written.write_table(pyarrow.table(columns), path)


TABLES = {
    "CSV": Odd(b"id,sequence\na,ACGT\n", A, name="odd.csv"),
    "CSV by its content": Odd(b"id,sequence\na,ACGT\n", A, name="odd"),
    "CSV gz": Odd(gzip.compress(b"id,sequence\na,ACGT\n"), A, name="odd.csv.gz"),
    "TSV": Odd(b"id\tsequence\na\tACGT\n", A, name="odd.tsv"),
    "TSV that is called CSV": Odd(b"id\tsequence\na\tACGT\n", A, name="odd.csv"),
    "semicolons": Odd(b"id;sequence\na;ACGT\n", A, name="odd.csv"),
    "CSV of CRLF": Odd(b"id,sequence\r\na,ACGT\r\n", A, name="odd.csv"),
    "CSV with a byte order mark": Odd(b"\xef\xbb\xbfid,sequence\na,ACGT\n", A, name="odd.csv"),
    "CSV with a mark before the column": Odd(
        b"\xef\xbb\xbfsequence\nACGT\n", [("odd_1", "ACGT")], name="odd.csv"
    ),
    "CSV without line end": Odd(b"id,sequence\na,ACGT", A, name="odd.csv"),
    "CSV with blank lines": Odd(b"id,sequence\n\na,ACGT\n\n", A, name="odd.csv"),
    "CSV with quotes": Odd(
        b'"id","sequence"\n"a, b","AC\nGT"\n', [("a, b", "ACGT")], name="odd.csv"
    ),
    "CSV without ids": Odd(
        b"sequence\nACGT\nAC\n", [("odd_1", "ACGT"), ("odd_2", "AC")], name="odd.csv"
    ),
    "a sequence of 200,000 letters": Odd(
        b"id,sequence\na," + b"ACGT" * 50_000 + b"\n", [("a", "ACGT" * 50_000)], name="odd.csv"
    ),
    "all columns": Odd(
        b"id,sequence,chrom,start,end,strand,group,height,kind\na,ACGT,c,2,6,-,g,1.5,\n",
        [("a", "c", 2, 6, "-", "g", None, {"height": "1.5", "kind": None})],
        annotations,
        name="odd.csv",
    ),
    "empty cells": Odd(
        b"id,sequence,chrom,group\na,ACGT,,\n", [("a", *[None] * 7)], annotations, name="odd.csv"
    ),
    "columns of other names": Odd(
        b"name,seq\na,ACGT\n",
        A,
        partial(read, fields=Fields(columns={"sequence": "seq", "id": "name"})),
        name="odd.csv",
    ),
    "a label": Odd(
        b"id,sequence,label\na,AC,1\nb,GT,0\n",
        [("a", *[None] * 5, 1, None), ("b", *[None] * 5, 0, None)],
        partial(annotations, fields=label),
        name="odd.csv",
    ),
    "a label of words": Odd(
        b"id,sequence,kind\na,AC,tss\nb,GT,exon\n",
        [("a", *[None] * 5, 1, None), ("b", *[None] * 5, 0, None)],
        partial(annotations, fields=Fields("kind", ("tss",))),
        name="odd.csv",
    ),
    "a label that is no number": Odd(
        b"id,sequence,label\na,AC,yes\n",
        error(
            2,
            "label 'yes' in 'label' is neither 1 nor 0. Name the positive labels, e.g. positive = "
            '"yes" in [data]',
        ),
        partial(annotations, fields=label),
        name="odd.csv",
    ),
    "an empty label": Odd(
        b"id,sequence,label\na,AC,\n",
        error(2, "the label 'label' is empty"),
        partial(annotations, fields=label),
        name="odd.csv",
    ),
    "no column of the label": Odd(
        b"id,sequence\na,AC\n",
        error(
            1,
            "no column 'label' in the table (columns: 'id', 'sequence'). Set label = \"NAME\" in "
            "[data] (--label-column NAME)",
        ),
        partial(annotations, fields=label),
        name="odd.csv",
    ),
    "a label column of another name": Odd(
        b"id,sequence,labels\na,AC,1\n",
        error(
            1,
            "no column 'label' in the table (columns: 'id', 'sequence', 'labels'). "
            "Did you mean 'labels'? Set label = \"labels\" in [data] (--label-column labels)",
        ),
        partial(annotations, fields=label),
        name="odd.csv",
    ),
    "no column of the sequence": Odd(
        b"id,letters\na,ACGT\n",
        error(1, NO_SEQUENCE + "'id', 'letters'). Set" + NAME_IT.format("NAME")),
        name="odd.csv",
    ),
    "a column Sequence": Odd(
        b"id,Sequence\na,ACGT\n",
        error(
            1,
            NO_SEQUENCE
            + "'id', 'Sequence'). Did you mean 'Sequence'? Set"
            + NAME_IT.format("Sequence"),
        ),
        name="odd.csv",
    ),
    "several columns that may be the sequence": Odd(
        b"text,label,Seq\nACGT,1,AC\n",
        error(
            1,
            NO_SEQUENCE
            + "'text', 'label', 'Seq'). Did you mean 'Seq' or 'text'? Set"
            + NAME_IT.format("Seq"),
        ),
        name="odd.txt",
    ),
    "a column of another field": Odd(
        b"sequence,chr\nACGT,1\n",
        error(
            1,
            "no column 'chromosome' in the table (columns: 'sequence', 'chr'). Set columns = { "
            'chrom = "NAME" } in [data]',
        ),
        partial(read, fields=Fields(columns={"chrom": "chromosome"})),
        name="odd.csv",
    ),
    "a table without names": Odd(
        b"a,ACGT\nb,AC\n",
        error(1, NO_SEQUENCE + "'a', 'ACGT'). Set" + NAME_IT.format("NAME")),
        name="odd.csv",
    ),
    "names alone": Odd(
        b"id,sequence\n",
        error(None, "the table has no rows"),
        name="odd.csv",
    ),
    "a blank CSV": Odd(
        b"\n", error(1, NO_SEQUENCE + "none). Set" + NAME_IT.format("NAME")), name="odd.csv"
    ),
    "the same column twice": Odd(
        b"id,sequence,id\na,AC,b\n",
        error(1, "duplicate column 'id'"),
        name="odd.csv",
    ),
    "too few cells": Odd(
        b"id,sequence,x\na,AC,1\nb,AC\n",
        error(
            3,
            "row has 2 cells, but the table has 3 columns. Quote cells that contain the separator",
        ),
        name="odd.csv",
    ),
    "too many cells": Odd(
        b"id,sequence\na,AC\nb,AC,1\n",
        error(
            3,
            "row has 3 cells, but the table has 2 columns. Quote cells that contain the separator",
        ),
        name="odd.csv",
    ),
    "an empty sequence": Odd(b"id,sequence\na,AC\nb,\n", error(3, EMPTY), name="odd.csv"),
    "an empty id": Odd(
        b"id,sequence\n,AC\n",
        error(2, "record without an id: empty cell. Fill it, or" + NUMBERED.partition(", or")[2]),
        name="odd.csv",
    ),
    "ids of a table, numbered": Odd(
        b"id,sequence\na,AC\na,GT\n,G\n",
        [("odd_1", "AC"), ("odd_2", "GT"), ("odd_3", "G")],
        numbered,
        "odd.csv",
    ),
    "the same id in a table": Odd(
        b"id,sequence\na,AC\na,GT\n",
        Promised("{path}:3: record id 'a' is used twice (first in {path}:2)" + NUMBERED),
        name="odd.csv",
    ),
    "a foreign letter in a table": Odd(
        b"id,sequence\na,AC\nb,A?\n",
        error(3, invalid("character '?'", "b")),
        name="odd.csv",
    ),
    "a coordinate that is no number": Odd(
        b"sequence,start,end\nAC,x,3\n",
        error(2, "invalid start 'x' (expected a whole number)"),
        name="odd.csv",
    ),
    "coordinates of another length": Odd(
        b"sequence,start,end\nAC,1,9\n",
        error(
            2,
            "end - start is 8, but the sequence has length 2. Coordinates are 0-based half-open",
        ),
        name="odd.csv",
    ),
    "a start alone": Odd(
        b"sequence,start\nAC,1\n",
        error(2, "start without end"),
        name="odd.csv",
    ),
    "an open quote": Odd(
        b'id,sequence\na,"AC\n',
        error(2, "malformed table: <...>"),
        name="odd.csv",
    ),
    "a quote that ends early": Odd(
        b'id,sequence\na,"AC"GT\n',
        error(2, "malformed table: <...>"),
        name="odd.csv",
    ),
    "a CSV that is not UTF-8": Odd(
        b"id,sequence\n\xe9,ACGT\n",
        error(1, "invalid byte 0xE9 in the table (expected UTF-8). Save it as CSV UTF-8"),
        name="odd.csv",
    ),
    "a NUL in a CSV": Odd(
        b"id,sequence\n" + b"".join(b"r%d,ACGT\n" % i for i in range(600)) + b"b\x00,AC\n",
        error(602, "invalid byte 0x00 in the record id"),
        name="odd.csv",
    ),
    "Parquet": Odd(parquet(id=["a"], sequence=["ACGT"]), A, name="odd.parquet"),
    "Parquet by its content": Odd(parquet(id=["a"], sequence=["ACGT"]), A, name="odd"),
    "Parquet without ids": Odd(
        parquet(sequence=["ACGT", "AC"]), [("odd_1", "ACGT"), ("odd_2", "AC")], name="odd.parquet"
    ),
    "the types of Parquet": Odd(
        parquet(
            sequence=["AC", "GT"],
            start=[1, None],
            end=[3, None],
            x=[0.5, None],
            yes=[True, None],
            label=[1, 0],
        ),
        [
            ("odd_1", None, 1, 3, None, None, 1, {"x": "0.5", "yes": "1"}),
            ("odd_2", *[None] * 5, 0, {"x": None, "yes": None}),
        ],
        partial(annotations, fields=label),
        name="odd.parquet",
    ),
    "Parquet without the column": Odd(
        parquet(id=["a"], seq=["ACGT"]),
        error(None, NO_SEQUENCE + "'id', 'seq'). Did you mean 'seq'? Set" + NAME_IT.format("seq")),
        name="odd.parquet",
    ),
    "Parquet without rows": Odd(
        lambda path: parquet(sequence=pyarrow.array([], pyarrow.string()))(path),
        error(None, "the table has no rows"),
        name="odd.parquet",
    ),
    "Parquet with lists": Odd(
        parquet(sequence=["AC"], x=[[1, 2]]),
        error(None, "column 'x' contains a list (expected text, numbers or booleans)"),
        name="odd.parquet",
    ),
    "Parquet of numbers as sequence": Odd(
        parquet(sequence=[7]),
        error(None, invalid("character '7'", "odd_1")),
        name="odd.parquet",
    ),
    "Parquet that is none": Odd(
        b"PAR1 is no Parquet",
        error(
            None,
            "cannot read the Parquet file: <...>. Download or write it again",
        ),
        name="odd.parquet",
    ),
    "a text that is called Parquet": Odd(
        b"ACGT\n",
        error(None, "cannot read the Parquet file: <...>. Download or write it again"),
        name="odd.parquet",
    ),
    "Parquet in gz": Odd(
        lambda path: (
            parquet(sequence=["AC"])(path),
            path.write_bytes(gzip.compress(path.read_bytes())),
        ),
        error(
            None,
            "Parquet cannot be read from a pipe or a compressed file. Unpack it, or save it as a "
            "file",
        ),
        name="odd.parquet.gz",
    ),
    "truncated Parquet": Odd(
        lambda path: (parquet(sequence=["AC"])(path), path.write_bytes(path.read_bytes()[:100])),
        error(None, "cannot read the Parquet file: <...>. Download or write it again"),
        name="odd.parquet",
    ),
}

ODD_FILES: dict[str, Odd] = {**WHOLE, **FASTA, **HEADERS, **PROTEINS, **FASTQ, **FLAT, **TABLES}
