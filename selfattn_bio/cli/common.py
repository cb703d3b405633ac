"""What commands share: options, reading their inputs, and the format of help and messages."""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from selfattn_bio.errors import SelfAttnBioError

if TYPE_CHECKING:
    from selfattn_bio.config import RunFile
    from selfattn_bio.data.corpus import Corpus

INPUTS = {
    "model": ("DIR", "model folder, from `train`"),
    "corpus": ("DIR", "corpus folder, from `ingest`"),
    "split": ("FILE", "split table, from `split`"),
}


def add_task(parser: argparse.ArgumentParser, uses: str, *inputs: str) -> None:
    """Add --run-file, whose help names the sections in use, and options of `INPUTS`."""
    parser.add_argument(
        "--run-file",
        required=True,
        type=Path,
        metavar="FILE",
        help=f"run file of the task{uses and f' (uses {uses})'}",
    )
    for name in inputs:
        metavar, help_text = INPUTS[name]
        parser.add_argument(f"--{name}", required=True, type=Path, metavar=metavar, help=help_text)
    if "model" in inputs:
        add_model_options(parser)


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


def task_and_corpus(arguments: argparse.Namespace) -> tuple[RunFile, Corpus]:
    """Read --run-file and open --corpus."""
    from selfattn_bio.config import read_run_file
    from selfattn_bio.data.corpus import Corpus

    return read_run_file(arguments.run_file), Corpus.open(arguments.corpus)


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
