"""Write run files: their tables, settings and comments, and the JSON Schema for editors.

Names of columns, classes and files come from the user's data and may contain any character. Only
these functions write them, so a name cannot leave its value or its comment.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from selfattn_bio.config import RunFile
from selfattn_bio.display import one_line
from selfattn_bio.files import check_ending, write_text


def toml_text(run: RunFile) -> str:
    """Return the text of a run file with all settings, also those that have their defaults."""
    return tomli_w.dumps(run.model_dump(mode="json", exclude_none=True))


def comment(text: str) -> str:
    """Return a comment of one line."""
    return f"# {one_line(text)}"


def setting(key: str, value: Any, note: str = "") -> str:
    """Return `key = value`, with a comment after it if there is a note."""
    line = _pair(key, value)
    return f"{line}  {comment(note)}" if note else line


def toml_value(value: Any) -> str:
    """Return a value as TOML on one line."""
    if isinstance(value, Mapping):
        return f"{{ {', '.join(_pair(key, each) for key, each in value.items())} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    return tomli_w.dumps({"key": value}).removeprefix("key = ").removesuffix("\n")


def _pair(key: str, value: Any) -> str:
    name = tomli_w.dumps({key: 0}).removesuffix(" = 0\n")
    return f"{name} = {toml_value(value)}"


NAME = "run_file.schema.json"
DIRECTIVE = f"#:schema {NAME}\n"  # first line of a run file in the same folder


def write_schema(path: str | Path) -> None:
    """Write the JSON Schema of run files for this version of the package."""
    write_text(check_ending(path, ".json"), json.dumps(RunFile.model_json_schema()) + "\n")
