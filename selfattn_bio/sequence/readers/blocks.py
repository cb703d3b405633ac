"""The bytes of a file, uncompressed, in blocks: plain, gz, bgzip or zstd, told by content; or standard input, for the path `-`.

Hides: compression, what kind of thing a path is, the hash of the file (taken as it is read, so that a pipe has one too) and the wording of
what can be wrong with a file as a whole. Memory is that of some blocks, however well they were compressed.
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

BLOCK = 2**20  # bytes read, and given, at once
HEAD = 4096  # bytes looked at to tell what kind of file it is
STANDARD_INPUT = "standard input"
_GZ, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_MENDING = "Download or copy it again"


def fail(rule: str, got: str, place: str, cure: str = "") -> NoReturn:
    """Raise the error of a sequence file."""
    raise SequenceFileError(f"{rule}, got {got}", place=place, cure=cure) from None


def shown(path: Path) -> str:
    """The path as errors and summaries name it."""
    return STANDARD_INPUT if str(path) == "-" else str(path)


class Blocks:
    """An open file.

    Attributes
    ----------
    name
        The file as errors name it.
    head
        The first uncompressed bytes, `HEAD` or more unless the file has fewer.
    plain
        Whether the file is not compressed and can be read anywhere, as Parquet must be.
    """

    def __init__(self, path: Path, handle: BinaryIO) -> None:
        self.path, self.name = path, shown(path)
        self._digest = hashlib.sha256()
        self._handle = handle
        raw = self._raw()
        first = next(raw, b"")
        self.plain = handle.seekable() and not first.startswith((_GZ, _ZSTD))
        raw = chain([first], raw)
        blocks = _gunzip(raw, self.name) if first.startswith(_GZ) else _unzstd(raw, self.name) if first.startswith(_ZSTD) else raw
        self.head = b""
        while len(self.head) < HEAD and (block := next(blocks, b"")):
            self.head += block
        self._blocks = chain([self.head] if self.head else [], blocks)

    def __iter__(self) -> Iterator[bytes]:
        return self._blocks

    def text(self) -> io.TextIOWrapper:
        """The rest as UTF-8 text, line ends as they are."""
        return io.TextIOWrapper(io.BufferedReader(_Reader(self._blocks), BLOCK), encoding="utf-8-sig", newline="")

    def sha256(self) -> str:
        """The hash of the file's bytes; what was not read yet is read."""
        for _ in self._raw():
            pass
        return self._digest.hexdigest()

    def _raw(self) -> Iterator[bytes]:
        while block := self._handle.read(BLOCK):
            self._digest.update(block)
            yield block


@contextmanager
def open_blocks(path: Path) -> Iterator[Blocks]:
    """Open a file, or standard input for `-`.

    Raises
    ------
    SequenceFileError
        If there is no such file, it cannot be read, or its compression is damaged: also later, while it is read.
    """
    if str(path) != "-":
        _check_kind(path)
    try:
        with nullcontext(cast(BinaryIO, sys.stdin.buffer)) if str(path) == "-" else path.open("rb") as handle:
            yield Blocks(path, handle)
    except OSError as error:
        fail("sequence file must be readable", error.strerror or str(error), shown(path))


def _check_kind(path: Path) -> None:
    rule = "sequence file must be an existing file"
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        fail(rule, "a link to nothing" if path.is_symlink() else "no such file", str(path))
    except OSError as error:
        fail(rule, "links that lead to each other" if error.errno == errno.ELOOP else error.strerror or str(error), str(path))
    except ValueError as error:  # a NUL in the name
        fail(rule, str(error), repr(str(path)))
    if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
        fail(rule, "a folder" if stat.S_ISDIR(mode) else "a device", str(path))


def _gunzip(raw: Iterator[bytes], name: str) -> Iterator[bytes]:
    """Uncompress gz of one member or many, as bgzip writes them; zeros after a member are padding."""
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
        fail("gz file must be undamaged", str(error), name, _MENDING)
    if not engine.eof:
        fail("gz file must be whole", "an end in the middle (truncated)", name, _MENDING)


def _unzstd(raw: Iterator[bytes], name: str) -> Iterator[bytes]:
    """Uncompress zstd of one frame or many."""
    import pyarrow

    try:
        stream = pyarrow.CompressedInputStream(pyarrow.PythonFile(io.BufferedReader(_Reader(raw), BLOCK), mode="r"), "zstd")
        while block := stream.read(BLOCK):
            yield block
    except OSError as error:
        if error.errno:  # of the disk, not of what is on it
            raise
        if "Truncated" in str(error):
            fail("zstd file must be whole", "an end in the middle (truncated)", name, _MENDING)
        fail("zstd file must be undamaged", str(error), name, _MENDING)


class _Reader(io.RawIOBase):
    """Blocks as a file."""

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
