"""`selfattn-bio COMMAND`: finds the command's module, parses, runs; prints known errors as one line and returns 1.

Hides: argparse and exit codes. Command modules import nothing heavy at the top, so that `ingest` never loads torch.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import sys
from collections.abc import Sequence

from selfattn_bio.errors import SelfAttnBioError

COMMANDS = ("ingest", "split", "train", "evaluate", "explain", "motifs", "report", "score")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="selfattn-bio", description="Self-attention for DNA and protein sequences, from FASTA to motifs with evidence.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = importlib.import_module(f"selfattn_bio.cli.{name}")
        help_text = (module.__doc__ or "").strip()
        command = commands.add_parser(name, help=help_text.splitlines()[0], description=help_text, formatter_class=argparse.RawDescriptionHelpFormatter)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code: 0, 1 for a known error (one line on stderr), 130 after Ctrl-C."""
    arguments = _parser().parse_args(argv)
    try:
        arguments.run(arguments)
    except SelfAttnBioError as error:
        return _fail(arguments.command, str(error))
    except OSError as error:  # a full disk, a read-only folder: the system's word for it, with the path
        if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.EPERM):
            raise
        return _fail(arguments.command, f"{error.filename or 'output'}: must be writable, got {error.strerror}")
    except KeyboardInterrupt:
        print(f"selfattn-bio {arguments.command}: interrupted", file=sys.stderr)
        return 130
    return 0


def _fail(command: str, message: str) -> int:
    print(f"selfattn-bio {command}: error: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
