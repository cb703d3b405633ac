"""Read plain, gz, bgzip and zstd files, which are recognised by their first bytes.

Only a few blocks are in memory at a time, whatever the compression ratio.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import BinaryIO, cast

from selfattn_bio.errors import SelfAttnBioError

BLOCK = 2**20  # bytes per read and per block
_GZ, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"  # first bytes of compressed files
_GZ_WINDOW = 31  # wbits of zlib: the largest window, with a gz header and checksum


@contextmanager
def open_uncompressed(path: Path, error: type[SelfAttnBioError]) -> Iterator[BinaryIO]:
    """Open a file in a `with` statement and read its uncompressed bytes.

    Parameters
    ----------
    path
        A plain, gz, bgzip or zstd file.
    error
        Class of the errors.

    Raises
    ------
    SelfAttnBioError
        If the file is missing, cannot be read, or is truncated or damaged; the class is `error`.
        Damage is found only when it is read, so the error may come inside the `with` block.
    """
    if not path.is_file():
        raise error(
            "this is a folder, not a file" if path.is_dir() else "no such file", place=str(path)
        )
    try:
        with path.open("rb") as handle:
            if is_compressed(handle.peek(len(_ZSTD))):
                blocks = decompressed(iter(lambda: handle.read(BLOCK), b""), str(path), error)
                yield cast(BinaryIO, stream_of(blocks))
            else:
                yield handle
    except OSError as failure:
        raise error(
            f"cannot read the file: {failure.strerror or failure}", place=str(path)
        ) from None


def is_compressed(first: bytes) -> bool:
    """Return whether a file that starts with these bytes is gz or zstd."""
    return first.startswith((_GZ, _ZSTD))


def decompressed(raw: Iterator[bytes], name: str, error: type[SelfAttnBioError]) -> Iterator[bytes]:
    """Yield the uncompressed bytes of a file that is given in blocks.

    Parameters
    ----------
    raw
        Blocks of the file as it is stored. The first one has at least four bytes, unless the file
        is shorter.
    name
        Name of the file for messages.
    error
        Class of the errors.

    Raises
    ------
    SelfAttnBioError
        If the file is truncated or damaged; the class is `error`.
    """
    first = next(raw, b"")
    raw = chain([first], raw)
    try:
        if first.startswith(_GZ):
            yield from _gunzip(raw)
        elif first.startswith(_ZSTD):
            yield from _unzstd(raw)
        else:
            yield from raw
    except _DamageError as damage:
        raise error(str(damage), place=name, hint="Download or copy it again") from None


def stream_of(blocks: Iterator[bytes]) -> io.BufferedReader:
    """Return a file object that reads an iterator of blocks."""
    return io.BufferedReader(_Reader(blocks), BLOCK)


class _DamageError(Exception):
    """A compressed file that is truncated or damaged."""


def _gunzip(raw: Iterator[bytes]) -> Iterator[bytes]:
    """Decompress gz with one or more members, as in bgzip; zeros after a member are padding."""
    member = zlib.decompressobj(_GZ_WINDOW)
    try:
        for block in raw:
            while block:
                if member.eof:
                    block = block.lstrip(b"\0")
                    if not block:
                        break
                    member = zlib.decompressobj(_GZ_WINDOW)
                if piece := member.decompress(block, BLOCK):
                    yield piece
                block = member.unconsumed_tail or member.unused_data
        # the last block may have filled a result, with more to come
        while not member.eof and (piece := member.decompress(member.unconsumed_tail, BLOCK)):
            yield piece
    except zlib.error as error:
        raise _DamageError(f"damaged gz file: {error}") from None
    if not member.eof:
        raise _DamageError("gz file is truncated")


def _unzstd(raw: Iterator[bytes]) -> Iterator[bytes]:
    """Decompress zstd with one or more frames."""
    import pyarrow

    try:
        stream = pyarrow.CompressedInputStream(pyarrow.PythonFile(stream_of(raw), mode="r"), "zstd")
        while block := stream.read(BLOCK):
            yield block
    except OSError as error:
        if error.errno:  # the disk failed; the file may be intact
            raise
        truncated = "Truncated" in str(error)
        raise _DamageError(
            "zstd file is truncated" if truncated else f"damaged zstd file: {error}"
        ) from None


class _Reader(io.RawIOBase):
    """Present an iterator of blocks as a file object."""

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
