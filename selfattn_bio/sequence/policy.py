"""Rules for reading letters: case, U, ambiguous letters, gaps, stop signs, invalid characters.

Records are read in pieces. Clean upper-case letters take two passes over the bytes, and a
chromosome is held in memory only once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.errors import ArgumentError, SequenceFileError
from selfattn_bio.sequence.alphabet import Alphabet, get_alphabet, printable

if TYPE_CHECKING:
    from selfattn_bio.config import Data

SoftMask = Literal["ignore", "hard"]
BLANKS, GAPS = b" \t\v\f\r\n", b"-."
LOWER, IUPAC, CRLF = "lower case", "IUPAC codes", "CRLF"
RARE, AMBIGUOUS = "selenocysteine or pyrrolysine (U, O)", "ambiguous residues (B, Z, J, X)"
GAP, STOP = "gaps (removed)", "a stop sign at the end (removed)"


@dataclass(frozen=True)
class SequencePolicy:
    """How letters are read.

    Parameters
    ----------
    alphabet
        Alphabet of the sequences.
    soft_mask
        What to do with lower case: "ignore" it, or "hard" to replace such letters by N (X in
        protein).
    gaps
        What to do with `-` and `.`: "refuse" or "remove" them.
    id_column, sequence_column
        Columns of tables with the ids and sequences.
    header
        Pattern whose group `id` is the id in headers of this form; others keep their first word.
    section
        Section of the run file, [data] or [partner], whose keys hints may name; empty without one.
    """

    alphabet: Alphabet
    soft_mask: SoftMask = "ignore"
    gaps: Literal["refuse", "remove"] = "refuse"
    id_column: str = "id"
    sequence_column: str = "sequence"
    header: str = ""
    section: str = ""

    def hint(self, text: str, key: str, section: str = "[data]") -> str:
        """Return a hint, with what a key of a section could do if that section is read."""
        return f"{text}, or {key} in {section}" if section and section == self.section else text

    def letters_of(self, text: str, name: str = "sequence") -> NDArray[np.uint8]:
        """Convert a string to ASCII letters, shape (L,); errors call it `name`.

        Raises
        ------
        ArgumentError
            If it has no letters, or a character outside the alphabet.
        """
        raw = text.encode("utf-8").translate(None, GAPS if self.gaps == "remove" else b"")
        if not raw:
            raise ArgumentError(f"{name} contains only gaps" if text else f"{name} is empty")
        if foreign := raw.translate(None, self.alphabet.readable):
            raise ArgumentError(invalid(foreign, name, self.alphabet))
        return np.frombuffer(raw.translate(self.table), np.uint8)

    @cached_property
    def clean(self) -> bytes:
        """Return the bytes that need no processing: upper-case letters and the line feed."""
        return self.alphabet.letters.encode() + b"\n"

    @cached_property
    def soft(self) -> bytes:
        """Return the lower-case unambiguous letters, which are common in soft-masked genomes."""
        return self.alphabet.letters.lower().encode()

    @cached_property
    def dropped(self) -> bytes:
        """Return the bytes between letters that are removed."""
        return BLANKS + (GAPS if self.gaps == "remove" else b"")

    @cached_property
    def readable(self) -> bytes:
        """Return all bytes that are allowed in a sequence."""
        return self.alphabet.readable + self.dropped

    @cached_property
    def table(self) -> bytes:
        """Return the translation of each byte: upper case, with synonyms replaced."""
        table = bytearray(self.alphabet.normalise(bytes(range(256))))
        if self.soft_mask == "hard":
            table[ord("a") : ord("z") + 1] = self.alphabet.unknown.encode() * 26
        return bytes(table)

    @cached_property
    def all_but(self) -> dict[str, bytes]:
        """Return, for each feature to count, all readable bytes except those that show it."""
        alphabet = self.alphabet
        shown = {LOWER: alphabet.readable.translate(None, alphabet.readable.upper())}
        if alphabet.is_nucleic:
            other = "T in RNA" if "U" in alphabet.letters else "U in DNA"
            shown |= {other: both_cases(other[0]), IUPAC: both_cases(alphabet.ambiguous)}
        else:
            shown |= {RARE: b"UuOo", AMBIGUOUS: b"BZJXbzjx"}
        shown |= {GAP: GAPS if self.gaps == "remove" else b"", CRLF: b"\r"}
        return {what: self.readable.translate(None, some) for what, some in shown.items()}


class Body:
    """The letters of one record, read piece by piece.

    Parameters
    ----------
    policy
        How letters are read.
    record
        Id of the record, for errors.
    name
        Name of the file in errors.
    """

    def __init__(self, policy: SequencePolicy, record: str, name: str) -> None:
        self._policy, self._record, self._name = policy, record, name
        self._letters = b""  # letters of the first piece; only long records have more
        self._grown: bytearray | None = None
        # line of the first invalid byte, all invalid bytes so far, piece around the first one
        self._foreign: tuple[int, bytes, bytes] | None = None
        self._stop = 0  # line of a stop sign that no letter has followed yet
        self.found: dict[str, None] = {}  # features to count, in the order in which they occurred

    def feed(self, piece: bytes, line: int) -> int:
        """Read the next bytes and return how many lines end in them.

        `line` is the line in which the bytes start, or 0 if the file has no lines.
        """
        unusual = piece.translate(None, self._policy.clean)
        letters = (
            self._unusual(unusual, piece, line)
            if unusual or self._stop
            else piece.replace(b"\n", b"")
        )
        if not self._letters:
            self._letters = letters
        elif letters:
            # grows in place: the allocator of the system moves large memory without a copy
            self._grown = self._grown or bytearray(self._letters)
            self._grown += letters
        return piece.count(b"\n") if unusual else len(piece) - len(letters)

    def finish(self, line: int) -> NDArray[np.uint8]:
        """Return the letters (read-only).

        `line` is the line of the header.

        Raises
        ------
        SequenceFileError
            If the record has no letters, or some are outside the alphabet.
        """
        if self._foreign:
            first, foreign, around = self._foreign
            message = invalid(foreign, f"record {self._record!r}", self._policy.alphabet)
            hint = _hint(around, foreign, self._policy)
            SequenceFileError.fail(message, at(self._name, first), hint)
        if not self._letters:
            hint = "Remove the record or add its sequence"
            message = f"record {self._record!r} has no sequence"
            SequenceFileError.fail(message, at(self._name, line), hint)
        letters = np.frombuffer(self._grown or self._letters, np.uint8)
        letters.flags.writeable = False
        return letters

    def _unusual(self, unusual: bytes, piece: bytes, line: int) -> bytes:
        policy = self._policy
        if not unusual.translate(None, policy.soft) and not self._stop:
            self.found.setdefault(LOWER)
            return self._read(piece)
        if foreign := unusual.translate(None, policy.readable):
            piece, foreign = self._without_stop(piece, foreign, line)
            unusual = piece.translate(None, policy.clean)
        elif self._stop and piece.translate(None, policy.dropped):
            self._foreign = self._foreign or (self._stop, b"*", piece)
        if foreign:
            first = line + piece.count(b"\n", 0, piece.index(foreign[0])) if line else 0
            before = self._foreign or (first, b"", piece)
            self._foreign = (before[0], before[1] + foreign, before[2])
            return b""
        for what, others in policy.all_but.items():
            if what not in self.found and unusual.translate(None, others):
                self.found[what] = None
        return self._read(piece)

    def _read(self, piece: bytes) -> bytes:
        return piece.translate(self._policy.table, self._policy.dropped)

    def _without_stop(self, piece: bytes, foreign: bytes, line: int) -> tuple[bytes, bytes]:
        """Remove the stop sign `*` of a protein if no letters follow it so far.

        Returns the remaining piece and the remaining invalid bytes.
        """
        if self._policy.alphabet.name != "protein" or foreign != b"*" or self._stop:
            return piece, foreign
        start, _, rest = piece.partition(b"*")
        if rest.translate(None, self._policy.dropped):
            return piece, foreign
        self._stop = line + start.count(b"\n") if line else -1
        self.found[STOP] = None
        return start + rest, b""


def at(name: str, line: int) -> str:
    """Return `name:line` for an error, or only the name if `line` is 0 or less."""
    return f"{name}:{line}" if line > 0 else name


def both_cases(letters: str) -> bytes:
    """Return the letters in both cases."""
    return (letters + letters.lower()).encode()


def invalid(foreign: bytes, name: str, alphabet: Alphabet) -> str:
    """Return the error message for the invalid bytes of a sequence called `name`."""
    more = f" and {len(foreign) - 1:,} more" if len(foreign) > 1 else ""
    return f"invalid {printable(foreign[0])}{more} in {name} (expected {alphabet.description})"


def _hint(around: bytes, foreign: bytes, policy: SequencePolicy) -> str:
    """Return a hint about letters outside the alphabet, guessed from the record."""
    if foreign[:1] in (b"-", b"."):
        text = "Remove the alignment gaps, in FASTA with sed '/^>/!s/[-.]//g' old.fa > new.fa"
        return policy.hint(text, 'set gaps = "remove"')
    if foreign[:1] == b"*":
        return "Remove the stop signs; only one at the end of a protein is removed automatically"
    raw = around.translate(None, BLANKS).upper()
    looks_protein = raw.isalpha() and len(raw.translate(None, b"ACGTUN")) > 0.2 * len(raw)
    if policy.alphabet.is_nucleic and looks_protein:
        text = "It looks like protein: choose a model, or motifs, of protein"
        return policy.hint(text, 'set alphabet = "protein"', policy.section)
    return "Correct the sequence or remove the record"


def policy_of(data: Data) -> SequencePolicy:
    """Return how the records of [data] are read.

    A soft mask that is kept is stored separately from the sequence.
    """
    return SequencePolicy(
        get_alphabet(data.alphabet),
        data.soft_mask,
        data.gaps,
        data.columns.get("id", "id"),
        data.columns.get("sequence", "sequence"),
        data.header if "(?P<id>" in data.header else "",
    )
