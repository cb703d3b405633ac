"""Declare commands and their options, parse them, and format their help."""

from __future__ import annotations

import argparse
import difflib
import inspect
import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, NoReturn

Option = Callable[[argparse._ActionsContainer], object]  # adds itself to a parser or a group
Run = Callable[[argparse.Namespace], int | None]


@dataclass(frozen=True)
class Command:
    """A command of `selfattn-bio`.

    Attributes
    ----------
    name, help
        Name, and the text of `--help`, which ends with an example.
    options
        Its options and arguments in the order of `--help`.
    run
        The function that does the work.
    """

    name: str
    help: str
    options: tuple[Option, ...]
    run: Run


def command(*options: Option) -> Callable[[Run], Command]:
    """Declare a function as the command of its name, with its docstring as help."""
    return lambda run: Command(run.__name__, inspect.cleandoc(run.__doc__ or ""), options, run)


def option(*names: str, **settings: Any) -> Option:
    """Declare an option or argument; parameters are those of `add_argument`."""
    return lambda parser: parser.add_argument(*names, **settings)


def flag(name: str, help: str) -> Option:
    """Declare an option without a value."""
    return option(name, action="store_true", help=help)


def one_of(*options: Option) -> Option:
    """Declare options that exclude each other; one must be given."""

    def add(parser: argparse._ActionsContainer) -> None:
        group = parser.add_mutually_exclusive_group(required=True)
        for each in options:
            each(group)

    return add


def below(heading: str, *options: Option) -> Option:
    """Declare options that `--help` lists below a heading."""

    def add(parser: argparse._ActionsContainer) -> None:
        group = parser.add_argument_group(heading)
        for each in options:
            each(group)

    return add


def task(uses: str = "", *, parts: str = "") -> Option:
    """Declare the argument TASK; its help names the sections in use, and endings for parts."""
    more = f". Add {parts} for a part of it" if parts else ""
    return option(
        "study",
        metavar="TASK",
        help="name of a task (results in results/NAME), run file (results next to it, in a folder "
        "of its name), or folder with run.toml and results"
        f"{uses and f' (uses {uses})'}{more}",
    )


def path(name: str, help: str, metavar: str = "FILE", **settings: Any) -> Option:
    """Declare an option for a path, or several with `nargs="+"`."""
    return option(name, metavar=metavar, help=help, **({"type": Path} | settings))


def output(help: str, metavar: str = "FILE") -> Option:
    """Declare --output."""
    return path("--output", help, metavar, required=True, type=named_path)


def alphabet(help: str) -> Option:
    """Declare --alphabet."""
    return option("--alphabet", choices=("dna", "rna", "ssdna", "protein"), default="", help=help)


def named_path(text: str) -> Path:
    """Return the path of an output; refuse one that does not end with a name."""
    if os.path.basename(text) in ("", ".", ".."):
        raise argparse.ArgumentTypeError(f"{text!r} does not end with a file name")
    return Path(text)


# of every command
SHARED = {
    "--quiet": "print only warnings and errors",
    "--json": "print each line, including errors, as a JSON object",
    "--verbose": "also print versions and options, and the traceback of an error",
}
# `main` handles it
ALLOW_MODULE = option(
    "--allow-module",
    action="append",
    default=[],
    metavar="NAME",
    help="run the code of this module if the run file or model names it, such as my_model:build; "
    "may be repeated",
)
# text, because a path would drop the ./ of ./promoter
ANY_MODEL = "model folder, or the name of a model that ships"
MODEL = path("--model", ANY_MODEL, "DIR", required=True, type=str)
MODELS = path(
    "--model", f"{ANY_MODEL}; several are averaged", "DIR", required=True, type=str, nargs="+"
)


class CommandParser(argparse.ArgumentParser):
    """Parse the words of a command.

    An option with several values takes all words that follow it. If none is left for TASK, it is
    the last of them, as in `explain --target heart mine`. Options of every command may be before or
    after the name of the command.
    """

    _may_retry = False
    _words: Sequence[str] = ()

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse known arguments, and return the others."""
        words = list(sys.argv[1:] if args is None else args)
        self._words = words
        follows = len(words) > 2 and not any(word.startswith("-") for word in words[-2:])
        self._may_retry = follows and any(not each.option_strings for each in self._actions)
        try:
            found, unknown = super().parse_known_args(words, namespace)
        except _MissingArgumentError:
            self._may_retry = False
            return super().parse_known_args([words[-1], *words[:-1]], namespace)
        if shared := [word for word in unknown if word in self._option_string_actions]:
            found, unknown = super().parse_known_args([*shared, *words], namespace)
        return found, [word for word in unknown if word not in shared]

    def error(self, message: str) -> NoReturn:
        """Print the usage and the error, and exit with code 2."""
        if self._may_retry and message.startswith("the following arguments are required"):
            raise _MissingArgumentError
        if message.startswith("ambiguous option"):  # the usage would hide the few names
            names = message.replace(" could match", "; did you mean")
            self.exit(2, f"{self.prog}: error: {names}?\n")
        super().error(message + self._suggestion(message))

    def _suggestion(self, message: str) -> str:
        """Suggest the command or option that a word of a message resembles; empty if none."""
        known = [
            name for each in self._actions for name in (*each.option_strings, *(each.choices or ()))
        ] + [*SHARED]
        for word in self._words:
            name = word.partition("=")[0]
            near = difflib.get_close_matches(name, {*known} - {"--help"}, n=1)
            if not near or any(each.startswith(name) for each in known):
                continue
            is_option = word.startswith("--")
            if word in message and (is_option or word == self._words[0]):
                return f". Did you mean {near[0]}?"
            # argparse names a missing option before an unknown one
            if is_option and "required" in message:
                return f", and {name} is unknown. Did you mean {near[0]}?"
        return ""


class _MissingArgumentError(Exception):
    """An argument that may be among the values of the last option."""


class HelpFormatter(argparse.HelpFormatter):
    """Fill paragraphs to the width of the terminal; keep indented lines, lists and the example."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        def is_kept(line: str) -> bool:
            return not line or line.startswith((" ", "- ", "example: "))

        lines: list[str] = []
        for are_kept, group in groupby(text.splitlines(), is_kept):
            block = list(group)
            lines += block if are_kept else self._split_lines(" ".join(block), width)
        return "\n".join(lines)

    def _split_lines(self, text: str, width: int) -> list[str]:
        # Options such as --per-token stay on one line
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)
