"""Records of sequence files, and counts collected while reading them.

`sequence.readers` has the readers, and `sequence.policy` the rules for letters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.errors import RecordIdError
from selfattn_bio.sequence.alphabet import Alphabet
from selfattn_bio.sequence.policy import SequencePolicy, at

NUMBER_THEM = 'number the records: ids = "numbered" in [data]'


class Record(NamedTuple):
    """One sequence and its annotations.

    Attributes
    ----------
    letters
        Upper-case ASCII, shape (L,).
    start, end
        0-based half-open on the forward strand.
    label
        1, 0, or None if not given.
    targets
        Text of each target column, None where missing; None if there are no target columns.
    masked
        Soft-masked intervals in `letters`, shape (n, 2), 0-based half-open and sorted; None unless
        requested.
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


@dataclass
class ReadSummary:
    """Counts of unusual features of the files, and the record ids, over all files read together.

    Parameters
    ----------
    counts
        Number of records with lower case, U in DNA, IUPAC codes (including N), CRLF line ends, and
        so on (see `sequence.policy`).
    """

    counts: Counter[str] = field(default_factory=Counter)
    _files: list[str] = field(default_factory=list)
    # By id: line number, with the file number in the bits above
    _lines: dict[str, int] = field(default_factory=dict)

    @property
    def read(self) -> int:
        """Return the number of records read so far."""
        return len(self._lines)

    def claim(self, record: str, name: str, line: int) -> None:
        """Register the id of a record in line `line` of file `name` (0 if the file has no lines).

        Raises
        ------
        RecordIdError
            If another record has the same id.
        """
        if not self._files or self._files[-1] != name:
            self._files.append(name)
        number = (len(self._files) - 1) << 48 | line
        if record in self._lines:
            first = self._lines[record]
            where = at(self._files[first >> 48], first & 2**48 - 1)
            message = f"record id {record!r} is used twice (first in {where})"
            raise RecordIdError(
                message, place=at(name, line), hint=f"Rename or remove one, or {NUMBER_THEM}"
            )
        self._lines[record] = number


def letters_of(text: str, alphabet: Alphabet, name: str = "sequence") -> NDArray[np.uint8]:
    """Convert a string to upper-case ASCII letters, shape (L,): "acgu" -> "ACGT" as uint8.

    Parameters
    ----------
    text
        The sequence.
    alphabet
        Alphabet of the sequence.
    name
        Name of the sequence in error messages.

    Raises
    ------
    ValueError
        If the string is empty or contains a character outside the alphabet.
    """
    return SequencePolicy(alphabet).letters_of(text, name)
