"""Read the lines of a motif file."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from selfattn_bio.errors import DatabaseError


def database_lines(path: Path, format_name: str) -> list[str]:
    """Return all lines of a motif file, plain or gz.

    Raises
    ------
    DatabaseError
        If the file does not exist, or is not text.
    """
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8") as file
        ):
            return file.read().splitlines()
    except FileNotFoundError:
        raise DatabaseError(
            "motif database not found",
            place=str(path),
            hint=f"Give the path of a {format_name} file",
        ) from None
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise DatabaseError(
            f"cannot read this file as {format_name}: {error}", place=str(path)
        ) from error
