"""How letters are read: case, U, ambiguous letters, gaps and stop signs, and the errors of letters outside the alphabet.

Hides: the passes over the bytes, of which clean upper-case letters need two, and pieces: a chromosome comes as many, and is held once.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.errors import SequenceFileError
from selfattn_bio.sequence.alphabet import Alphabet, printable

SoftMask = Literal["ignore", "keep", "hard"]
BLANKS, GAPS = b" \t\v\f\r\n", b"-."
LOWER, URACIL, IUPAC, CRLF = "lower case", "U in DNA", "IUPAC codes", "CRLF"
RARE, AMBIGUOUS = "selenocysteine or pyrrolysine (U, O)", "ambiguous residues (B, Z, J, X)"
GAP, STOP = "gaps, which were removed", "a stop sign at the end, which was removed"


@dataclass(frozen=True)
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
    soft_mask: SoftMask = "ignore"
    gaps: Literal["refuse", "remove"] = "refuse"

    def letters_of(self, text: str, name: str = "sequence") -> NDArray[np.uint8]:
        """The letters of a string, (L,) ASCII; errors call it by `name`.

        Raises
        ------
        ValueError
            If it holds no letter, or a character outside the alphabet.
        """
        raw = text.encode("utf-8").translate(None, GAPS if self.gaps == "remove" else b"")
        if not raw:
            raise ValueError(f"{name} must have at least one letter, got {'an empty string' if not text else 'gaps alone'}")
        if foreign := raw.translate(None, self.alphabet.readable):
            rule = f"{name} must be {self.alphabet.name} ({names(self.alphabet)})"
            raise ValueError(f"{rule}, got {printable(foreign[0])}{first_of(foreign)}")
        return np.frombuffer(raw.translate(self.table), np.uint8)

    @cached_property
    def clean(self) -> bytes:
        """Letters that need no second look, and the line end."""
        return self.alphabet.letters.encode() + b"\n"

    @cached_property
    def soft(self) -> bytes:
        """Those in lower case: what a soft-masked genome has, and nothing else, beside the clean ones."""
        return self.alphabet.letters.lower().encode()

    @cached_property
    def dropped(self) -> bytes:
        """Bytes that are no letters and go without a word, or with a note."""
        return BLANKS + (GAPS if self.gaps == "remove" else b"")

    @cached_property
    def readable(self) -> bytes:
        """All that may stand among letters."""
        return self.alphabet.readable + self.dropped

    @cached_property
    def table(self) -> bytes:
        """What each byte becomes: upper case, synonyms replaced."""
        table = bytearray(self.alphabet.normalise(bytes(range(256))))
        if self.soft_mask == "hard":
            table[ord("a") : ord("z") + 1] = self.alphabet.unknown.encode() * 26
        return bytes(table)

    @cached_property
    def noted(self) -> dict[str, bytes]:
        """What is counted: the bytes of which one is enough."""
        alphabet = self.alphabet
        noted = {LOWER: alphabet.readable.translate(None, alphabet.readable.upper())}
        if alphabet.name == "dna":
            noted |= {URACIL: b"Uu", IUPAC: both_cases(alphabet.ambiguous)}
        else:
            noted |= {RARE: b"UuOo", AMBIGUOUS: b"BZJXbzjx"}
        return noted | {GAP: GAPS if self.gaps == "remove" else b"", CRLF: b"\r"}

    @cached_property
    def all_but(self) -> dict[str, bytes]:
        """What is counted: all readable bytes but those."""
        return {what: self.readable.translate(None, some) for what, some in self.noted.items()}


def _memory(size: int) -> mmap.mmap:
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # a shared one cannot grow: bus error


class Growing:
    """Letters of a long record, held once: memory of its own that the system makes larger without a copy, and takes back."""

    def __init__(self, first: bytes) -> None:
        self._memory, self._size = _memory(2 * len(first)), 0
        self.add(first)

    def __len__(self) -> int:
        return self._size

    def add(self, letters: bytes) -> None:
        """Put letters at the end."""
        if (size := self._size + len(letters)) > len(self._memory):
            try:
                self._memory.resize(2 * size)
            except SystemError:  # where there is no mremap, as on macOS
                smaller, self._memory = self._memory, _memory(2 * size)
                self._memory[: self._size] = memoryview(smaller)[: self._size]
        self._memory[self._size : size] = letters
        self._size = size

    def array(self) -> NDArray[np.uint8]:
        """The letters, read-only."""
        letters = np.frombuffer(self._memory, np.uint8, self._size)
        letters.flags.writeable = False
        return letters


class Body:
    """The letters of one record, taken piece by piece.

    Parameters
    ----------
    spelling
        How they are read.
    record
        Its id, for errors.
    name
        The file as errors name it.
    """

    __slots__ = ("_foreign", "_grown", "_letters", "_name", "_record", "_runs", "_spelling", "_stop", "found")

    def __init__(self, spelling: Spelling, record: str, name: str) -> None:
        self._spelling, self._record, self._name = spelling, record, name
        self._letters = b""  # of the first piece, which is the only one but for long records
        self._grown: Growing | None = None
        self._runs: list[NDArray[np.int64]] | None = [] if spelling.soft_mask == "keep" else None
        self._foreign: tuple[int, bytes, bytes] | None = None  # line of the first, all of them so far, what stands around the first
        self._stop = 0  # line of stop signs after which no letter came yet
        self.found: dict[str, None] = {}  # what is to be counted, in the order in which it was met

    def feed(self, piece: bytes, line: int) -> int:
        """Take the next bytes, which begin in line `line` (0: the file has no lines); how many lines end in them."""
        spelling = self._spelling
        unusual = piece.translate(None, spelling.clean)
        letters = self._unusual(unusual, piece, line) if unusual or self._stop else piece.replace(b"\n", b"")
        if not self._letters:
            self._letters = letters
        elif letters:
            self._grown = self._grown or Growing(self._letters)
            self._grown.add(letters)
        return piece.count(b"\n") if unusual else len(piece) - len(letters)

    def finish(self, line: int) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None]:
        """The letters, read-only, and the masked runs if they are kept; `line` is that of the header.

        Raises
        ------
        SequenceFileError
            If there are no letters, or some are outside the alphabet.
        """
        if self._foreign:
            self._refuse(*self._foreign)
        if not self._letters:
            cure = "Remove the header or add its sequence"
            raise SequenceFileError(
                f"record must have letters, got an empty record {self._record!r}", place=at(self._name, line), cure=cure
            )
        letters = self._grown.array() if self._grown else np.frombuffer(self._letters, np.uint8)
        return letters, None if self._runs is None else _joined(self._runs)

    def _unusual(self, unusual: bytes, piece: bytes, line: int) -> bytes:
        spelling = self._spelling
        if not unusual.translate(None, spelling.soft) and not self._stop:
            self.found.setdefault(LOWER)
            return self._read(piece)
        if foreign := unusual.translate(None, spelling.readable):
            piece, foreign = self._without_stop(piece, foreign, line)
            unusual = piece.translate(None, spelling.clean)
        elif self._stop and piece.translate(None, spelling.dropped):
            self._foreign = self._foreign or (self._stop, b"*", piece)
        if foreign:
            first = line + piece.count(b"\n", 0, piece.index(foreign[0])) if line else 0
            before = self._foreign or (first, b"", piece)
            self._foreign = (before[0], before[1] + foreign, before[2])
            return b""
        for what, others in spelling.all_but.items():
            if what not in self.found and unusual.translate(None, others):
                self.found[what] = None
        return self._read(piece)

    def _read(self, piece: bytes) -> bytes:
        spelling = self._spelling
        if self._runs is not None:
            lower = np.frombuffer(piece.translate(None, spelling.dropped), np.uint8) >= ord("a")
            self._runs.append(runs_of(lower) + (len(self._grown) if self._grown else len(self._letters)))
        return piece.translate(spelling.table, spelling.dropped)

    def _without_stop(self, piece: bytes, foreign: bytes, line: int) -> tuple[bytes, bytes]:
        """Piece and foreign bytes without the stop sign of a protein, if nothing came after it so far."""
        if self._spelling.alphabet.name != "protein" or foreign != b"*" or self._stop:
            return piece, foreign
        start, _, rest = piece.partition(b"*")
        if rest.translate(None, self._spelling.dropped):
            return piece, foreign
        self._stop = line + start.count(b"\n") if line else -1
        self.found[STOP] = None
        return start + rest, b""

    def _refuse(self, line: int, foreign: bytes, around: bytes) -> None:
        alphabet = self._spelling.alphabet
        got = f"{printable(foreign[0])}{first_of(foreign)} in record {self._record!r}"
        message = f"letters must be {alphabet.name} ({names(alphabet)}), got {got}"
        raise SequenceFileError(message, place=at(self._name, line), cure=_cure(around, foreign, alphabet))


def at(name: str, line: int) -> str:
    """The place that an error names; 0 or less where a file has no lines."""
    return f"{name}:{line}" if line > 0 else name


def both_cases(letters: str) -> bytes:
    """The letters in either case."""
    return (letters + letters.lower()).encode()


def names(alphabet: Alphabet) -> str:
    """The letters of an alphabet as errors name them."""
    synonyms = "".join(f"; {synonym} is read as {letter}" for synonym, letter in alphabet.synonyms)
    return f"{alphabet.letters}, ambiguous {alphabet.ambiguous}{synonyms}"


def first_of(foreign: bytes) -> str:
    """How many there are, if several."""
    return f" (the first of {len(foreign)})" if len(foreign) > 1 else ""


def runs_of(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(n, 2) runs [start, end) of what is True in (L,)."""
    return np.flatnonzero(np.diff(mask, prepend=False, append=False)).reshape(-1, 2)


def _joined(parts: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Runs of all pieces; those that a border of pieces cut are one again."""
    runs = np.concatenate([np.zeros((0, 2), np.int64), *parts])
    if not len(runs):
        return runs
    apart = np.flatnonzero(runs[1:, 0] > runs[:-1, 1]) + 1
    return np.stack([runs[np.r_[0, apart], 0], runs[np.r_[apart, len(runs)] - 1, 1]], axis=1)


def _cure(around: bytes, foreign: bytes, alphabet: Alphabet) -> str:
    """What to do about letters outside the alphabet, guessed from what the record looks like."""
    if foreign[:1] in (b"-", b"."):
        return 'Remove the gaps of the alignment, or say gaps = "remove" in [data] (--gaps remove)'
    if foreign[:1] == b"*":
        return "Remove the stop signs: only one at the end of a protein goes by itself"
    raw = around.translate(None, BLANKS).upper()
    looks_protein = raw.isalpha() and len(raw.translate(None, b"ACGTUN")) > 0.2 * len(raw)
    if alphabet.name == "dna" and looks_protein:
        return 'It looks like protein: declare it, --alphabet protein or alphabet = "protein" in [data], of a second input in [partner]'
    return "Mend the letter, or remove the record"
