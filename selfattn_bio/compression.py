"""Read plain, gz, bgzip and zstd files, which are recognised by their first bytes.

Only a few blocks are in memory at a time, whatever the compression ratio.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import os
import select
import stat
import sys
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from selfattn_bio.errors import SelfAttnBioError, SequenceFileError

BLOCK = 2**20  # bytes per read and per block
_GZ, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"  # first bytes of compressed files
HEAD = 4096  # uncompressed bytes from which callers recognise the format
PIPE_SECONDS = 10  # to wait for a process that writes to a named pipe
STANDARD_INPUT = "standard input"

raise_sequence_error = SequenceFileError.fail


def check_file(path: Path, error: type[SelfAttnBioError], hint: str = "") -> None:
    """Raise an error with the hint if there is no such file, or it is a folder or a device."""
    if not os.path.isfile(path):  # unlike Path.is_file, also for a text too long for a name
        is_folder = os.path.isdir(path)
        error.fail("this is a folder, not a file" if is_folder else "no such file", path, hint)


@contextmanager
def open_uncompressed(path: Path, error: type[SelfAttnBioError]) -> Iterator[io.BufferedReader]:
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
    check_file(path, error)
    try:
        with path.open("rb") as handle:
            raw = iter(lambda: handle.read(BLOCK), b"")
            yield stream_of(decompressed(raw, str(path), error))
    except OSError as failure:
        message = f"cannot read the file: {failure.strerror or failure}"
        raise error(message, place=str(path)) from None


def lines_of(path: Path, error: type[SelfAttnBioError]) -> Iterator[tuple[int, str]]:
    """Yield number (1-based) and text of each line of a plain or compressed file, without line end.

    Raises
    ------
    SelfAttnBioError
        If the file is missing, unreadable, damaged, or not UTF-8 text; the class is `error`.
    """
    with open_uncompressed(path, error) as text:
        for number, raw in enumerate(text, start=1):
            place = f"{path}:{number}"
            if raw.startswith((b"\xff\xfe", b"\xfe\xff")) and number == 1:
                hint = "Save it as plain text (UTF-8)"
                raise error("the file is UTF-16 (expected UTF-8)", place=str(path), hint=hint)
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError as failure:
                byte = f"invalid byte 0x{raw[failure.start]:02X}"
                raise error(f"{byte} (expected UTF-8 text)", place=place) from None
            if "\0" in line:
                raise error("binary data (expected text)", place=place)
            yield number, line


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
    blocks = chain([first], raw)
    if not is_compressed(first):
        yield from blocks
        return
    kind = "gz" if first.startswith(_GZ) else "zstd"
    try:
        stream = _unpacked(kind, stream_of(blocks))
        while block := stream.read(BLOCK):
            yield block
    except (EOFError, OSError, zlib.error) as damage:
        if isinstance(damage, OSError) and damage.errno:  # the disk failed; the file may be intact
            raise
        is_truncated = isinstance(damage, EOFError) or "Truncated" in str(damage)
        message = f"{kind} file is truncated" if is_truncated else f"damaged {kind} file: {damage}"
        raise error(message, place=name, hint="Download or copy it again") from None


def _unpacked(kind: str, stream: io.BufferedReader) -> Any:
    """Return the file object of the uncompressed bytes of gz or zstd.

    Gz may have several members, as in bgzip; zeros after a member are padding. Zstd may have
    several frames.
    """
    if kind == "gz":
        return gzip.GzipFile(fileobj=stream)
    import pyarrow

    return pyarrow.CompressedInputStream(pyarrow.PythonFile(stream, mode="r"), "zstd")


def stream_of(blocks: Iterator[bytes]) -> io.BufferedReader:
    """Return a file object that reads an iterator of blocks."""
    return io.BufferedReader(_BlockFile(blocks), BLOCK)


class _BlockFile(io.RawIOBase):
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
    try:
        with _opened(path) as handle:
            yield BlockReader(path, handle)
    except OSError as error:
        raise_sequence_error(f"cannot read the file: {error.strerror or error}", display_path(path))


def _opened(path: Path) -> AbstractContextManager[BinaryIO]:
    """Open a file, a named pipe to which a process writes, or standard input, which stays open."""
    if str(path) == "-":
        return nullcontext(sys.stdin.buffer)
    _check_kind(path)
    if not path.is_fifo():
        return path.open("rb")
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with suppress(BlockingIOError):  # a process has opened the pipe, and writes later
        if not select.select([handle], [], [], PIPE_SECONDS)[0] and not os.read(handle, 1):
            os.close(handle)
            message = "no process writes to this named pipe"
            raise_sequence_error(message, str(path), "Start the process before")
    os.set_blocking(handle, True)
    return os.fdopen(handle, "rb")


def _check_kind(path: Path) -> None:
    """Raise unless the path is a regular file or a named pipe."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        message = "broken symbolic link" if path.is_symlink() else "no such file"
        raise_sequence_error(message, str(path))
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
        message = f"this is a {'folder' if stat.S_ISDIR(mode) else 'device'}, not a file"
        raise_sequence_error(message, str(path))
