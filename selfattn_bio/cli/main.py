"""Entry point of the command line, `selfattn-bio COMMAND`.

`main` imports the modules of all commands to build the parser. To start quickly, these modules
import heavy libraries such as torch only inside functions.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import importlib
import importlib.metadata
import io
import logging
import os
import platform
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from itertools import chain
from pathlib import Path
from typing import Any, cast

from selfattn_bio.cli.common import HelpFormatter
from selfattn_bio.cli.failures import system_failure
from selfattn_bio.cli.logs import (
    JsonLines,
    Lines,
    Objects,
    Silence,
    printed_messages,
    shows_bars,
)
from selfattn_bio.cli.process import cap_threads
from selfattn_bio.errors import SelfAttnBioError
from selfattn_bio.log import LOG, Progress
from selfattn_bio.study.workflow import TARGETS
from selfattn_bio.training.heap import keep_memory

# command modules by the headings of --help
GROUPS = {
    "project": ("init", "run", "demo", "schema", "doctor"),
    "data": ("ingest", "split", "audit"),
    "train": ("train", "sweep", "evaluate"),
    "explain": ("explain", "motifs", "interactions", "contacts", "hits", "report"),
    "apply": ("score", "embed", "scan", "variants"),
}
COMMANDS = tuple(chain.from_iterable(GROUPS.values()))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Returns
    -------
    0 after success, 1 after a known error, which prints one line on stderr, 130 after Ctrl-C.
    docs/commands.md lists all codes.
    """
    if argv is None:  # the command has its own process
        _collect_garbage_less()
    parser = build_parser()
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
            messages,
            logging.DEBUG if arguments.verbose else logging.INFO,
            bars=shows_bars(output),
        ),
    ):
        return _run(arguments, errors)


def _collect_garbage_less() -> None:
    """Search the imported libraries for garbage rarely, and not at exit: a third of the start."""
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, 1000)
    atexit.register(gc.freeze)


def _run(arguments: argparse.Namespace, errors: JsonLines | None) -> int:
    def fail(message: str, exit_code: int = 1) -> int:
        if arguments.verbose:
            traceback.print_exc()
        Progress.clear()
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
        and name not in ("command", "run", "verbose")
    )
    LOG.debug(f"{_versions()}; {options}")
    try:
        for name in arguments.allow_module:
            from selfattn_bio.model.user_module import allow_module  # imports torch

            allow_module(name)
        return arguments.run(arguments) or 0
    except SelfAttnBioError as error:
        return fail(str(error), error.exit_code)
    except BrokenPipeError:  # the reader has exited, for example `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)
        return 1
    except (OSError, RuntimeError) as error:
        if message := system_failure(error):
            return fail(message)
        raise
    except KeyboardInterrupt as stopped:
        return fail(str(stopped) or "interrupted", 130)


class _PrintCompletion(argparse.Action):
    """Print a completion script for a shell, in which options for paths complete file names."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: object, values: Any, option: object = None
    ) -> None:
        import shtab  # imported here because other commands do not need it

        commands = next(each for each in parser._actions if each.dest == "command")
        for command in cast(Mapping[str, argparse.ArgumentParser], commands.choices).values():
            for option in command._actions:
                if option.type is Path:
                    option.complete = shtab.FILE  # type: ignore[attr-defined]
        print(shtab.complete(parser, shell=str(values)))
        parser.exit()


class _CommandList(HelpFormatter):
    """List the commands below the headings of `GROUPS`."""

    def _format_action(self, action: argparse.Action) -> str:
        text = super()._format_action(action)
        headings = {names[0]: heading for heading, names in GROUPS.items()}
        return f"\n  {headings[action.dest]}:\n{text}" if action.dest in headings else text


def _versions() -> str:
    version = importlib.metadata.version
    return (
        f"{version('selfattn-bio')} (PyTorch {version('torch')}, "
        f"Python {platform.python_version()})"
    )


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="selfattn-bio",
        description="Self-attention for DNA and protein sequences, from FASTA to motifs with "
        "evidence.",
        formatter_class=_CommandList,
    )
    parser.add_argument("--version", action="version", version=_versions())
    parser.add_argument(
        "--print-completion",
        action=_PrintCompletion,
        choices=("bash", "zsh", "tcsh"),
        help="print the completion of commands and options for a shell",
    )
    commands = parser.add_subparsers(
        title="commands", dest="command", required=True, metavar="COMMAND"
    )
    for name in COMMANDS:
        module = importlib.import_module(f"selfattn_bio.cli.{name}")
        help_text = (module.__doc__ or "").strip()
        command = commands.add_parser(
            name,
            help=help_text.splitlines()[0],
            description=help_text,
            formatter_class=HelpFormatter,
        )
        verbosity = command.add_mutually_exclusive_group()
        verbosity.add_argument(
            "--quiet", action="store_true", help="print only warnings and errors"
        )
        verbosity.add_argument(
            "--json",
            action="store_true",
            help="print each line, including errors, as a JSON object",
        )
        verbosity.add_argument(
            "--verbose",
            action="store_true",
            help="also print versions and options, and the traceback of an error",
        )
        command.set_defaults(run=module.run, allow_module=[])
        module.add_arguments(command)
    return parser


if __name__ == "__main__":
    sys.exit(main())
