"""Read and write JASPAR and TRANSFAC text, which contain counts of DNA motifs.

Biopython parses both formats. Its errors do not name the file, so the errors of this module do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from Bio import motifs as bio
from numpy.typing import NDArray

from selfattn_bio.display import one_line
from selfattn_bio.errors import DatabaseError
from selfattn_bio.motifs.text import database_lines

BASES = "ACGT"


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
    blocks = []
    for name, pfm in pfms.items():
        rows = [
            f"{position:02d} {' '.join(f'{count:6d}' for count in row)}"
            for position, row in enumerate(pfm, start=1)
        ]
        blocks.append(
            "\n".join(
                [
                    f"AC  {one_line(name)}",
                    "XX",
                    f"ID  {one_line(name)}",
                    "XX",
                    f"P0 {' '.join(f'{base:>6}' for base in BASES)}",
                    *rows,
                    "XX",
                    "//",
                ]
            )
        )
    return "\n".join(blocks) + "\n"


def read_jaspar(path: str | Path) -> dict[str, NDArray[np.float64]]:
    """Read motifs from JASPAR text, plain or gz.

    Returns
    -------
    "Name (ID)", or "ID" if both are equal -> (width, 4) probabilities.

    Raises
    ------
    DatabaseError
        If the file is missing, is not JASPAR text, has a position without counts, or a repeated
        name.
    """
    return _read(Path(path), "JASPAR", ">", lambda motif: (motif.name, motif.matrix_id))


def read_transfac(path: str | Path) -> dict[str, NDArray[np.float64]]:
    """Read motifs from TRANSFAC text, plain or gz.

    Returns
    -------
    "ID (AC)", or whichever is present -> (width, 4) probabilities.

    Raises
    ------
    DatabaseError
        As in `read_jaspar`.
    """
    return _read(
        Path(path),
        "TRANSFAC",
        ("P0", "PO"),
        lambda motif: (motif.get("ID") or motif.get("NA"), motif.get("AC")),
    )


def _read(
    path: Path,
    format_name: str,
    begins: str | tuple[str, ...],
    names: Callable[[Any], tuple[str | None, str | None]],
) -> dict[str, NDArray[np.float64]]:
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
    if (begun := sum(line.startswith(begins) for line in lines)) != len(found):
        needed = "4 lines of counts" if format_name == "JASPAR" else "a line P0 and counts"
        raise DatabaseError(
            f"{begun - len(found)} of {begun} motifs "
            f"{'is' if begun - len(found) == 1 else 'are'} incomplete: {format_name} needs "
            f"{needed} per motif",
            place=str(path),
        )
    motifs: dict[str, NDArray[np.float64]] = {}
    for motif, table in zip(found, tables, strict=True):
        name, identifier = names(motif)
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
