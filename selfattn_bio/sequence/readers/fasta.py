"""Parse FASTA and FASTQ, and GenBank and EMBL with Biopython.

The package has its own parsers of FASTA and FASTQ because those of dnaio and Biopython give no line
numbers and skip lines they do not understand, and pyfastx and pysam need a file on disk. FASTA is
read in blocks instead of lines for speed. Of GenBank and EMBL entries, id, letters and organism are
read. Exceptions and warnings of Biopython, which have no line numbers, become errors and counts of
the package.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any

from selfattn_bio.compression import BLOCK, BlockReader, raise_sequence_error, stream_of
from selfattn_bio.sequence.policy import CRLF, at
from selfattn_bio.sequence.records import Entry, ReaderState, Record

_MARK = b"\xef\xbb\xbf"  # the byte order mark that some editors write
_FOUR_LINES = "Each FASTQ record has four lines: header, sequence, +, qualities"
ORGANISM, WARNED = "organism", "Biopython warnings"


def read_fasta(blocks: BlockReader, state: ReaderState) -> Iterator[Record]:
    """Read FASTA with any line length and LF or CRLF, in the memory of the largest record.

    `>a chrom=chr2L start=7 end=11 strand=-` followed by `acgu` gives
    `Record("a", ACGT, "chr2L", 7, 11, "-", None)`. The id is the first word of the header,
    attributes are optional, and blanks between letters are ignored.

    Raises
    ------
    SequenceFileError
        If letters precede the first header; if a record has no id, a repeated id, no letters, a
        letter outside the alphabet, or contradictory attributes; or if there is no record.
    """
    entry: Entry | None = None
    # header: an incomplete header at the end of a block; line: number of the current line;
    # fresh: whether a line starts at `at`
    header, line, fresh = b"", 1, True
    for number, block in enumerate(blocks):
        data, at = header + (block.removeprefix(_MARK) if number == 0 else block), 0
        header = b""
        while True:
            found = _next_header(data, at, fresh)
            end = len(data) if found < 0 else found
            if end > at:
                piece = data[at:end]
                line += entry.body.feed(piece, line) if entry else _check_blank(piece, line, state)
                fresh, at = piece[-1] == 10, end
            if found < 0:
                break
            stop = data.find(b"\n", at)
            if stop < 0:
                header = _unfinished(data[at:], line, state)
                break
            if entry:
                yield entry.record()
            entry = _begin(data[at + 1 : stop + 1], line, state)
            line, fresh, at = line + 1, True, stop + 1
    if header:
        if entry:
            yield entry.record()
        entry = _begin(header[1:], line, state)
    if not entry:
        raise_sequence_error("no '>' header in the file", state.name)
    yield entry.record()


def _next_header(data: bytes, at: int, fresh: bool) -> int:
    """Return the position of the next `>` at the start of a line, from `at` on, or -1.

    `fresh` is whether `at` is the start of a line.
    """
    found = data.find(b">", at)
    while found >= 0 and not (fresh if found == at else data[found - 1] == 10):
        found = data.find(b">", found + 1)
    return found


def _begin(header: bytes, line: int, state: ReaderState) -> Entry:
    entry = state.entry(header, line, ">")
    if header.endswith(b"\r\n"):
        entry.body.found[CRLF] = None
    return entry


def _unfinished(header: bytes, line: int, state: ReaderState) -> bytes:
    """Return an incomplete header, which continues in the next block, unless it is too long."""
    if len(header) > BLOCK:
        message = f"header {_start_of(header)}... is longer than {BLOCK:,} bytes"
        raise_sequence_error(message, at(state.name, line))
    return header


def _start_of(line: bytes) -> str:
    """Return the first characters of a line as messages show them."""
    return repr(line.strip()[:20].decode("ascii", "replace"))


def _check_blank(piece: bytes, line: int, state: ReaderState) -> int:
    """Raise if there is text before the first header; return the number of line ends."""
    for number, text in enumerate(piece.split(b"\n"), start=line) if piece.strip() else ():
        if text.strip():
            message = f"no '>' header before {_start_of(text)}"
            hint = "Put '>' and an id on a line before each sequence"
            raise_sequence_error(message, at(state.name, number), hint)
    return piece.count(b"\n")


def read_fastq(blocks: BlockReader, state: ReaderState) -> Iterator[Record]:
    """Read FASTQ with four lines per record; qualities are checked for their number and discarded.

    Raises
    ------
    SequenceFileError
        As for FASTA; also if a record has no `+` line, or the numbers of qualities and letters
        differ.
    """
    lines = enumerate(stream_of(iter(blocks)), start=1)
    for number, header in lines:
        header = header.removeprefix(_MARK) if number == 1 else header
        if not header.strip():
            continue
        if not header.startswith(b"@"):
            message = f"FASTQ record starts with {_start_of(header)} instead of an '@' header"
            raise_sequence_error(message, at(state.name, number), _FOUR_LINES)
        entry = state.entry(header[1:], number, "@")
        letters, plus, qualities = (next(lines, (number, b""))[1] for _ in range(3))
        if not plus.startswith(b"+"):
            message = (
                f"the third line of the FASTQ record is {_start_of(plus)} instead of '+'"
                if plus
                else "the file ends within a FASTQ record"
            )
            raise_sequence_error(message, at(state.name, number + 2), _FOUR_LINES)
        given, wanted = len(qualities.rstrip(b"\r\n")), len(letters.rstrip(b"\r\n"))
        if given != wanted:
            message = f"FASTQ record has {given} qualities for {wanted} bases"
            raise_sequence_error(message, at(state.name, number + 3))
        entry.body.feed(letters, number + 1)
        yield entry.record()


def read_flat(kind: str, blocks: BlockReader, state: ReaderState) -> Iterator[Record]:
    """Read entries of kind `genbank` or `embl`.

    Raises
    ------
    SequenceFileError
        If Biopython cannot read an entry; if an entry has no letters, a repeated id, or a letter
        outside the alphabet; or if there is no entry.
    """
    from Bio import SeqIO

    number, entries = 0, SeqIO.parse(blocks.text(), kind)
    while (found := _next(entries, kind, number, state)) is not None:
        number += 1
        entry = state.row(found.id, {ORGANISM: found.annotations.get("organism")}, 0)
        # an entry without ORIGIN, or with CONTIG, has only a length
        entry.body.feed(bytes(found.seq) if found.seq.defined else b"", 0)
        yield entry.record()
    if not number:
        raise_sequence_error(f"no {_NAMES[kind]} entry in the file", state.name)


_NAMES = {"genbank": "GenBank", "embl": "EMBL"}
read_genbank, read_embl = (partial(read_flat, kind) for kind in _NAMES)


def _next(entries: Iterator[Any], kind: str, number: int, state: ReaderState) -> Any:
    """Return the next entry, or None after the last."""
    from Bio import BiopythonWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = next(entries, None)
        except OSError:
            raise
        except Exception as error:  # Biopython raises various exceptions on malformed lines
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            message = f"Biopython cannot read {_NAMES[kind]} entry {number + 1}: {reason}"
            raise_sequence_error(message, state.name)
    state.summary.counts[WARNED] += any(
        issubclass(warning.category, BiopythonWarning) for warning in caught
    )
    return found
