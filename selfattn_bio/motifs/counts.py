"""Read and write JASPAR and TRANSFAC text, which contain counts of DNA motifs.

Biopython parses both formats. Its errors do not name the file, so the errors of this module do.
"""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Literal

import numpy as np
from Bio import motifs as bio
from Bio.motifs import transfac
from numpy.typing import NDArray

from selfattn_bio.display import one_line
from selfattn_bio.errors import DatabaseError
from selfattn_bio.motifs.text import database_lines

BASES = "ACGT"
Matrices = dict[str, NDArray[np.float64]]  # label to (width, 4) probabilities


def jaspar_text(pfms: Mapping[str, NDArray[np.int64]]) -> str:
    """Format motifs as JASPAR text: name -> (width, 4) counts, ACGT; one line per base."""
    blocks = []
    for name, pfm in pfms.items():
        rows = [
            f"{letter} [ {' '.join(f'{count:6d}' for count in pfm[:, i])} ]"
            for i, letter in enumerate(BASES)
        ]
        blocks.append("\n".join([f">{one_line(name)}", *rows]) + "\n")
    return "\n".join(blocks)


def transfac_text(pfms: Mapping[str, NDArray[np.int64]]) -> str:
    """Format motifs as TRANSFAC text: name -> (width, 4) counts, ACGT; one line per position."""
    motifs = []
    for name, pfm in pfms.items():
        counts = {base: pfm[:, i].tolist() for i, base in enumerate(BASES)}
        motifs.append(transfac.Motif(BASES, counts=counts))
        motifs[-1].update(AC=one_line(name), ID=one_line(name))
    return str(bio.write(motifs, "transfac"))


def read_counts(path: str | Path, format_name: Literal["JASPAR", "TRANSFAC"]) -> Matrices:
    """Read motifs from JASPAR or TRANSFAC text, plain or gz.

    Returns
    -------
    "Name (ID)", or whichever is present, or "ID" if both are equal -> (width, 4) probabilities. In
    TRANSFAC text they are the fields ID (or NA) and AC.

    Raises
    ------
    DatabaseError
        If the file is missing, is not text of this format, has a position without counts, or a
        repeated name.
    """
    path = Path(path)
    lines = database_lines(path, format_name)
    if format_name == "JASPAR" and len(lines) > 1 and len(lines[1]) > 1 and lines[1].isalpha():
        raise DatabaseError(
            "this is a FASTA file of sequences, not a JASPAR motif database", place=f"{path}:2"
        )
    text = "\n".join(lines) + "\n"
    try:
        found = list(bio.parse(StringIO(text), format_name.lower()))
        tables = [
            np.array([motif.counts[base] for base in BASES], dtype=np.float64).T for motif in found
        ]
    # Biopython raises various exceptions
    except (ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
        raise DatabaseError(
            f"cannot read this file as {format_name}: {error}", place=str(path)
        ) from error
    # Biopython skips truncated motifs
    begins = ">" if format_name == "JASPAR" else ("P0", "PO")
    if (begun := sum(line.startswith(begins) for line in lines)) != len(found):
        needed = "4 lines of counts" if format_name == "JASPAR" else "a line P0 and counts"
        raise DatabaseError(
            f"{begun - len(found)} of {begun} motifs "
            f"{'is' if begun - len(found) == 1 else 'are'} incomplete: {format_name} needs "
            f"{needed} per motif",
            place=str(path),
        )
    motifs: Matrices = {}
    for motif, table in zip(found, tables, strict=True):
        if format_name == "JASPAR":
            name, identifier = motif.name, motif.matrix_id
        else:
            name, identifier = motif.get("ID") or motif.get("NA"), motif.get("AC")
        label = (
            f"{name} ({identifier})"
            if name and identifier and name != identifier
            else name or identifier
        )
        if not label or label in motifs:
            raise DatabaseError(
                f"two motifs are named {label!r}" if label else "a motif has no name",
                place=str(path),
            )
        if not np.isfinite(table).all():
            raise DatabaseError(f"a count of motif {label!r} is not a number", place=str(path))
        if not len(table) or (table < 0).any() or (table.sum(axis=1) <= 0).any():
            raise DatabaseError(f"a position of motif {label!r} has no counts", place=str(path))
        motifs[label] = table / table.sum(axis=1, keepdims=True)
    if not motifs:
        raise DatabaseError("the motif database contains no motif", place=str(path))
    return motifs
