"""What a reader of sequences gives and keeps: records one at a time, and notes over all files.

Hides: that ids are unique over files. The readers stand in `readers/`, how letters are read in `spelling`.
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
from selfattn_bio.sequence.spelling import Spelling, at

NUMBER_THEM = 'number the records: ids = "numbered" in [data] (--ids numbered)'


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
        What may be learnt of it: text by column, None where it is not known; None without columns.
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


@dataclass
class Notes:
    """What reading met that is no error, over all files read with it.

    Parameters
    ----------
    counts
        Records with lower case, with U in DNA, with IUPAC codes (N among them), with CRLF line ends, and so on (see `spelling`).
    """

    counts: Counter[str] = field(default_factory=Counter)
    _files: list[str] = field(default_factory=list)
    _places: dict[str, int] = field(default_factory=dict)  # of each id: line, and the number of its file above it

    @property
    def read(self) -> int:
        """How many records were read so far."""
        return len(self._places)

    def claim(self, record: str, name: str, line: int) -> None:
        """Take an id for the record in this line of file `name` (0 where a file has no lines).

        Raises
        ------
        RecordIdError
            If another record has it.
        """
        if not self._files or self._files[-1] != name:
            self._files.append(name)
        place = (len(self._files) - 1) << 48 | line
        if record in self._places:
            first = self._places[record]
            where = at(self._files[first >> 48], first & 2**48 - 1)
            message = f"record id {record!r} is used twice (first in {where})"
            raise RecordIdError(message, place=at(name, line), cure=f"Rename or remove one, or {NUMBER_THEM}")
        self._places[record] = place


def letters_of(text: str, alphabet: Alphabet, name: str = "sequence") -> NDArray[np.uint8]:
    """ASCII upper-case letters of a string: "acgu" -> "ACGT" as uint8, (L,); errors call it by `name`.

    Raises
    ------
    ValueError
        If the string is empty or holds a character outside the alphabet.
    """
    return Spelling(alphabet).letters_of(text, name)
