r"""Describe odd and malformed files with their expected records or one-line error.

Modules `odd_KIND.py` of this folder have a list ODD_FILES of titles and files. test_records.py
reads them.

Most files are lines `content => error` or `content == result` of a table. The content has escapes
as in Python; \udcff is the byte 0xFF. Indented lines continue a case. [NAME] starts a section.
"""

from __future__ import annotations

import ast
import gzip
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow

from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.policy import SequencePolicy
from selfattn_bio.sequence.readers import SequenceFile
from selfattn_bio.sequence.records import Fields, ReadSummary, Record

IN_DNA, PLAIN = SequencePolicy(DNA, section="[data]"), Fields()


def records(
    path: Path, policy: SequencePolicy, fields: Fields = PLAIN, summary: ReadSummary | None = None
) -> Iterator[Record]:
    """Yield the records of a file; each has an id, and letters of the alphabet."""
    known = policy.alphabet.readable.upper()
    for record in SequenceFile(path, None, fields).records(policy, summary or ReadSummary()):
        assert record.id
        assert len(record.letters)
        assert not record.letters.tobytes().translate(None, known)
        yield record


def read(path: Path, policy: SequencePolicy = IN_DNA, fields: Fields = PLAIN) -> dict[str, str]:
    """Return the letters by id."""
    found = records(path, policy, fields)
    return {record.id: record.letters.tobytes().decode() for record in found}


def counted(path: Path, policy: SequencePolicy = IN_DNA) -> tuple[str, dict[str, int]]:
    """Return the letters of all records, and the counts."""
    summary = ReadSummary()
    letters = [record.letters.tobytes() for record in records(path, policy, summary=summary)]
    return b" ".join(letters).decode(), dict(+summary.counts)


def annotations(path: Path, fields: Fields = PLAIN) -> dict[str, dict[str, Any]]:
    """Return the other fields and the targets by id."""
    names = ("chrom", "start", "end", "strand", "group", "label")
    return {
        record.id: {name: value for name in names if (value := getattr(record, name)) is not None}
        | dict(record.targets or {})
        for record in records(path, IN_DNA, fields)
    }


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

    def create(self, folder: Path) -> Path:
        path = folder / self.name
        self.content(path) if callable(self.content) else path.write_bytes(self.content)
        return path


def unescaped(text: str) -> bytes:
    escaped = text.encode("latin-1", "backslashreplace").decode("unicode_escape")
    return escaped.encode("utf-8", "surrogateescape")


class Section(NamedTuple):
    """Reader, name and function that turns text into bytes, of the files of a section."""

    read: Callable[[Path], Any]
    name: str = "odd.fa"
    content_of: Callable[[str], bytes] = unescaped


def cases(table: str, sections: dict[str, tuple[Any, ...]]) -> list[tuple[str, Odd]]:
    """Return the files of a table with their titles; `sections` has the arguments of Section."""
    found, section = [], ""
    for line in filter(None, table.replace("\n    ", " ").splitlines()):
        if line.startswith("["):
            section = line[1:-1]
            continue
        reader, name, content_of = Section(*sections[section])
        text, kind, expected = re.split(" (==|=>) ", line, maxsplit=1)
        result = ast.literal_eval(expected) if kind == "==" else expected
        found.append((f"{section}: {text}", Odd(content_of(text), result, reader, name)))
    return found


GOOD, A = b">a\nACGT\n", {"a": "ACGT"}
RANDOM = np.random.default_rng(0).choice(list(b"ACGT"), 5000).astype(np.uint8).tobytes()
GZ = gzip.compress(b">a\n" + RANDOM + b"\n", mtime=0)
labelled = partial(annotations, fields=Fields("label"))
kinds = partial(annotations, fields=Fields("kind", ("tss",)))
numbered = partial(read, fields=Fields(numbered=True))


def zstd(content: bytes) -> bytes:
    return pyarrow.compress(content, codec="zstd", asbytes=True)
