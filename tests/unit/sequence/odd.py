r"""Describe odd and malformed files with their expected records or one-line error.

Modules `odd_KIND.py` of this folder have a list ODD_FILES of titles and files. test_records.py
reads them.

Most files are lines `content => error` or `content == result` of a table. The content has escapes
as in Python; \udcff is the byte 0xFF. Indented lines continue a case.
"""

from __future__ import annotations

import ast
import gzip
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow

from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.policy import SequencePolicy
from selfattn_bio.sequence.readers import SequenceFile
from selfattn_bio.sequence.records import Fields, ReadSummary

IN_DNA, PLAIN = SequencePolicy(DNA), Fields()


def read(path: Path, policy: SequencePolicy = IN_DNA, fields: Fields = PLAIN) -> dict[str, str]:
    """Return the letters by id."""
    return {
        record.id: record.letters.tobytes().decode()
        for record in SequenceFile(path, None, fields).records(policy, ReadSummary())
    }


def counted(path: Path, policy: SequencePolicy = IN_DNA) -> tuple[str, dict[str, int]]:
    """Return the letters of the only record, and the counts."""
    summary = ReadSummary()
    (record,) = SequenceFile(path).records(policy, summary)
    return record.letters.tobytes().decode(), dict(+summary.counts)


def annotations(path: Path, fields: Fields = PLAIN) -> dict[str, dict[str, Any]]:
    """Return the other fields and the targets by id."""
    names = ("chrom", "start", "end", "strand", "group", "label")
    return {
        record.id: {name: value for name in names if (value := getattr(record, name)) is not None}
        | dict(record.targets or {})
        for record in SequenceFile(path, None, fields).records(IN_DNA, ReadSummary())
    }


def masked(path: Path) -> list[list[list[int]]]:
    """Return the intervals of lower case."""
    records = SequenceFile(path).records(SequencePolicy(DNA, "keep"), ReadSummary())
    return [record.masked.tolist() for record in records if record.masked is not None]


class Odd(NamedTuple):
    """One file.

    `content` is its bytes, or a function that creates the file at a given path. `read` is called
    with the path. Its result must equal `expected`, or it must raise the error with this text:
    {path} and {folder} are those of the file, <...> is any text, and a number at the start is the
    line.
    """

    content: bytes | Callable[[Path], object]
    expected: Any
    read: Callable[[Path], Any] = read
    name: str = "odd.fa"


def unescaped(text: str) -> bytes:
    escaped = text.encode("latin-1", "backslashreplace").decode("unicode_escape")
    return escaped.encode("utf-8", "surrogateescape")


def cases(
    table: str,
    read: Callable[[Path], Any] = read,
    name: str = "odd.fa",
    content_of: Callable[[str], bytes] = unescaped,
) -> list[tuple[str, Odd]]:
    """Return the files of a table with their titles."""
    found = []
    for line in table.replace("\n    ", " ").splitlines():
        if not line:
            continue
        text, kind, expected = re.split(" (==|=>) ", line, maxsplit=1)
        result = ast.literal_eval(expected) if kind == "==" else expected
        found.append((text, Odd(content_of(text), result, read, name)))
    return found


GOOD, A = b">a\nACGT\n", {"a": "ACGT"}
RANDOM = np.random.default_rng(0).choice(list(b"ACGT"), 5000).astype(np.uint8).tobytes()
GZ = gzip.compress(b">a\n" + RANDOM + b"\n", mtime=0)
labelled = partial(annotations, fields=Fields("label"))
kinds = partial(annotations, fields=Fields("kind", ("tss",)))
numbered = partial(read, fields=Fields(numbered=True))


def zstd(content: bytes) -> bytes:
    return pyarrow.compress(content, codec="zstd", asbytes=True)
