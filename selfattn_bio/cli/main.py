"""Entry point of the command line, `selfattn-bio COMMAND`.

The modules of commands import heavy libraries such as torch only inside functions, so that commands
start quickly.
"""

from __future__ import annotations

import argparse
import atexit
import errno
import gc
import importlib.metadata
import io
import logging
import os
import platform
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from itertools import chain
from pathlib import Path
from typing import Any, cast

from selfattn_bio.cli import project, scoring, steps
from selfattn_bio.cli.logs import JsonLines, Lines, Objects, Silence, printed_messages, shows_bars
from selfattn_bio.cli.options import SHARED, Command, CommandParser, HelpFormatter, named_path
from selfattn_bio.errors import SelfAttnBioError
from selfattn_bio.files import protecting
from selfattn_bio.log import LOG, Progress
from selfattn_bio.process import cap_threads, keep_memory
from selfattn_bio.study.workflow import TARGETS

# commands by the headings of --help
GROUPS: dict[str, tuple[Command, ...]] = {
    "project": (project.init, project.run, project.schema, project.doctor),
    "data": (steps.ingest, steps.split, steps.audit, scoring.coverage),
    "train": (steps.train, steps.sweep, steps.evaluate),
    "explain": (
        steps.explain,
        steps.motifs,
        steps.interactions,
        scoring.hits,
        steps.report,
    ),
    "apply": (scoring.score, scoring.embed, scoring.scan, scoring.variants, project.export),
    "genomes": (scoring.annotate, scoring.browse),
}
COMMANDS = {each.name: each for group in GROUPS.values() for each in group}

# Errors of the system when writing. HINTS has the advice for each.
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS)
HINTS = dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "Free some space, or write elsewhere")
HINTS |= dict.fromkeys(
    (errno.EACCES, errno.EPERM, errno.EROFS), "Choose another path, or change its permissions"
)
HINTS[errno.EFBIG] = "Raise the limit of file sizes (ulimit -f), or write elsewhere"
HINTS[errno.EMFILE] = "Raise the limit of open files (ulimit -n)"
# distributions with another name than their module
DISTRIBUTIONS = {"sklearn": "scikit-learn", "modiscolite": "modisco-lite", "Bio": "biopython"}
# errors of a path or a file system that is not available
UNREACHABLE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP}
UNREACHABLE |= {errno.ENXIO, errno.EIO, errno.ESTALE, errno.ENOLCK, errno.EMFILE}
# in messages of the system and of libraries
NO_MEMORY = ("allocate memory", "out of memory", "failed to map segment", "start new thread")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Returns
    -------
    0 after success, 1 after a known error, which prints one line on stderr, 130 after Ctrl-C.
    docs/commands.md lists all codes.
    """
    if argv is None:  # the command has its own process
        _collect_garbage_less()
        _open_closed_streams()
        if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
            os.environ["PYTHONUTF8"] = "1"  # LC_ALL=C; the same for the programs that it starts
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    try:
        return _main(argv)
    except KeyboardInterrupt:  # before the command has begun, or after its end
        print("selfattn-bio: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader has exited, for example `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)
        return 1


def _main(argv: Sequence[str] | None) -> int:
    parser = build_parser()
    words = list(sys.argv[1:] if argv is None else argv)
    with suppress(FileNotFoundError):  # deleted
        words.append(os.getcwd())
    for word in words:  # tables and run files cannot hold other names
        is_utf8 = word.encode(errors="ignore").decode() == word
        if not is_utf8 or any(each < " " for each in word):
            problem = "has a line break or control character" if is_utf8 else "is not UTF-8"
            print(f"selfattn-bio: error: {word[:200]!r} {problem}; rename it", file=sys.stderr)
            return 2
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
        arguments.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    cap_threads()
    keep_memory()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # show progress at once in a pipe as well
    errors, output = None, Silence() if arguments.quiet else sys.stdout
    messages: logging.Handler = Lines(arguments.command)
    if arguments.json:
        errors = JsonLines(sys.stderr, arguments.command, "warning")
        output = JsonLines(sys.stdout, arguments.command)
        messages = Objects(output, errors)
    with (
        redirect_stdout(output),
        redirect_stderr(errors or sys.stderr),
        printed_messages(
            messages, logging.DEBUG if arguments.verbose else logging.INFO, bars=shows_bars(output)
        ),
    ):
        return _run(arguments, errors)


def _collect_garbage_less() -> None:
    """Search the imported libraries for garbage rarely, and not at exit: a third of the start."""
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, 1000)
    atexit.register(gc.freeze)


def _open_closed_streams() -> None:
    """Open the null device as each standard stream that is closed, also for other programs."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8"))


def _run(arguments: argparse.Namespace, errors: JsonLines | None) -> int:
    def fail(message: str, exit_code: int = 1) -> int:
        if arguments.verbose:
            traceback.print_exc()
        Progress.clear()
        # names in files may have other characters
        message = "".join(repr(each)[1:-1] if each < " " else each for each in message)
        if errors:
            errors.log("error", message, exit_code=exit_code)
        else:
            print(
                f"selfattn-bio {arguments.command}: {'error: ' * (exit_code != 130)}{message}",
                file=sys.stderr,
            )
        return exit_code

    options = " ".join(
        f"{name}={value}"
        for name, value in vars(arguments).items()
        if value not in (None, "", [])
        and value is not False
        and name not in ("command", "run", "parser", "verbose")
    )
    LOG.debug(f"{_versions()}; {options}")
    try:
        for name in arguments.allow_module:
            from selfattn_bio.model.user_module import allow_module  # imports torch

            allow_module(name)
        given = {**vars(arguments), "output": None}.values()
        with protecting(
            chain.from_iterable(each if isinstance(each, list) else [each] for each in given)
        ):
            return arguments.run(arguments) or 0
    except SelfAttnBioError as error:
        return fail(str(error), error.exit_code)
    except (OSError, RuntimeError, MemoryError, ImportError) as error:
        if message := system_failure(error):
            return fail(message)
        raise
    except KeyboardInterrupt as stopped:
        return fail(str(stopped) or "interrupted", 130)


def system_failure(error: Exception) -> str:
    """Describe a disk that is full, read-only, failing or gone, no memory, or no package.

    Returns
    -------
    The system's message with the path and a hint; empty for any other error.
    """
    if _is_out_of_memory(error):
        reason = " ".join(str(error).split())[:200]
        hint = "Close other programs, or raise the limit of memory (ulimit -v, sbatch --mem)"
        return f"out of memory{reason and f' ({reason})'}. {hint}"
    name = (getattr(error, "name", None) or "").partition(".")[0]
    if isinstance(error, ModuleNotFoundError) and name not in ("", "selfattn_bio"):
        return (
            f"the Python package {name} is not installed. Install it with pip install "
            f"{DISTRIBUTIONS.get(name, name)}"
        )
    if not isinstance(error, OSError):
        return (
            "numba has no folder for its cache that it may write to. Set NUMBA_CACHE_DIR to such a "
            "folder"
            if "cannot cache function" in str(error)
            else ""
        )
    if error.errno in UNWRITABLE:
        path, problem = error.filename or "output", "cannot be written"
    elif error.errno in UNREACHABLE and error.filename:
        path, problem = error.filename, "cannot be accessed"
    else:
        return ""
    hint = f". {HINTS[error.errno]}" if error.errno in HINTS else ""
    return f"{path}: {problem}: {error.strerror}{hint}"


def _is_out_of_memory(error: Exception) -> bool:
    if "torch" in sys.modules:
        from selfattn_bio.training.memory import is_out_of_memory  # imports torch

        if is_out_of_memory(error):
            return True
    return isinstance(error, MemoryError) or any(each in str(error) for each in NO_MEMORY)


class _PrintCompletion(argparse.Action):
    """Print a completion script for a shell, in which options for paths complete file names."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: object, values: Any, option: object = None
    ) -> None:
        import shtab  # imported here because other commands do not need it

        commands = next(each for each in parser._actions if each.dest == "command")
        for command in cast(Mapping[str, argparse.ArgumentParser], commands.choices).values():
            for option in command._actions:
                if option.type in (Path, named_path):
                    option.complete = shtab.FILE  # type: ignore[attr-defined]
        print(shtab.complete(parser, shell=str(values)))
        parser.exit()


class _CommandList(HelpFormatter):
    """List the commands below the headings of `GROUPS`."""

    def _format_action(self, action: argparse.Action) -> str:
        text = super()._format_action(action)
        headings = {group[0].name: heading for heading, group in GROUPS.items()}
        return f"\n  {headings[action.dest]}:\n{text}" if action.dest in headings else text


def _versions() -> str:
    version = importlib.metadata.version
    torch = "not installed"
    with suppress(importlib.metadata.PackageNotFoundError):
        torch = version("torch")
    return f"{version('selfattn-bio')} (PyTorch {torch}, Python {platform.python_version()})"


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    parser = CommandParser(
        prog="selfattn-bio",
        description="Self-attention for DNA, RNA and protein sequences, from FASTA to motifs "
        "with evidence.",
        formatter_class=_CommandList,
    )
    parser.add_argument("--version", action="version", version=_versions())
    parser.add_argument(
        "--print-completion",
        action=_PrintCompletion,
        choices=("bash", "zsh", "tcsh"),
        help="print the completion of commands and options for a shell",
    )
    verbosity = parser.add_argument_group("options of every command, before or after its name")
    verbosity = verbosity.add_mutually_exclusive_group()
    for name, text in SHARED.items():
        verbosity.add_argument(name, action="store_true", help=text)
    commands = parser.add_subparsers(
        title="commands",
        dest="command",
        required=True,
        metavar="COMMAND",
        parser_class=CommandParser,
    )
    for command in COMMANDS.values():
        inner = commands.add_parser(
            command.name,
            help=command.help.splitlines()[0],
            description=command.help,
            epilog=f"{', '.join(SHARED)}: see selfattn-bio --help",
            formatter_class=HelpFormatter,
        )
        inner.set_defaults(run=command.run, parser=inner, allow_module=[])
        for option in command.options:
            option(inner)
    return parser


if __name__ == "__main__":
    sys.exit(main())
