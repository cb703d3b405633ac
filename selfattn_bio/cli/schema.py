"""Write the JSON Schema of run files, with which an editor completes and checks them.

The schema has all keys with their ranges and defaults. `init` writes it next to the run file, whose
first line names it. Editors with Taplo or Even Better TOML read that line.

example: selfattn-bio schema --output workflows/tasks/run_file.schema.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

FILE = Path("workflows/tasks/run_file.schema.json")
DIRECTIVE = f"#:schema {FILE.name}\n"  # first line of a run file in the same folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio schema`."""
    parser.add_argument(
        "--output", type=Path, default=FILE, metavar="FILE", help="JSON file (default: %(default)s)"
    )


def run(arguments: argparse.Namespace) -> None:
    """Write the schema."""
    write_schema(arguments.output)
    print(f"schema: wrote {arguments.output}")


def write_schema(path: Path) -> None:
    """Write the JSON Schema of this version of the package."""
    from selfattn_bio.config import RunFile
    from selfattn_bio.files import whole_file

    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(RunFile.model_json_schema()) + "\n", encoding="utf-8")
