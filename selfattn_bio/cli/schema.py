"""Write the JSON Schema of run files, with which an editor completes and checks them.

The schema has all keys with their ranges and defaults. `init` writes it next to the run file, whose
first line names it. Editors with Taplo or Even Better TOML read that line.

example: selfattn-bio schema --output workflows/tasks/run_file.schema.json
"""

from __future__ import annotations

import argparse

from selfattn_bio.log import LOG


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio schema`."""
    parser.add_argument(
        "--output",
        default="workflows/tasks/run_file.schema.json",
        metavar="FILE",
        help="JSON file (default: %(default)s)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Write the schema."""
    from selfattn_bio.config.schema import write_schema

    write_schema(arguments.output)
    LOG.info(f"wrote {arguments.output}")
