"""Run the task that ships, promoters of the fly, in this folder: from FASTA to a report, in about 25 minutes on two cores.

Puts its run file and sequences (2 MB) into workflows/tasks/ and data/ of this folder, where they are not there, and runs train_promoter.
Later `selfattn-bio run train_promoter` goes on with it, and takes all options of Snakemake.

example: selfattn-bio demo --cores 2
"""

from __future__ import annotations

import argparse

from selfattn_bio.cli.run import bring, snakemake


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `selfattn-bio demo`."""
    parser.add_argument("--cores", type=int, metavar="N", help="CPU cores to use (default: all)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done")


def run(arguments: argparse.Namespace) -> int:
    """Copy what is missing, run the task."""
    bring("promoter")
    cores = ["--cores", str(arguments.cores)] if arguments.cores else []
    return snakemake(["train_promoter", *cores, *["--dry-run"] * arguments.dry_run], arguments)
