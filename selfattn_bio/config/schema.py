"""Write the JSON Schema of run files, with which an editor completes and checks them."""

from __future__ import annotations

import json
from pathlib import Path

from selfattn_bio.config import RunFile
from selfattn_bio.files import whole_file

NAME = "run_file.schema.json"
DIRECTIVE = f"#:schema {NAME}\n"  # first line of a run file in the same folder


def write_schema(path: str | Path) -> None:
    """Write the JSON Schema of run files for this version of the package."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(RunFile.model_json_schema()) + "\n", encoding="utf-8")
