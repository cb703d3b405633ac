"""Predict the memory and time of a training, and refuse one that cannot fit.

Runs a few steps of growing size in a separate process, for about ten to forty seconds, with this
machine's threads, kernels and free memory. The time is for all training.max_steps on an otherwise
idle machine. The time with the earliest stop by training.patience, and with the current load, is
also printed. If the training does not fit, the message suggests settings that do, and the exit code
is 1.

The parts of a stack are fitted to a sample of the corpus to estimate their time for all records.
The total covers all trainings of the run file, one after the other: each seed of the model and of
its variants. Networks that differ are measured one by one. The total does not include evaluation,
attribution and motifs.

example: selfattn-bio plan --run-file mine.toml --length 8192
"""

from __future__ import annotations

import argparse
from pathlib import Path

from selfattn_bio.cli.common import add_model_options, add_task, add_threads


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio plan`."""
    add_task(parser, "")
    parser.add_argument(
        "--variant",
        metavar="NAME",
        help="plan only this variant of the run file (a baseline or control)",
    )
    lengths = parser.add_mutually_exclusive_group(required=True)
    lengths.add_argument(
        "--corpus",
        type=Path,
        metavar="DIR",
        help="corpus folder, from `ingest`; the lengths of its records are used",
    )
    lengths.add_argument(
        "--length",
        type=int,
        metavar="N",
        help="length of all records in bp or residues, instead of a corpus",
    )
    add_threads(parser)
    add_model_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Measure the model and its variants, print memory and time, and refuse what does not fit."""
    from selfattn_bio.api.planning import plan
    from selfattn_bio.config import read_run_file
    from selfattn_bio.data.corpus import Corpus

    plan(
        read_run_file(arguments.run_file),
        Corpus.open(arguments.corpus) if arguments.corpus else arguments.length,
        variant=arguments.variant,
        threads=arguments.threads,
    )
