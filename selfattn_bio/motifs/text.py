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
            f"motif database must be an existing {format_name} file, got no such file",
            place=str(path),
        ) from None
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise DatabaseError(
            f"motif database must be {format_name} text, plain or gz, got {error}", place=str(path)
        ) from error
