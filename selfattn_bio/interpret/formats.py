"""Motifs as MEME text and places as BED: what other tools read.

Hides: the two syntaxes, and how a place in a record becomes one on its chromosome. `motifs` and `matching` use it.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.errors import DatabaseError

MEME_HEADER = """MEME version 4

ALPHABET= ACGT

strands: + -

Background letter frequencies
A 0.25 C 0.25 G 0.25 T 0.25
"""
BED_COLUMNS = ["chrom", "start", "end", "name", "score", "strand"]


def meme_text(ppms: Mapping[str, NDArray[np.float64]], num_sites: Mapping[str, int]) -> str:
    """Motifs in the MEME minimal format, version 4.

    Parameters
    ----------
    ppms
        Name -> (width, 4) probabilities, rows summing to 1, letters in the order ACGT; 0-based positions.
    num_sites
        Name -> number of sites the motif was built from.
    """
    blocks = [MEME_HEADER]
    for name, ppm in ppms.items():
        rows = "\n".join(" ".join(f"{p:.6f}" for p in row) for row in ppm)
        blocks.append(f"MOTIF {name}\nletter-probability matrix: alength= 4 w= {len(ppm)} nsites= {num_sites[name]} E= 0\n{rows}\n")
    return "\n".join(blocks)


def read_meme(path: str | Path, least: int = 1) -> dict[str, NDArray[np.float64]]:
    """Read motifs from MEME text, plain or gz.

    Biopython's reader rounds the probabilities to counts and drops the names, memelite's reads no gz and names no line.

    Parameters
    ----------
    path
        The file.
    least
        Motifs that it must hold; 0 where none is a result, too, as of a search.

    Returns
    -------
    "Name (ID)", or "ID" where the MOTIF line has no name, -> (width, 4) probabilities in the order ACGT, in the file's order.

    Raises
    ------
    DatabaseError
        If the file is missing, is no MEME text, is of another alphabet than ACGT, or holds fewer motifs; the place is `path:line`.
    """
    path = Path(path)
    lines = _lines(path)
    if not lines or not lines[0].startswith("MEME version"):
        raise DatabaseError("motif database must start with 'MEME version', got something else", place=f"{path}:1")
    motifs: dict[str, NDArray[np.float64]] = {}
    label, at = "", 0
    while at < len(lines):
        line = lines[at]
        at += 1
        if line.startswith("ALPHABET") and line.partition("=")[2].split() != ["ACGT"]:
            raise DatabaseError(f"motif database must have ALPHABET= ACGT, got {line.strip()!r}", place=f"{path}:{at}")
        if line.startswith("MOTIF"):
            if label and label not in motifs:
                raise DatabaseError(f"motif must have a letter-probability matrix, got none for {label!r}", place=f"{path}:{at}")
            identifier, *name = line.split()[1:] or [""]
            label = f"{' '.join(name)} ({identifier})" if name else identifier
            if not label or label in motifs:
                raise DatabaseError(f"motif must have a name of its own, got {label!r}", place=f"{path}:{at}")
        elif line.startswith("letter-probability matrix"):
            if not label or label in motifs:
                raise DatabaseError("letter-probability matrix must follow a MOTIF line of its own, got another", place=f"{path}:{at}")
            motifs[label] = _matrix(lines, at, path)
            at += len(motifs[label])
    if len(motifs) < least:
        raise DatabaseError("motif database must hold at least one motif, got none", place=str(path))
    return motifs


def _lines(path: Path) -> list[str]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            return file.read().splitlines()
    except FileNotFoundError:
        raise DatabaseError("motif database must be an existing MEME file, got no such file", place=str(path)) from None
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise DatabaseError(f"motif database must be MEME text, plain or gz, got {error}", place=str(path)) from error


def _matrix(lines: list[str], at: int, path: Path) -> NDArray[np.float64]:
    """The rows of four numbers from line `at` on (0-based); as many as there are, and as many as w= says."""
    stated = re.search(r"\bw=\s*(\d+)", lines[at - 1])
    rows: list[list[float]] = []
    while at + len(rows) < len(lines) and (fields := lines[at + len(rows)].split()):
        try:
            rows.append([float(field) for field in fields])
        except ValueError:
            break
    for number, row in enumerate(rows, start=at + 1):
        if len(row) != 4 or min(row) < 0 or abs(sum(row) - 1) > 0.01:
            raise DatabaseError(f"a row of a motif must be 4 probabilities that sum to 1, got {row}", place=f"{path}:{number}")
    if not rows or (stated and int(stated[1]) != len(rows)):
        width = stated[1] if stated else "at least 1"
        raise DatabaseError(f"a motif must have w= {width} rows, got {len(rows)}", place=f"{path}:{at}")
    return np.array(rows) / np.sum(rows, axis=1, keepdims=True)


def on_chromosome(places: pd.DataFrame, records: pd.DataFrame) -> pd.DataFrame:
    """Turn places within records into BED6 rows.

    A record on chr2R [100, 200) of the - strand holds the letters of that strand, so its place [10, 15) on + is chr2R [185, 190) on -.
    A record without coordinates stands for itself: the rows carry its id and the place within it.

    Parameters
    ----------
    places
        record (row of `records`), start, end (letters of the record, 0-based half-open), strand (+ as the record's letters read, -
        their reverse complement), name, score (0 to 1000).
    records
        id, chrom, start, end (0-based half-open), strand; missing where unknown. One row a record.

    Returns
    -------
    chrom, start, end, name, score, strand, ordered by place.
    """
    record = records.iloc[places["record"].to_numpy(dtype=int)].reset_index(drop=True)
    place = places.reset_index(drop=True)
    located = record[["chrom", "start", "end"]].notna().all(axis=1).to_numpy() & (record["chrom"].fillna("") != "").to_numpy()
    turned = located & (record["strand"] == "-").fillna(False).to_numpy(dtype=bool)
    origin = record["start"].where(located, 0).to_numpy(dtype=np.int64)
    far_end = record["end"].where(located, 0).to_numpy(dtype=np.int64)
    start, end = place["start"].to_numpy(dtype=np.int64), place["end"].to_numpy(dtype=np.int64)
    flipped = place["strand"].map({"+": "-", "-": "+"})
    rows = pd.DataFrame(
        {
            "chrom": record["chrom"].where(located, record["id"]),
            "start": np.where(turned, far_end - end, origin + start),
            "end": np.where(turned, far_end - start, origin + end),
            "name": place["name"],
            "score": place["score"].to_numpy(dtype=np.int64),
            "strand": place["strand"].where(~turned, flipped),
        },
        columns=BED_COLUMNS,
    )
    return rows.sort_values(["chrom", "start", "end", "name", "strand"], ignore_index=True)


def write_bed(path: str | Path, rows: pd.DataFrame) -> None:
    """Write `rows` (as of `on_chromosome`) as BED6: tabs, no header."""
    rows.to_csv(path, sep="\t", header=False, index=False, columns=BED_COLUMNS, lineterminator="\n")
