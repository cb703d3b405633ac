"""Files of motifs and places that other tools read: MEME, JASPAR, TRANSFAC, modisco's h5 and npz, BED, TSV and Parquet.

Hides: the syntaxes, and how a place in a record becomes one on its chromosome. `motifs` and `matching` use it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.errors import DatabaseError
from selfattn_bio.interpret.formats.counts import jaspar_text, read_jaspar, read_transfac, transfac_text
from selfattn_bio.interpret.formats.meme import meme_text, read_meme
from selfattn_bio.interpret.formats.places import BED_COLUMNS, on_chromosome, read_bed, write_bed, write_table
from selfattn_bio.interpret.formats.text import database_lines
from selfattn_bio.sequence.alphabet import DNA, Alphabet

__all__ = [
    "BED_COLUMNS",
    "jaspar_text",
    "meme_text",
    "on_chromosome",
    "read_bed",
    "read_jaspar",
    "read_meme",
    "read_motifs",
    "read_transfac",
    "transfac_text",
    "write_bed",
    "write_table",
]

TRANSFAC_STARTS = ("VV", "AC", "ID", "NA", "XX", "DE", "P0", "PO")


def read_motifs(path: str | Path, alphabet: Alphabet = DNA) -> dict[str, NDArray[np.float64]]:
    """Read a file of motifs, MEME, JASPAR or TRANSFAC text, plain or gz; its first line says which.

    Returns
    -------
    Label -> (width, A) probabilities, in the file's order. JASPAR and TRANSFAC are of DNA.

    Raises
    ------
    DatabaseError
        If the file is missing, of none of the formats, or wrong.
    """
    path = Path(path)
    first = next((line for line in database_lines(path, "MEME, JASPAR or TRANSFAC") if line.strip()), "")
    if first.startswith("MEME version"):
        return read_meme(path, alphabet)
    if first.startswith(">") and alphabet == DNA:
        return read_jaspar(path)
    if first.startswith(TRANSFAC_STARTS) and alphabet == DNA:
        return read_transfac(path)
    message = "motif database must start as MEME ('MEME version'), JASPAR ('>') or TRANSFAC ('AC', 'ID', ...) does"
    raise DatabaseError(f"{message}, got {first[:40]!r}", place=f"{path}:1")
