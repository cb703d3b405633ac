"""Read and write motifs as MEME text, version 4."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.display import one_line
from selfattn_bio.errors import DatabaseError
from selfattn_bio.motifs.text import database_lines
from selfattn_bio.sequence.alphabet import DNA, PROTEIN, Alphabet


def meme_text(
    ppms: Mapping[str, NDArray[np.float64]], num_sites: Mapping[str, int], alphabet: Alphabet = DNA
) -> str:
    """Format motifs as minimal MEME text, version 4.

    Parameters
    ----------
    ppms
        Name -> (width, A) probabilities. Rows sum to 1, columns are in the order of the alphabet.
    num_sites
        Name -> number of sites the motif was built from.
    alphabet
        Alphabet of the motifs; the background is uniform.
    """
    size = len(alphabet.letters)
    blocks = ["MEME version 4\n", f"ALPHABET= {alphabet.letters}\n"]
    if alphabet.has_complement:
        blocks.append("strands: + -\n")
    blocks.append(
        "Background letter frequencies\n"
        + " ".join(f"{letter} {1 / size:g}" for letter in alphabet.letters)
        + "\n"
    )
    for name, ppm in ppms.items():
        rows = "\n".join(" ".join(f"{p:.6f}" for p in row) for row in ppm)
        blocks.append(
            f"MOTIF {one_line(name)}\nletter-probability matrix: alength= {size} w= {len(ppm)} "
            f"nsites= {num_sites[name]} E= 0\n{rows}\n"
        )
    return "\n".join(blocks)


def meme_alphabet(path: str | Path) -> Alphabet:
    """Return the alphabet of the package that MEME text names; DNA if it names no other one."""
    lines = database_lines(Path(path), "MEME")
    named = next((line.partition("=")[2].strip() for line in lines if "ALPHABET" in line), "")
    return PROTEIN if named == PROTEIN.letters else DNA


def read_meme(
    path: str | Path, alphabet: Alphabet = DNA, least: int = 1
) -> dict[str, NDArray[np.float64]]:
    """Read motifs from MEME text, plain or gz.

    The package has its own reader because Biopython's rounds the probabilities to counts and drops
    the names, and memelite's does not read gz or give line numbers.

    Parameters
    ----------
    path
        The file.
    alphabet
        Alphabet of the motifs.
    least
        Minimum number of motifs; 0 if an empty file is valid, such as the result of a search.

    Returns
    -------
    "Name (ID)", or "ID" if the MOTIF line has no name -> (width, A) probabilities in the order of
    the alphabet, in the file's order.

    Raises
    ------
    DatabaseError
        If the file is missing, is not MEME text, has another alphabet, or too few motifs. The place
        is `path:line`.
    """
    path = Path(path)
    lines = database_lines(path, "MEME")
    if not next((line for line in lines if line.strip()), "").startswith("MEME version"):
        raise DatabaseError(
            "not a MEME file: it does not start with 'MEME version'", place=f"{path}:1"
        )
    motifs: dict[str, NDArray[np.float64]] = {}
    label, at = "", 0
    while at < len(lines):
        line = lines[at]
        at += 1
        if line.startswith("ALPHABET") and line.partition("=")[2].split() != [alphabet.letters]:
            raise DatabaseError(
                f"expected ALPHABET= {alphabet.letters}, found {line.strip()!r}",
                place=f"{path}:{at}",
            )
        if line.startswith("MOTIF"):
            if label and label not in motifs:
                raise DatabaseError(
                    f"motif {label!r} has no letter-probability matrix",
                    place=f"{path}:{at}",
                )
            identifier, *name = line.split()[1:] or [""]
            label = f"{' '.join(name)} ({identifier})" if name else identifier
            if not label or label in motifs:
                raise DatabaseError(
                    f"two motifs are named {label!r}" if label else "a motif has no name",
                    place=f"{path}:{at}",
                )
        elif line.startswith("letter-probability matrix"):
            if not label or label in motifs:
                raise DatabaseError(
                    "letter-probability matrix without a MOTIF line before it",
                    place=f"{path}:{at}",
                )
            motifs[label] = _matrix(lines, at, path, len(alphabet.letters))
            at += len(motifs[label])
    if len(motifs) < least:
        raise DatabaseError("the motif database contains no motif", place=str(path))
    return motifs


def _matrix(lines: list[str], at: int, path: Path, size: int) -> NDArray[np.float64]:
    """Read the rows of `size` numbers that start at line `at` (0-based).

    Raises an error if their number differs from w=.
    """
    stated = re.search(r"\bw=\s*(\d+)", lines[at - 1])
    rows: list[list[float]] = []
    while at + len(rows) < len(lines) and (fields := lines[at + len(rows)].split()):
        try:
            rows.append([float(field) for field in fields])
        except ValueError:
            break
    for number, row in enumerate(rows, start=at + 1):
        if len(row) != size or not (min(row) >= 0 and abs(sum(row) - 1) <= 0.01):
            raise DatabaseError(
                f"{row} are not {size} probabilities that sum to 1",
                place=f"{path}:{number}",
            )
    if not rows or (stated and int(stated[1]) != len(rows)):
        width = stated[1] if stated else "at least 1"
        raise DatabaseError(
            f"the motif has {len(rows)} row{'s' * (len(rows) != 1)} instead of {width} (w=)",
            place=f"{path}:{at}",
        )
    return np.array(rows) / np.sum(rows, axis=1, keepdims=True)
