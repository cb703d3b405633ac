"""Run the promoter task that ships with the package, in about 10 minutes on two cores.

Copies the run file and the fly promoters (2 MB) into workflows/tasks/ and data/ of this folder,
unless they are there, and runs train_promoter, from FASTA to a report. Continue an interrupted run
with `selfattn-bio run train_promoter`, which accepts all options of Snakemake.

example: selfattn-bio demo --cores 2
"""

from __future__ import annotations

import argparse

from selfattn_bio.study.workflow import copy_task, run_workflow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio demo`."""
    parser.add_argument("--cores", type=int, metavar="N", help="CPU cores to use (default: all)")
    parser.add_argument(
        "--dry-run", action="store_true", help="show what would be done, and write nothing"
    )


def run(arguments: argparse.Namespace) -> int:
    """Copy missing files and run the task."""
    if not arguments.dry_run:
        copy_task("promoter")
    cores = ["--cores", str(arguments.cores)] if arguments.cores else []
    return run_workflow(
        ["train_promoter", *cores, *["--dry-run"] * arguments.dry_run],
        quiet=arguments.quiet,
        merged=arguments.json,
    )
