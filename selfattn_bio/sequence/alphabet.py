"""The alphabets of DNA, RNA, proteins and tracks, with lookup tables over ASCII bytes.

The tables cover IUPAC codes, complements, lower case and U. Tracks are numbers quantised to one
byte each, so that they can be stored, batched and explained in the same way as sequences. This
module imports only errors from the package.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from unicodedata import category

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.errors import ArgumentError

Ascii = NDArray[np.uint8]  # the letters of one sequence, (L,)
Letters = Sequence[Ascii]  # one array per record
PIECE = 1 << 20  # letters processed at once, which limits the memory
PAD_CODE = 255
_FOREIGN = 254  # code of a byte that is not in the alphabet


@dataclass(frozen=True)
class Alphabet:
    """The letters of one kind of sequence.

    Parameters
    ----------
    name
        "dna", "rna", "ssdna" or "protein".
    letters
        The unambiguous letters; the code of a letter is its index in this string.
    unknown
        The letter for "any": N in DNA and RNA, X in protein.
    ambiguous
        All letters that represent several others, including `unknown`. Their code is
        `len(letters)`.
    synonyms
        Letters that are read as another letter: U as T in DNA, and T as U in RNA.
    complements
        The complement of each of `letters + ambiguous`; empty in protein.
    description
        Characters of a valid sequence, for error messages: "IUPAC DNA codes".
    unit
        Unit of sequence lengths, for messages.
    title
        Name in text: "DNA".
    one_strand
        Whether only the given strand exists, as in RNA. The reverse complement then serves only to
        read the minus strand of a genome.

    References
    ----------
    IUPAC-IUB nomenclature for incompletely specified bases (Cornish-Bowden 1985), checked against
    `Bio.Data.IUPACData`.
    """

    name: str
    letters: str
    unknown: str
    ambiguous: str
    synonyms: tuple[tuple[str, str], ...] = ()
    complements: str = ""
    description: str = ""
    unit: str = ""
    title: str = ""
    one_strand: bool = False

    @property
    def is_nucleic(self) -> bool:
        """Return whether the letters are bases."""
        return len(self.letters) == 4

    @property
    def family(self) -> str:
        """Return the name of the alphabet, which is "dna" for RNA and single-stranded DNA, too."""
        return DNA.name if self.is_nucleic else self.name

    @property
    def letter(self) -> str:
        """Return what a letter is, in text: "base" or "residue"."""
        return "base" if self.is_nucleic else "residue"

    @property
    def has_complement(self) -> bool:
        """Return whether sequences have another strand, their reverse complement."""
        return bool(self.complements) and not self.one_strand

    @property
    def either_strand(self) -> str:
        """Return words for the end of a comparison, empty if there is one strand."""
        return " on either strand" * self.has_complement

    @cached_property
    def readable(self) -> bytes:
        """Return all bytes that a file may contain as letters.

        These are both cases of the unambiguous letters, ambiguous letters and synonyms.
        """
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
        for synonym, letter in self.synonyms:
            table[ord(synonym)] = table[ord(letter)]
        table[0] = PAD_CODE
        return table

    @cached_property
    def _complement(self) -> NDArray[np.uint8]:
        table = np.zeros(256, np.uint8)
        table[list((self.letters + self.ambiguous).encode())] = list(self.complements.encode())
        return table

    def normalise(self, readable: bytes) -> bytes:
        """Convert to upper case and replace synonyms: "acgu" -> "ACGT".

        All bytes must be `readable`; this is not checked.
        """
        return readable.translate(self._upper)

    def codes(self, letters: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Convert letters to numbers: "ACGTN" -> 0 1 2 3 4 in DNA.

        Parameters
        ----------
        letters
            Upper-case ASCII of any shape; 0 is padding.

        Returns
        -------
        Array of the same shape: the index in `self.letters`, `len(self.letters)` for an ambiguous
        letter, or 255 for padding.

        Raises
        ------
        ArgumentError
            If a byte is neither an upper-case letter of the alphabet nor 0.
        """
        codes = self._codes[letters]
        if (codes == _FOREIGN).any():
            first = int(letters[codes == _FOREIGN][0])
            raise ArgumentError(
                f"invalid {printable(first)} (expected upper-case {self.description}, or 0 for "
                "padding)"
            )
        return codes

    def reverse_complement(self, letters: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the reverse complement: "AACG" -> "CGTT", "AR" -> "YT".

        Parameters
        ----------
        letters
            Upper-case ASCII with the sequence along the last axis. Padding 0 stays 0, so padding at
            the end moves to the start.

        Returns
        -------
        New array of the same shape.

        Raises
        ------
        ArgumentError
            If the alphabet has no complement, such as protein.
        """
        if not self.complements:
            raise ArgumentError(f"{self.name} sequences have no reverse complement")
        return self._complement[letters[..., ::-1]]


def printable(code: int) -> str:
    """Return how an error shows a byte or character: "character 'Z'", "byte 0x8B" or "U+202E"."""
    if 32 <= code < 127:
        return f"character {chr(code)!r}"
    return f"byte 0x{code:02X}" if code < 256 else f"character U+{code:04X}"


def control_in(text: str) -> str:
    """Describe the first line break or control character of a name; empty if it has none."""
    if text.isprintable():
        return ""
    found = next((each for each in text if category(each) in ("Cc", "Zl", "Zp")), "")
    return found and ("line break" if found in "\r\n" else f"invalid {printable(ord(found))}")


DNA = Alphabet(
    "dna",
    "ACGT",
    "N",
    "RYSWKMBDHVN",
    synonyms=(("U", "T"),),
    complements="TGCAYRSWMKVHDBN",
    description="IUPAC DNA codes",
    unit="bp",
    title="DNA",
)
# DNA that is read on the given strand only, and RNA
SSDNA = replace(DNA, name="ssdna", unit="nt", title="single-stranded DNA", one_strand=True)
RNA = replace(
    SSDNA,
    name="rna",
    letters="ACGU",
    synonyms=(("T", "U"),),
    complements=DNA.complements.replace("T", "U"),
    description="IUPAC RNA codes",
    title="RNA",
)
# B = D or N, Z = E or Q, J = I or L, X = any. U (selenocysteine) and O (pyrrolysine) are specific
# residues but too rare to learn from, so they are treated as ambiguous.
PROTEIN = Alphabet(
    "protein",
    "ACDEFGHIKLMNPQRSTVWY",
    "X",
    "BZJXUO",
    description="one-letter amino acid codes",
    unit="residues",
    title="protein",
)
# One byte per track value: the lowest level is !, the highest }, and ~ is a missing value


def get_alphabet(name: str) -> Alphabet:
    """Return the alphabet called `name`.

    Raises
    ------
    ArgumentError
        If `name` is not "dna", "rna", "ssdna" or "protein".
    """
    for alphabet in (DNA, RNA, SSDNA, PROTEIN):
        if alphabet.name == name:
            return alphabet
    raise ArgumentError(f"unknown alphabet {name!r} (expected dna, rna, ssdna or protein)")
