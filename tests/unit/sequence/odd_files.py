"""Malformed and odd files, each with the records or the one-line error that is promised for it: a table, run by test_odd_files.py.

Further kinds of files have modules of their own, `odd_KIND.py` beside this one, with a table ODD_FILES of the same form.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.readers import SequenceFile
from selfattn_bio.sequence.records import Notes
from selfattn_bio.sequence.spelling import Spelling


class Promised(NamedTuple):
    """The error: all of its text, in which {path} is the file's path and {folder} that of the folder it stands in."""

    error: str


def dna(path: Path) -> list[tuple[str, str]]:
    """Ids and letters of a file read as DNA."""
    return [(record.id, record.letters.tobytes().decode()) for record in SequenceFile(path).records(Spelling(DNA), Notes())]


class Odd(NamedTuple):
    """One file.

    `content` is its bytes, or a function that is given the path and makes it; `read` is called with the path, and its result must equal
    `expected`, or its error be the promised one. `name` is that of the file.
    """

    content: bytes | Callable[[Path], object]
    expected: Any
    read: Callable[[Path], Any] = dna
    name: str = "odd.fa"
    long: bool = False  # takes over half a minute


ODD_FILES: dict[str, Odd] = {
    "empty file": Odd(b"", Promised("{path}: sequence file must hold records, got an empty file")),
    "gz": Odd(gzip.compress(b">a\nACGT\n"), [("a", "ACGT")]),
}
