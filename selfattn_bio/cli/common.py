"""What commands share: options, reading their inputs, and the format of help and messages."""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path

from selfattn_bio.errors import SelfAttnBioError


def add_study(parser: argparse.ArgumentParser, uses: str = "", *, part: bool = False) -> None:
    """Add the argument TASK, whose help names the sections in use.

    With `part`, it may also be a variant, a member or a job of a sweep.
    """
    more = ". Add /variants/NAME, /members/N or /sweep/JOB for a part of it" if part else ""
    parser.add_argument(
        "study",
        metavar="TASK",
        help="name of a task, path of a run file, or folder with run.toml"
        f"{uses and f' (uses {uses})'}{more}",
    )


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add --device and --allow-module, which `main` handles."""
    parser.add_argument(
        "--device",
        metavar="NAME",
        help="cpu, cuda, or a CUDA device such as cuda:1 (default: CUDA if there is a device)",
    )
    add_allow_module(parser)


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
    add_model_options(parser)


def add_sequences(parser: argparse.ArgumentParser, *, several: bool) -> None:
    """Add --fasta, --bed, --genome and --batch-size; several files, or one."""
    inputs, more = parser.add_mutually_exclusive_group(required=True), "+" if several else None
    inputs.add_argument(
        "--fasta",
        type=Path,
        nargs=more,
        metavar="FILE",
        help="sequences: FASTA, or another format that `ingest` accepts",
    )
    inputs.add_argument(
        "--bed",
        type=Path,
        nargs=more,
        metavar="FILE",
        help=f"BED file{'s' * several} of intervals in --genome",
    )
    parser.add_argument(
        "--genome",
        type=Path,
        metavar="FILE",
        help="genome of --bed, plain or bgzip; minus strands are reverse-complemented",
    )
    parser.add_argument(
        "--batch-size",
        type=int,
        metavar="N",
        help="sequences per batch (default: 32,768 bases or residues in total)",
    )


def check_genome(arguments: argparse.Namespace) -> None:
    """Refuse --bed without --genome, and --genome without --bed."""
    if bool(arguments.bed) != bool(arguments.genome):
        raise SelfAttnBioError(
            "--bed needs --genome" if arguments.bed else "--genome is only used with --bed"
        )


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
