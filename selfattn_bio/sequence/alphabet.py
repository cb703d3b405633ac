"""DNA and protein alphabets: which letters there are, what they mean, and look-up tables over ASCII.

Hides: IUPAC codes, complements, case and U, 256-entry tables. Everything that touches letters uses it; it imports nothing of the package.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

PAD_CODE = 255
_FOREIGN = 254  # in the table of codes: a byte that is no letter of the alphabet


@dataclass(frozen=True)
class Alphabet:
    """The letters of a kind of sequence.

    Parameters
    ----------
    name
        "dna", "protein" or "levels".
    letters
        The unambiguous letters; the code of a letter is its index here.
    unknown
        The letter that says "any": N in DNA, X in protein.
    ambiguous
        All letters that stand for several, `unknown` among them; their code is `len(letters)`.
    synonyms
        Letters read as another: U as T in DNA.
    complements
        For each of `letters + ambiguous` the letter on the other strand; empty if there is no other strand.

    References
    ----------
    IUPAC-IUB nomenclature for incompletely specified bases (Cornish-Bowden 1985), checked against `Bio.Data.IUPACData`.
    """

    name: str
    letters: str
    unknown: str
    ambiguous: str
    synonyms: tuple[tuple[str, str], ...] = ()
    complements: str = ""

    @property
    def has_complement(self) -> bool:
        """Whether a sequence can be read on another strand."""
        return bool(self.complements)

    @cached_property
    def readable(self) -> bytes:
        """All bytes that a file may hold as letters: either case, ambiguous letters and synonyms."""
        upper = self.letters + self.ambiguous + "".join(synonym for synonym, _ in self.synonyms)
        return (upper + upper.lower()).encode("ascii")

    @cached_property
    def _upper(self) -> bytes:
        table = bytearray(bytes(range(256)).upper())
        for synonym, letter in self.synonyms:
            table[ord(synonym)] = table[ord(synonym.lower())] = ord(letter)
        return bytes(table)

    @cached_property
    def _codes(self) -> NDArray[np.uint8]:
        table = np.full(256, _FOREIGN, np.uint8)
        table[list(self.letters.encode())] = np.arange(len(self.letters), dtype=np.uint8)
        table[list(self.ambiguous.encode())] = len(self.letters)
        table[0] = PAD_CODE
        return table

    @cached_property
    def _complement(self) -> NDArray[np.uint8]:
        table = np.zeros(256, np.uint8)
        table[list((self.letters + self.ambiguous).encode())] = list(self.complements.encode())
        return table

    def normalise(self, readable: bytes) -> bytes:
        """Upper case, synonyms replaced: "acgu" -> "ACGT". Bytes must be `readable` (not checked)."""
        return readable.translate(self._upper)

    def codes(self, letters: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Number the letters: "ACGTN" -> 0 1 2 3 4 in DNA.

        Parameters
        ----------
        letters
            ASCII, upper case, U already T; 0 is padding; any shape.

        Returns
        -------
        Same shape: the index in `self.letters`, `len(self.letters)` for an ambiguous letter, 255 for padding.

        Raises
        ------
        ValueError
            If a byte is neither an upper-case letter of the alphabet nor 0.
        """
        codes = self._codes[letters]
        if (codes == _FOREIGN).any():
            first = int(letters[codes == _FOREIGN][0])
            raise ValueError(f"letters must be upper-case {self.name} ({self.letters}{self.ambiguous}) or 0, got {printable(first)}")
        return codes

    def reverse_complement(self, letters: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Read the other strand: "AACG" -> "CGTT", "AR" -> "YT".

        Parameters
        ----------
        letters
            ASCII, upper case, letters along the last axis; a padding 0 stays 0, so padding at the end comes to the front.

        Returns
        -------
        A new array of the same shape.

        Raises
        ------
        ValueError
            If the alphabet has no complement, as protein.
        """
        if not self.has_complement:
            raise ValueError(f"alphabet must have a complement (dna), got {self.name}")
        return self._complement[letters[..., ::-1]]


def printable(byte: int) -> str:
    """A byte as an error message names it: 'Z', or byte 0x8B."""
    return repr(chr(byte)) if 32 <= byte < 127 else f"byte 0x{byte:02X}"


DNA = Alphabet("dna", "ACGT", "N", "RYSWKMBDHVN", synonyms=(("U", "T"),), complements="TGCAYRSWMKVHDBN")
# B = D or N, Z = E or Q, J = I or L, X = any; U (selenocysteine) and O (pyrrolysine) are letters, but too rare to learn from.
PROTEIN = Alphabet("protein", "ACDEFGHIKLMNPQRSTVWY", "X", "BZJXUO")
# Numbers of a track as one byte each: from the lowest level ! to the highest }, and ~ where there is no number (`sequence.levels`).
LEVELS = Alphabet("levels", "".join(map(chr, range(ord("!"), ord("~")))), "~", "~")


def get_alphabet(name: str) -> Alphabet:
    """The alphabet called `name`.

    Raises
    ------
    ValueError
        If `name` is none of "dna", "protein" and "levels".
    """
    for alphabet in (DNA, PROTEIN, LEVELS):
        if alphabet.name == name:
            return alphabet
    raise ValueError(f"alphabet must be dna or protein, got {name!r}")
