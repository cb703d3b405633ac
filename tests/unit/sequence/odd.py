"""Describe odd and malformed files with their expected records or one-line error.

Modules `odd_KIND.py` of this folder have a table ODD_FILES of these descriptions. test_odd_files.py
runs them.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow

from selfattn_bio.sequence.alphabet import DNA, PROTEIN
from selfattn_bio.sequence.policy import SequencePolicy
from selfattn_bio.sequence.readers import SequenceFile
from selfattn_bio.sequence.records import Fields, ReadSummary

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
    return record.letters.tobytes().decode(), dict(+summary.counts)


def annotations(path: Path, fields: Fields = PLAIN) -> list[tuple[Any, ...]]:
    """Return the other fields: id, chrom, start, end, strand, group, label, targets."""
    records = SequenceFile(path, None, fields).records(SequencePolicy(DNA), ReadSummary())
    return [(row.id, *row[2:8], dict(row.targets) if row.targets else None) for row in records]


def masked(path: Path) -> list[list[list[int]]]:
    """Return the intervals of lower case."""
    records = SequenceFile(path).records(SequencePolicy(DNA, "keep"), ReadSummary())
    return [record.masked.tolist() for record in records if record.masked is not None]


class Odd(NamedTuple):
    """One file.

    `content` is its bytes or text, or a function that creates the file at a given path. `read` is
    called with the path; its result must equal `expected`, or it must raise the expected error.
    `name` is the name of the file.
    """

    content: bytes | str | Callable[[Path], object]
    expected: Any
    read: Callable[[Path], Any] = read
    name: str = "odd.fa"
    long: bool = False  # takes over half a minute


GOOD, A = b">a\nACGT\n", [("a", "ACGT")]
RANDOM = np.random.default_rng(0).choice(list(b"ACGT"), 5000).astype(np.uint8).tobytes()
GZ = gzip.compress(b">a\n" + RANDOM + b"\n", mtime=0)
LABELS = [("a", *[None] * 5, 1, None), ("b", *[None] * 5, 0, None)]  # as read by `labelled`
labelled = partial(annotations, fields=Fields("label"))
kinds = partial(annotations, fields=Fields("kind", ("tss",)))
numbered = partial(read, fields=Fields(numbered=True))
NUMBER = ', or number the records: ids = "numbered" in [data]'
NUMBERED = ". Rename or remove one" + NUMBER
NO_ID = "record without an id: header '>'. Write an id after '>'" + NUMBER
protein = partial(read, policy=SequencePolicy(PROTEIN))
counted_protein = partial(counted, policy=SequencePolicy(PROTEIN))
CORRECT, AGAIN = ". Correct the sequence or remove the record", ". Download or copy it again"
EMPTY = "record 'b' has no sequence. Remove the record or add its sequence"
GAPS = '. Remove the alignment gaps, or set gaps = "remove" in [data]'
STOPS = ". Remove the stop signs; only one at the end of a protein is removed automatically"
LOOKS_PROTEIN = (
    '. It looks like protein; set alphabet = "protein" in [data], or in '
    "[partner] for a second input"
)
FOUR_LINES = ". Each FASTQ record has four lines: header, sequence, +, qualities"


def invalid(
    found: str, record: str = "a", hint: str = CORRECT, expected: str = "IUPAC DNA codes"
) -> str:
    return f"invalid {found} in record {record!r} (expected {expected}){hint}"


def in_protein(found: str, hint: str) -> str:
    return invalid(found, "p", hint, "one-letter amino acid codes")


def error(line: int, message: str) -> Promised:
    """Return an error in one line of the file, or in the complete file if `line` is 0."""
    place = f"{{path}}:{line}: " if line else "{path}: "
    return Promised(place + message.replace("{", "{{").replace("}", "}}"))


def bad(content: Any, line: int, message: str, read: Any = read, name: str = "odd.fa") -> Odd:
    """Return a file with an error."""
    return Odd(content, error(line, message), read, name)


def unsupported(content: bytes, kind: str, hint: str = "") -> Odd:
    expected = "FASTQ, GenBank, EMBL, CSV, TSV or Parquet"
    return bad(content, 0, f"unsupported file type: {kind} (expected FASTA, {expected}){hint}")


def zstd(content: bytes) -> bytes:
    return pyarrow.compress(content, codec="zstd", asbytes=True)
