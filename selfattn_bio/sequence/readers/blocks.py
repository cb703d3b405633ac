"""Read a file, or standard input for the path `-`, as blocks of uncompressed bytes.

The hash of the file is computed while reading, because a pipe can be read only once.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NoReturn, cast

from selfattn_bio.compression import BLOCK, decompressed, is_compressed, stream_of
from selfattn_bio.errors import SequenceFileError

HEAD = 4096  # uncompressed bytes from which callers recognise the format
STANDARD_INPUT = "standard input"


def raise_sequence_error(message: str, place: str, hint: str = "") -> NoReturn:
    """Raise a `SequenceFileError`; `place` is the path, or `path:line`."""
    raise SequenceFileError(message, place=place, hint=hint) from None


def display_path(path: Path) -> str:
    """Return the path for messages and summaries: "standard input" for `-`."""
    return STANDARD_INPUT if str(path) == "-" else str(path)


class BlockReader:
    """An open file, read once; iterate over it for blocks of uncompressed bytes.

    Attributes
    ----------
    path
        Path of the file, `-` for standard input.
    name
        Name of the file for messages.
    head
        The first uncompressed bytes: at least `HEAD`, unless the file is shorter. They are also the
        first block.
    plain
        Whether the file is uncompressed and seekable, as Parquet requires.
    """

    def __init__(self, path: Path, handle: BinaryIO) -> None:
        self.path, self.name = path, display_path(path)
        self._digest = hashlib.sha256()
        self._handle = handle
        raw = self._raw()
        first = next(raw, b"")
        self.plain = handle.seekable() and not is_compressed(first)
        blocks = decompressed(chain([first], raw), self.name, SequenceFileError)
        self.head = b""
        while len(self.head) < HEAD and (block := next(blocks, b"")):
            self.head += block
        self._blocks = chain([self.head] if self.head else [], blocks)

    def __iter__(self) -> Iterator[bytes]:
        return self._blocks

    def text(self) -> io.TextIOWrapper:
        """Return what has not been read yet as UTF-8 text, with line ends unchanged."""
        return io.TextIOWrapper(stream_of(self._blocks), encoding="utf-8-sig", newline="")

    def sha256(self) -> str:
        """Read the file to its end and return the SHA-256 of its bytes, compressed or not."""
        for _ in self._raw():
            pass
        return self._digest.hexdigest()

    def _raw(self) -> Iterator[bytes]:
        """Yield the bytes of the file as they are stored, and add them to the hash."""
        while block := self._handle.read(BLOCK):
            self._digest.update(block)
            yield block


@contextmanager
def open_blocks(path: Path) -> Iterator[BlockReader]:
    """Open a file, or standard input for `-`, in a `with` statement.

    Raises
    ------
    SequenceFileError
        If the file is missing, cannot be read, or is truncated or damaged. Damage is found only
        when it is read, so the error may come inside the `with` block.
    """
    if str(path) != "-":
        _check_kind(path)
    try:
        with (
            nullcontext(cast(BinaryIO, sys.stdin.buffer))
            if str(path) == "-"
            else path.open("rb") as handle
        ):
            yield BlockReader(path, handle)
    except OSError as error:
        raise_sequence_error(f"cannot read the file: {error.strerror or error}", display_path(path))


def _check_kind(path: Path) -> None:
    """Raise unless the path is a regular file or a named pipe."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise_sequence_error(
            "broken symbolic link" if path.is_symlink() else "no such file", str(path)
        )
    except OSError as error:
        raise_sequence_error(
            "symbolic links form a loop"
            if error.errno == errno.ELOOP
            else f"cannot open the file: {error.strerror or error}",
            str(path),
        )
    except ValueError as error:  # NUL in the name
        raise_sequence_error(f"invalid file name: {error}", repr(str(path)))
    if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
        raise_sequence_error(
            f"this is a {'folder' if stat.S_ISDIR(mode) else 'device'}, not a file",
            str(path),
        )
