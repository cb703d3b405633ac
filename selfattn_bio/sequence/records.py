"""FASTA in, records out: one at a time, checked, letters as upper-case ASCII.

Hides: compression, line ends, case, U, header attributes, and the wording and place of every error of a sequence file. Memory is
bounded by the largest record. Own parser: the readers of dnaio and Biopython give no line numbers and skip what they do not know.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple, NoReturn, cast

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.errors import SequenceFileError
from selfattn_bio.sequence.alphabet import Alphabet, printable

_HEAD = 4096  # bytes looked at to tell what kind of file it is
_CONTROL = bytes(byte for byte in range(32) if byte not in b"\t\n\v\f\r")
_ATTRIBUTE = re.compile(r"(?:^|\s)(chrom|start|end|strand|group)=(\S*)")
_RULES = {"start": ("[0-9]+", "a whole number"), "end": ("[0-9]+", "a whole number"), "strand": ("[+-]", "+ or -")}
LOWER, URACIL, IUPAC, CRLF = "lower case", "U in DNA", "IUPAC codes", "CRLF"


class Record(NamedTuple):
    """One sequence and what its file says of it.

    Attributes
    ----------
    letters
        ASCII upper case, (L,).
    start, end
        0-based half-open on the forward strand.
    label
        1, 0, or None: not said.
    targets
        What may be learnt of it: text by column; None without columns.
    masked
        Soft-masked letters as (n, 2) runs [start, end), 0-based half-open in `letters`, in order; None if not asked for.
    """

    id: str
    letters: NDArray[np.uint8]
    chrom: str | None = None
    start: int | None = None
    end: int | None = None
    strand: str | None = None
    group: str | None = None
    label: int | None = None
    targets: Mapping[str, str | None] | None = None
    masked: NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True)
class Spelling:
    """How letters are read: an alphabet, what lower case means and what becomes of gaps.

    Parameters
    ----------
    soft_mask
        Lower case: "ignore" it, "keep" it beside the letters as `Record.masked`, or "hard": such letters become N (X in protein).
    gaps
        `-` and `.`: "refuse" or "remove" them.
    """

    alphabet: Alphabet
    soft_mask: Literal["ignore", "keep", "hard"] = "ignore"
    gaps: Literal["refuse", "remove"] = "refuse"


@dataclass
class Notes:
    """What reading met that is no error, over all files read with it.

    Parameters
    ----------
    counts
        Records with lower case, with U in DNA, with IUPAC codes (N among them), with CRLF line ends.
    places
        Where each id stands (file, line of its header), so that ids are unique over the files.
    """

    counts: Counter[str] = field(default_factory=Counter)
    places: dict[str, tuple[Path, int]] = field(default_factory=dict)


def read_fasta(path: str | Path, alphabet: Alphabet, notes: Notes | None = None) -> Iterator[Record]:
    """Read a FASTA file, plain, gz or bgzip (told by content), any line length, LF or CRLF.

    `>a chrom=chr2L start=7 end=11 strand=-` followed by `acgu` gives `Record("a", ACGT, "chr2L", 7, 11, "-", None)`: the id is the
    header's first word, attributes are optional, blanks between letters have no meaning.

    Parameters
    ----------
    path
        The file.
    alphabet
        What its letters must be.
    notes
        Where to count what is read though unusual; also holds the ids so far. New for each file if not given.

    Raises
    ------
    SequenceFileError
        If the file is missing, empty, binary, FASTQ, a damaged gz, or without a record; if letters precede the first header; if a record
        has no id, an id seen before, no letters, a letter outside the alphabet, or attributes that contradict each other.
        The place is `path:line`. Raised when iteration meets it.
    """
    path, notes = Path(path), notes if notes is not None else Notes()
    if not path.is_file():
        _fail("sequence file must be an existing file", "a folder" if path.is_dir() else "no such file", str(path))
    try:
        with _open(path) as handle:
            _check_head(handle.read(_HEAD), path)
        with _open(path) as handle:
            for line, header, body in _entries(handle, path):
                yield _record(line, header, body, _Reading(path, alphabet, notes))
    except EOFError:
        _fail("gz file must be whole", "an end in the middle (truncated)", str(path), "Download or copy it again")
    except (zlib.error, gzip.BadGzipFile) as error:
        _fail("gz file must be undamaged", str(error), str(path), "Download or copy it again")
    except OSError as error:
        _fail("sequence file must be readable", error.strerror or str(error), str(path))


def letters_of(text: str, alphabet: Alphabet, name: str = "sequence") -> NDArray[np.uint8]:
    """ASCII upper-case letters of a string: "acgu" -> "ACGT" as uint8, (L,); errors call it by `name`.

    Raises
    ------
    ValueError
        If the string is empty or holds a character outside the alphabet.
    """
    raw = text.encode("utf-8")
    if not raw:
        raise ValueError(f"{name} must have at least one letter, got an empty string")
    if foreign := raw.translate(None, alphabet.readable):
        raise ValueError(f"{name} must be {alphabet.name} ({_names(alphabet)}), got {printable(foreign[0])}{_first_of(foreign)}")
    return np.frombuffer(alphabet.normalise(raw), np.uint8)


@dataclass(frozen=True, slots=True)
class _Reading:
    path: Path
    alphabet: Alphabet
    notes: Notes


def _fail(rule: str, got: str, place: str, cure: str = "") -> NoReturn:
    raise SequenceFileError(f"{rule}, got {got}", place=place, cure=cure) from None


def _open(path: Path) -> BinaryIO:
    with path.open("rb") as handle:
        compressed = handle.read(2) == b"\x1f\x8b"
    return cast(BinaryIO, gzip.open(path, "rb")) if compressed else path.open("rb")


def _check_head(head: bytes, path: Path) -> None:
    if not head:
        _fail("sequence file must hold records", "an empty file", str(path))
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        _fail("sequence file must be UTF-8 text", "UTF-16", str(path), "Save it as plain text (UTF-8)")
    if head.translate(None, _CONTROL) != head:
        _fail("sequence file must be FASTA text, plain or gz", "binary data", str(path))
    if head.lstrip().startswith(b"@"):
        _fail("sequence file must be FASTA ('>' headers)", "FASTQ ('@' headers)", f"{path}:1", "Convert it, e.g. seqtk seq -A reads.fq")


def _entries(handle: BinaryIO, path: Path) -> Iterator[tuple[int, bytes, bytearray]]:
    """Line number of the header (1-based), header without '>', and all that follows up to the next header."""
    start, header, body = 0, b"", bytearray()
    for number, line in enumerate(handle, start=1):
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")  # the byte order mark of some editors
        if line.startswith(b">"):
            if start:
                yield start, header, body
            start, header, body = number, line[1:], bytearray()
        elif start:
            body += line
        elif line.strip():
            shown = line.strip()[:20].decode("ascii", "replace")
            _fail("first line must be a '>' header", f"{shown!r}", f"{path}:{number}", "Put '>' and an id on a line before each sequence")
    if not start:
        _fail("sequence file must hold records", "no '>' header", str(path))
    yield start, header, body


def _record(line: int, header: bytes, body: bytearray, reading: _Reading) -> Record:
    place = f"{reading.path}:{line}"
    text = _header_text(header, place)
    name = text.split(maxsplit=1)[0] if text[:1].strip() else ""
    if not name:
        _fail("record must have an id right after '>'", f"{'>' + text!r}", place)
    if name in reading.notes.places:
        first_path, first_line = reading.notes.places[name]
        _fail("record ids must be unique", f"{name!r} again (first in {first_path}:{first_line})", place, "Rename or remove one")
    reading.notes.places[name] = (reading.path, line)
    letters = _letters(name, line, body, reading)
    if header.endswith(b"\r\n") or b"\r" in body:
        reading.notes.counts[CRLF] += 1
    return Record(name, letters, *_attributes(text, len(letters), place))


def _header_text(header: bytes, place: str) -> str:
    try:
        text = header.decode("utf-8").rstrip()
    except UnicodeDecodeError as error:
        _fail("header must be UTF-8 text", printable(header[error.start]), place)
    if "\r" in text:
        _fail("line ends must be LF or CRLF", "CR alone", place, "Convert it, e.g. tr '\\r' '\\n' < old.fa > new.fa")
    return text


def _letters(name: str, line: int, body: bytearray, reading: _Reading) -> NDArray[np.uint8]:
    alphabet, counts = reading.alphabet, reading.notes.counts
    raw = bytes(body.translate(None, b" \t\v\f\r\n"))
    if not raw:
        _fail("record must have letters", f"an empty record {name!r}", f"{reading.path}:{line}", "Remove the header or add its sequence")
    unusual = raw.translate(None, alphabet.letters.encode())
    if foreign := unusual.translate(None, alphabet.readable):
        at = line + 1 + body[: body.index(foreign[0])].count(b"\n")
        rule = f"letters must be {alphabet.name} ({_names(alphabet)})"
        _fail(
            rule, f"{printable(foreign[0])}{_first_of(foreign)} in record {name!r}", f"{reading.path}:{at}", _cure(raw, foreign, alphabet)
        )
    if unusual:
        counts[LOWER] += not unusual.isupper()
        upper = unusual.upper()
        counts[URACIL] += alphabet.name == "dna" and b"U" in upper
        counts[IUPAC] += bool(upper.translate(None, (alphabet.letters + "".join(s for s, _ in alphabet.synonyms)).encode()))
        raw = alphabet.normalise(raw)
    return np.frombuffer(raw, np.uint8)


def _attributes(header: str, length: int, place: str) -> tuple[str | None, int | None, int | None, str | None, str | None]:
    found: dict[str, str] = dict(_ATTRIBUTE.findall(header))
    for key, value in found.items():
        pattern, rule = _RULES.get(key, (r"\S+", "followed by a value"))
        if not re.fullmatch(pattern, value):
            _fail(f"{key}= in the header must be {rule}", f"{value!r}", place)
    start, end = (int(found[key]) if key in found else None for key in ("start", "end"))
    if (start is None) != (end is None):
        _fail("start= and end= in the header must come together", f"only {'end' if start is None else 'start'}", place)
    if start is not None and end is not None and end - start != length:
        rule = f"end - start in the header must equal the number of letters ({length})"
        _fail(rule, f"{end} - {start} = {end - start}", place, "Coordinates are 0-based half-open")
    return found.get("chrom"), start, end, found.get("strand"), found.get("group")


def _names(alphabet: Alphabet) -> str:
    synonyms = "".join(f"; {synonym} is read as {letter}" for synonym, letter in alphabet.synonyms)
    return f"{alphabet.letters}, ambiguous {alphabet.ambiguous}{synonyms}"


def _first_of(foreign: bytes) -> str:
    return f" (the first of {len(foreign)})" if len(foreign) > 1 else ""


def _cure(raw: bytes, foreign: bytes, alphabet: Alphabet) -> str:
    """What to do about letters outside the alphabet, guessed from what the record looks like."""
    if foreign[:1] in b"-.":
        return "Remove the gaps of the alignment"
    if foreign[:1] == b"*":
        return "Remove the stop signs"
    looks_protein = raw.upper().isalpha() and len(raw.upper().translate(None, b"ACGTUN")) > 0.2 * len(raw)
    if alphabet.name == "dna" and looks_protein:
        return 'It looks like protein: declare it, --alphabet protein or alphabet = "protein" in [data]'
    return "Mend the letter, or remove the record"
