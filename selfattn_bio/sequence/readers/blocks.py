"""Read the uncompressed bytes of a file in blocks, or of standard input for the path `-`.

Plain, gz, bgzip and zstd are recognised by content. The hash is computed while reading, so that
pipes have one too. Only a few blocks are in memory at a time, whatever the compression ratio.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NoReturn, cast

from selfattn_bio.errors import SequenceFileError

BLOCK = 2**20  # bytes per read and per block
HEAD = 4096  # bytes used to recognise the format
STANDARD_INPUT = "standard input"
_GZ, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_AGAIN = "Download or copy it again"


def fail(message: str, place: str, hint: str = "") -> NoReturn:
    """Raise an error about a sequence file."""
    raise SequenceFileError(message, place=place, hint=hint) from None


def shown(path: Path) -> str:
    """Return the path as errors and summaries show it."""
    return STANDARD_INPUT if str(path) == "-" else str(path)


class BlockReader:
    """An open file.

    Attributes
    ----------
    name
        Name of the file in errors.
    head
        The first uncompressed bytes: at least `HEAD`, unless the file is shorter.
    plain
        Whether the file is uncompressed and seekable, as Parquet requires.
    """

    def __init__(self, path: Path, handle: BinaryIO) -> None:
        self.path, self.name = path, shown(path)
        self._digest = hashlib.sha256()
        self._handle = handle
        raw = self._raw()
        first = next(raw, b"")
        self.plain = handle.seekable() and not first.startswith((_GZ, _ZSTD))
        raw = chain([first], raw)
        blocks = (
            _gunzip(raw, self.name)
            if first.startswith(_GZ)
            else _unzstd(raw, self.name)
            if first.startswith(_ZSTD)
            else raw
        )
        self.head = b""
        while len(self.head) < HEAD and (block := next(blocks, b"")):
            self.head += block
        self._blocks = chain([self.head] if self.head else [], blocks)

    def __iter__(self) -> Iterator[bytes]:
        return self._blocks

    def text(self) -> io.TextIOWrapper:
        """Return the rest as UTF-8 text, with line ends unchanged."""
        return io.TextIOWrapper(
            io.BufferedReader(_Reader(self._blocks), BLOCK), encoding="utf-8-sig", newline=""
        )

    def sha256(self) -> str:
        """Return the hash of the file's bytes, after reading the rest."""
        for _ in self._raw():
            pass
        return self._digest.hexdigest()

    def _raw(self) -> Iterator[bytes]:
        while block := self._handle.read(BLOCK):
            self._digest.update(block)
            yield block


@contextmanager
def open_blocks(path: Path) -> Iterator[BlockReader]:
    """Open a file, or standard input for `-`.

    Raises
    ------
    SequenceFileError
        If there is no such file, it cannot be read, or its compression is damaged; also later,
        during reading.
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
        fail(f"cannot read the file: {error.strerror or error}", shown(path))


def _check_kind(path: Path) -> None:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        fail("broken symbolic link" if path.is_symlink() else "no such file", str(path))
    except OSError as error:
        fail(
            "symbolic links form a loop"
            if error.errno == errno.ELOOP
            else f"cannot open the file: {error.strerror or error}",
            str(path),
        )
    except ValueError as error:  # NUL in the name
        fail(f"invalid file name: {error}", repr(str(path)))
    if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
        fail(
            f"this is a {'folder' if stat.S_ISDIR(mode) else 'device'}, not a file",
            str(path),
        )


def _gunzip(raw: Iterator[bytes], name: str) -> Iterator[bytes]:
    """Decompress gz with one or more members, as in bgzip; zeros after a member are padding."""
    engine = zlib.decompressobj(31)
    try:
        for block in raw:
            while block:
                if engine.eof:
                    block = block.lstrip(b"\0")
                    if not block:
                        break
                    engine = zlib.decompressobj(31)
                if letters := engine.decompress(block, BLOCK):
                    yield letters
                block = engine.unconsumed_tail or engine.unused_data
        while not engine.eof and (letters := engine.decompress(engine.unconsumed_tail, BLOCK)):
            yield letters
    except zlib.error as error:
        fail(f"damaged gz file: {error}", name, _AGAIN)
    if not engine.eof:
        fail("gz file is truncated", name, _AGAIN)


def _unzstd(raw: Iterator[bytes], name: str) -> Iterator[bytes]:
    """Decompress zstd with one or more frames."""
    import pyarrow

    try:
        stream = pyarrow.CompressedInputStream(
            pyarrow.PythonFile(io.BufferedReader(_Reader(raw), BLOCK), mode="r"), "zstd"
        )
        while block := stream.read(BLOCK):
            yield block
    except OSError as error:
        if error.errno:  # an error of the disk, not of the content
            raise
        if "Truncated" in str(error):
            fail("zstd file is truncated", name, _AGAIN)
        fail(f"damaged zstd file: {error}", name, _AGAIN)


class _Reader(io.RawIOBase):
    """Blocks as a file object."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks, self._rest = blocks, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self._rest:
            self._rest = memoryview(next(self._blocks, b""))
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size
