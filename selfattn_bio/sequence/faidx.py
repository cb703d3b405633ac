"""Find, check and create the index of a genome: `.fai`, and `.gzi` for bgzip.

htslib (pysam) writes the index. It silently accepts duplicate names, empty records and FASTQ, so
this module checks the file first and reports them as errors.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import re
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, NamedTuple, NoReturn

import numpy as np
import pysam

from selfattn_bio.compression import check_file, is_compressed, open_uncompressed
from selfattn_bio.errors import GenomeError
from selfattn_bio.files import whole_file
from selfattn_bio.log import LOG
from selfattn_bio.sequence.alphabet import printable

_fail = GenomeError.fail

_FAI_LINE = re.compile(r"([^\t]*)" + r"\t([0-9]+)" * 4)
_BGZF = b"\x1f\x8b\x08\x04"
# The empty block at the end of every bgzip file.
_BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


class _FaiLine(NamedTuple):
    """A line of the .fai file.

    `offset` is the byte of the first base in the uncompressed file; `letters` and `bytes` are the
    bases and bytes of one line.
    """

    name: str
    length: int
    offset: int
    letters: int
    bytes: int


def index_of(path: Path) -> tuple[Path, Path | None, dict[str, int]]:
    """Return the .fai path, .gzi path and chromosome lengths of a FASTA file.

    A missing or stale index is created. The .gzi path is None unless the file is bgzip.

    Raises
    ------
    GenomeError
        See `Genome`.
    """
    try:
        zipped = _check_head(path)
        adjacent, cached = Path(f"{path}.fai"), _cached(path)
        for fai in (adjacent, cached):
            if fai.exists():
                rows = _rows(fai)
                if not (stale := _why_stale(path, fai, rows, zipped)):
                    break
                LOG.warning(f"{fai}: {stale}; rebuilding the index")
        else:
            fai = adjacent if os.access(path.parent, os.W_OK) else cached
            rows = _make(path, fai, zipped)
        return fai, _gzi(fai) if zipped else None, {row.name: row.length for row in rows}
    except OSError as error:
        message = f"cannot read the FASTA file or its index: {error.strerror or error}"
        file, hint = error.filename or path, "Set XDG_CACHE_HOME to a folder for the index"
        _fail(message, file, "" if str(file).startswith(str(path)) else hint)


def _check_head(path: Path) -> bool:
    """Return whether the file is bgzip; raise if it is not FASTA that allows random access."""
    hint = "Write a sequence to a FASTA file, and pass its path" if str(path).isalpha() else ""
    check_file(path, GenomeError, hint)
    with path.open("rb") as handle:
        zipped = (head := handle.read(4)) == _BGZF
        if zipped:
            handle.seek(-min(len(_BGZF_END), path.stat().st_size), os.SEEK_END)
            if handle.read() != _BGZF_END:
                _fail("bgzip file is truncated", path, "Download or copy it again")
    if is_compressed(head) and not zipped:
        kind, program = ("gz", "gzip") if head[:2] == _BGZF[:2] else ("zstd", "zstd")
        hint = (
            f"Compress it with bgzip: {program} -dc {path} | bgzip > "
            f"{path.name.removesuffix('.gz')}.bgz, or use the unpacked file"
        )
        _fail(f"the file is {kind} but not bgzip, so it has no random access", path, hint)
    with open_uncompressed(path, GenomeError) as text:
        first = text.read(1)
    if first != b">":
        _fail(
            f"not FASTA: the file starts with {printable(first[0])} instead of '>'"
            if first
            else "the file is empty",
            path,
        )
    return zipped


def _gzi(fai: Path) -> Path:
    return fai.with_suffix(".gzi")


def _cached(path: Path) -> Path:
    """Return the .fai path in the user's cache, derived from the full path of the genome."""
    home = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()
    return Path(home, "selfattn_bio", "genomes", f"{path.name}-{digest[:16]}.fai")


def _rows(fai: Path) -> list[_FaiLine]:
    """Return the lines of a .fai file, or an empty list if one is malformed."""
    rows = []
    for line in fai.read_text(encoding="utf-8", errors="replace").splitlines():
        if not (found := _FAI_LINE.fullmatch(line)):
            return []
        rows.append(_FaiLine(found[1], *map(int, found.groups()[1:])))
    return rows


def _why_stale(path: Path, fai: Path, rows: list[_FaiLine], zipped: bool) -> str:
    """Return why the index does not match the current file, or "" if it does."""
    indexes = [fai, _gzi(fai)] if zipped else [fai]
    if not all(index.exists() for index in indexes):
        return "no .gzi file next to it"
    if any(index.stat().st_mtime < path.stat().st_mtime for index in indexes):
        return "older than the FASTA file"
    fits = rows and (_fits_blocks(path, _gzi(fai)) if zipped else _fits_headers(path, rows))
    return "" if fits else "does not match the FASTA file"


def _fits_headers(path: Path, rows: list[_FaiLine]) -> bool:
    """Return whether each name precedes its bases and the last record ends the file."""
    with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as text:
        for row in rows:
            header = text[text.rfind(b"\n", 0, max(row.offset - 1, 0)) + 1 : row.offset]
            name = header[1:].split(maxsplit=1)[:1]
            if not header.endswith(b"\n") or name != [row.name.encode()]:
                return False
        last = rows[-1]
        newlines = (last.length - 1) // max(last.letters, 1) * (last.bytes - last.letters)
        end = last.offset + last.length + newlines
        return end <= len(text) and not text[end:].strip()


def _fits_blocks(path: Path, gzi: Path) -> bool:
    """Return whether the last offset in the .gzi file is the start of a bgzip block."""
    numbers = np.fromfile(gzi, "<u8")
    if not len(numbers) or len(numbers) != 1 + 2 * int(numbers[0]):
        return False
    with path.open("rb") as handle:
        handle.seek(int(numbers[-2]) if len(numbers) > 1 else 0)
        return handle.read(4) == _BGZF


def _make(path: Path, fai: Path, zipped: bool) -> list[_FaiLine]:
    with open_uncompressed(path, GenomeError) as text:
        _check_lines(path, text)
    pysam.set_verbosity(0)  # htslib would write its messages to stderr directly
    try:
        with ExitStack() as stack:
            made = stack.enter_context(whole_file(fai))
            options = (
                ["--gzi-idx", str(stack.enter_context(whole_file(_gzi(fai))))] if zipped else []
            )
            pysam.faidx("--fai-idx", str(made), *options, str(path))
            return _rows(made)
    except pysam.SamtoolsError as error:
        _fail(f"htslib cannot index the file: {str(error).strip()}", path)


def _check_lines(path: Path, text: BinaryIO) -> None:
    """Raise if htslib could not index the file, would index it wrongly or would skip records."""
    seen: dict[bytes, int] = {}
    width, line_end = 0, b""  # number of bases in the first line of the record
    ended = True  # whether only a header may follow, because a line was shorter than the first
    for number, line in enumerate(text, start=1):
        letters = line.rstrip(b"\r\n")
        if len(letters) == width and not ended and letters.isalpha() and line[width:] == line_end:
            continue
        place = f"{path}:{number}"
        if line.startswith(b">"):
            if seen and not width:
                _no_sequence(path, seen)
            _take_name(letters[1:], seen, number, place)
            width, ended = 0, False
        elif foreign := re.search(rb"[^A-Za-z](?!\Z)|[^A-Za-z*]\Z", letters):
            name = list(seen)[-1].decode("utf-8", "replace")
            _fail(f"invalid {printable(foreign[0][0])} in the sequence of {name!r}", place)
        elif letters and (ended or (width and len(letters) > width)):
            before = "a shorter line" if ended else f"a line of {width}"
            message = f"unequal line lengths in a record: {len(letters)} characters after {before}"
            _fail(message, place, "Wrap the lines again, e.g. seqtk seq -l 60 old.fa > new.fa")
        elif width and line[len(letters) :] not in (line_end, b""):
            message = "the record mixes LF and CRLF line ends"
            _fail(message, place, "Convert it, e.g. tr -d '\\r' < old.fa > new.fa")
        else:
            ended = width > 0 or not letters  # shorter than the first line, or blank
            width, line_end = width or len(letters), line_end if width else line[len(letters) :]
    if not width:
        _no_sequence(path, seen)


def _take_name(header: bytes, seen: dict[bytes, int], number: int, place: str) -> None:
    name = header.split(maxsplit=1)[0] if header[:1].strip() else b""
    shown = repr(name.decode("utf-8", "replace"))
    if b"\r" in header:
        message = "lines end in CR (expected LF or CRLF)"
        _fail(message, place, "Convert it, e.g. tr '\\r' '\\n' < old.fa > new.fa")
    if not name:
        _fail(f"no name after '>' in {'>' + header.decode('utf-8', 'replace')!r}", place)
    if name in seen:
        message = f"duplicate name {shown} (first in line {seen[name]})"
        _fail(message, place, "Rename or remove one")
    seen[name] = number


def _no_sequence(path: Path, seen: dict[bytes, int]) -> NoReturn:
    name, number = list(seen.items())[-1]
    message = f"record {name.decode('utf-8', 'replace')!r} has no sequence"
    _fail(message, f"{path}:{number}", "Remove the header or add its sequence")
