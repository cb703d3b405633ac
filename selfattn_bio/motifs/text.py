"""Read the lines of a motif file."""

from __future__ import annotations

from pathlib import Path

from selfattn_bio.compression import open_uncompressed
from selfattn_bio.errors import DatabaseError


def database_lines(path: Path, format_name: str) -> list[str]:
    """Return all lines of a motif file, plain or compressed.

    Raises
    ------
    DatabaseError
        If the file does not exist, cannot be read, or is not text.
    """
    if not path.exists():
        raise DatabaseError(
            "motif database not found",
            place=str(path),
            hint=f"Give the path of a {format_name} file",
        )
    try:
        with open_uncompressed(path, DatabaseError) as file:
            return file.read().decode().splitlines()
    except UnicodeDecodeError as error:
        raise DatabaseError(
            f"cannot read this file as {format_name}: {error}", place=str(path)
        ) from error
