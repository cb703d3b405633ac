"""Entry point of the command line, `selfattn-bio COMMAND`.

`main` imports the modules of all commands to build the parser. To start quickly, these modules
import heavy libraries such as torch only inside functions.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import importlib
import importlib.metadata
import io
import os
import sys
import textwrap
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout

from selfattn_bio.cli.logs import JsonLines, Silence
from selfattn_bio.cli.run import TARGETS
from selfattn_bio.errors import SelfAttnBioError

COMMANDS = (
    "init",
    "run",
    "demo",
    "score",
    "ingest",
    "split",
    "audit",
    "plan",
    "train",
    "sweep",
    "prune",
    "evaluate",
    "explain",
    "motifs",
    "interactions",
    "contacts",
    "report",
    "embed",
    "scan",
    "hits",
    "variants",
    "simulate",
    "schema",
    "doctor",
)

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # constants of malloc.h
# errors of the system when writing; HINTS has the advice for each
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)
HINTS = dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "Free some space, or write elsewhere")
HINTS |= dict.fromkeys(
    (errno.EACCES, errno.EPERM, errno.EROFS), "Choose another path, or change its permissions"
)
# errors of a path or a file system that is not available
UNREACHABLE = (errno.ENOENT, errno.ENOTDIR, errno.EIO, errno.ESTALE, errno.ENOLCK)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Returns
    -------
    0 after success, 1 after a known error, which prints one line on stderr, 130 after Ctrl-C.
    docs/commands.md lists all codes.
    """
    parser = _parser()
    arguments, unknown = parser.parse_known_args(argv)
    if unknown and arguments.command == "run":
        words = [arguments.target, *arguments.extra]
        target = next((word for word in words if word.startswith(TARGETS)), "TARGET")
        message = (
            f"{unknown[0]} is an option of Snakemake and goes after the target: "
            f"selfattn-bio run {target} {unknown[0]} ..."
        )
        print(f"selfattn-bio run: error: {message}", file=sys.stderr)
        return 2
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    _cap_threads()
    keep_memory()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # show progress at once in a pipe as well
    errors = JsonLines(sys.stderr, arguments.command, "warning") if arguments.json else None
    output = (
        JsonLines(sys.stdout, arguments.command)
        if arguments.json
        else Silence()
        if arguments.quiet
        else sys.stdout
    )
    with redirect_stdout(output), redirect_stderr(errors or sys.stderr):
        return _run(arguments, errors)


def _run(arguments: argparse.Namespace, errors: JsonLines | None) -> int:
    def fail(message: str, exit_code: int = 1) -> int:
        if errors:
            errors.say("error", message, exit_code=exit_code)
        else:
            print(
                f"selfattn-bio {arguments.command}: {'error: ' * (exit_code != 130)}{message}",
                file=sys.stderr,
            )
        return exit_code

    try:
        return arguments.run(arguments) or 0
    except SelfAttnBioError as error:
        return fail(str(error), error.exit_code)
    except BrokenPipeError:  # the reader has exited, for example `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)
        return 1
    # A disk that is full, read-only, failing or gone: report the system's message with the path.
    except OSError as error:
        if error.errno in UNWRITABLE:
            path, problem = error.filename or "output", "cannot be written"
        elif error.errno in UNREACHABLE and error.filename:
            path, problem = error.filename, "cannot be accessed"
        else:
            raise
        hint = f". {HINTS[error.errno]}" if error.errno in HINTS else ""
        return fail(f"{path}: {problem}: {error.strerror}{hint}")
    except RuntimeError as error:
        if "cannot cache function" not in str(error):
            raise
        return fail(
            "numba has no folder for its cache that it may write to. Set NUMBA_CACHE_DIR to such a "
            "folder"
        )
    except KeyboardInterrupt as stopped:
        return fail(str(stopped) or "interrupted", 130)


class _HelpFormatter(argparse.HelpFormatter):
    """Fill paragraphs to the width of the terminal; keep indented lines, lists and the example."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines: list[str] = []
        paragraph: list[str] = []
        for line in [*text.splitlines(), ""]:
            if line and not line.startswith((" ", "- ", "example: ")):
                paragraph.append(line)
                continue
            if paragraph:
                lines += self._split_lines(" ".join(paragraph), width)
                paragraph = []
            lines.append(line)
        return "\n".join(lines[:-1])

    def _split_lines(self, text: str, width: int) -> list[str]:
        # Options such as --per-token stay on one line
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="selfattn-bio",
        description="Self-attention for DNA and protein sequences, from FASTA to motifs with "
        "evidence.",
    )
    parser.add_argument(
        "--version", action="version", version=importlib.metadata.version("selfattn-bio")
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = importlib.import_module(f"selfattn_bio.cli.{name}")
        help_text = (module.__doc__ or "").strip()
        command = commands.add_parser(
            name,
            help=help_text.splitlines()[0],
            description=help_text,
            formatter_class=_HelpFormatter,
        )
        verbosity = command.add_mutually_exclusive_group()
        verbosity.add_argument("--quiet", action="store_true", help="print only errors")
        verbosity.add_argument(
            "--json",
            action="store_true",
            help="print each line, including errors, as a JSON object",
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def _cap_threads() -> None:
    """Lower thread counts of the environment to the number of available cores.

    `snakemake --cores 8` sets them to 8 on a machine with two cores as well.
    """
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    for name in THREAD_VARIABLES:
        if os.environ.get(name, "").isdigit() and int(os.environ[name]) > cores:
            os.environ[name] = str(cores)


def keep_memory() -> None:
    """Make glibc keep freed memory for the next training step.

    By default, glibc maps large blocks again in every step, which costs page faults. Results are
    the same to the bit. Other C libraries are not affected.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)  # bytes, the largest C int
        mallopt(M_TOP_PAD, 2**28)


if __name__ == "__main__":
    sys.exit(main())
