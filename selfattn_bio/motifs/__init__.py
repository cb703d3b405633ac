"""Read and write motif files (MEME, JASPAR, TRANSFAC), and open the databases of the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from Bio.Data import IUPACData
from numpy.typing import NDArray

from selfattn_bio.config import MOTIF_DATABASES
from selfattn_bio.errors import ArgumentError, DatabaseError
from selfattn_bio.motifs.counts import jaspar_text, read_counts, transfac_text
from selfattn_bio.motifs.meme import meme_alphabet, meme_text, read_meme
from selfattn_bio.motifs.text import database_lines
from selfattn_bio.sequence.alphabet import DNA, Alphabet

SHIPPED = "jaspar:"
TRANSFAC_STARTS = ("VV", "AC", "ID", "NA", "XX", "DE", "P0", "PO")


def open_database(name: str, alphabet: Alphabet = DNA) -> dict[str, NDArray[np.float64]]:
    """Read a motif database.

    Parameters
    ----------
    name
        `jaspar:GROUP` for a database that ships with the package (JASPAR 2026 CORE), or a path to
        MEME, JASPAR or TRANSFAC text.
    alphabet
        Alphabet of the motifs in a file; databases that ship are DNA.

    Returns
    -------
    Motif label -> (width, A) probabilities, as in `read_motifs`.

    Raises
    ------
    DatabaseError
        If there is no such group, or the file cannot be read.
    """
    if not name.startswith(SHIPPED):
        return read_motifs(name, alphabet)
    if name not in MOTIF_DATABASES:
        raise DatabaseError(
            f"unknown motif database {name!r}",
            hint=f"Choose {', '.join(MOTIF_DATABASES)} or a MEME, JASPAR or TRANSFAC file",
        )
    return read_motifs(shipped() / f"{name.removeprefix(SHIPPED)}.meme.gz")


def shipped() -> Path:
    """Return the folder of the databases that ship with the package."""
    return Path(__file__).parent / "jaspar"


def read_motifs(path: str | Path, alphabet: Alphabet = DNA) -> dict[str, NDArray[np.float64]]:
    """Read a MEME, JASPAR or TRANSFAC file, plain or gz; the first line determines the format.

    Returns
    -------
    Label -> (width, A) probabilities, in the file's order. JASPAR and TRANSFAC are always DNA.

    Raises
    ------
    DatabaseError
        If the file is missing, malformed, or in another format.
    """
    path = Path(path)
    first = next(
        (line for line in database_lines(path, "MEME, JASPAR or TRANSFAC") if line.strip()), ""
    )
    if first.startswith("MEME version"):
        return read_meme(path, alphabet)
    if first.startswith(">") and alphabet == DNA:
        return read_counts(path, "JASPAR")
    if first.startswith(TRANSFAC_STARTS) and alphabet == DNA:
        return read_counts(path, "TRANSFAC")
    formats = "MEME" if alphabet != DNA else "MEME, JASPAR or TRANSFAC"
    raise DatabaseError(
        f"not a motif database in {formats} format: it starts with {first[:40]!r}",
        place=f"{path}:1",
    )


def matrix_of(motif: str | NDArray[np.float64], alphabet: Alphabet = DNA) -> NDArray[np.float64]:
    """Return the probabilities (width, A) of a motif: a consensus, or such probabilities.

    Raises
    ------
    ArgumentError
        If a consensus has other characters, or the probabilities another shape.
    """
    if isinstance(motif, str):
        return of_consensus(motif, alphabet)
    matrix = np.asarray(motif)
    if matrix.ndim != 2 or matrix.shape[1] != len(alphabet.letters):
        raise ArgumentError(
            f"the probabilities of a motif have shape {matrix.shape} instead of (width, "
            f"{len(alphabet.letters)}) for {alphabet.name}"
        )
    return matrix


def of_consensus(text: str, alphabet: Alphabet = DNA) -> NDArray[np.float64]:
    """Return the probabilities of a consensus in IUPAC codes, (width, A).

    `of_consensus("TAW")` has T, A, and A or T with probability 1/2 each.

    Raises
    ------
    ArgumentError
        If the text is empty or has a character that is no IUPAC code. X is none in DNA.
    """
    values = (
        IUPACData.ambiguous_dna_values
        if alphabet.has_complement
        else IUPACData.extended_protein_values
    )
    codes = {
        code: [alphabet.letters.index(each) for each in of if each in alphabet.letters]
        for code, of in values.items()
    }
    if not text:
        raise ArgumentError("a motif is empty text")
    if alphabet.has_complement:
        del codes["X"]  # Biopython reads it as N
        codes["U"] = codes["T"]
    if wrong := [code for code in text.upper() if not codes.get(code)]:
        raise ArgumentError(
            f"invalid character {wrong[0]!r} in motif {text!r} (expected {alphabet.description})"
        )
    matrix = np.zeros((len(text), len(alphabet.letters)))
    for position, code in enumerate(text.upper()):
        matrix[position, codes[code]] = 1 / len(codes[code])
    return matrix
