"""What commands share: options, reading their inputs, and the format of help and messages."""

from __future__ import annotations

import argparse
import textwrap


def add_study(parser: argparse.ArgumentParser, uses: str = "", *, parts: str = "") -> None:
    """Add the argument TASK; its help names the sections in use, and endings for parts."""
    more = f". Add {parts} for a part of it" if parts else ""
    parser.add_argument(
        "study",
        metavar="TASK",
        help="name of a task (results in results/NAME), run file (results next to it, in a folder "
        "of its name), or folder with run.toml and results"
        f"{uses and f' (uses {uses})'}{more}",
    )


def add_allow_module(parser: argparse.ArgumentParser) -> None:
    """Add --allow-module, which `main` handles."""
    parser.add_argument(
        "--allow-module",
        action="append",
        default=[],
        metavar="NAME",
        help="run the code of this module if the run file or model names it, such as "
        "my_model:build; may be repeated",
    )


def add_models(parser: argparse.ArgumentParser) -> None:
    """Add --model, one or several; text, because a path would drop the ./ of ./promoter."""
    parser.add_argument(
        "--model",
        required=True,
        nargs="+",
        metavar="DIR",
        help="model folder, or the name of a model that ships; several are averaged",
    )
    add_allow_module(parser)


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Add --threads."""
    parser.add_argument(
        "--threads",
        type=int,
        default=8,
        metavar="N",
        help="upper limit of CPU threads (default: %(default)s, and at most the number of cores); "
        "`train` chooses the number by timing a batch and records it in provenance.json, and 1 is "
        "exact",
    )


class HelpFormatter(argparse.HelpFormatter):
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
