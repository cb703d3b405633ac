"""Run a task of this folder with Snakemake.

The target is `train_NAME` or `sweep_NAME` for workflows/tasks/NAME.toml.

Uses the installed Snakemake with the workflow of the clone, or of the wheel the package was
installed from. Results go to results/NAME/ in the current folder, and the path of the report is
printed at the end. A task that ships (promoter, amp, tss, smoke) is first copied into this folder
with its data if it is not there. A dry run copies nothing.

Write options of this command before the target. Everything after it is passed to Snakemake, for
example --cores 4, --dry-run or --unlock. Without --cores, all cores are used. The exit code is that
of Snakemake.

example: selfattn-bio run train_my_task --cores 4
"""

from __future__ import annotations

import argparse

from selfattn_bio.cli.common import add_allow_module
from selfattn_bio.study.workflow import PROFILES, run_workflow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio run`."""
    parser.add_argument(
        "--profile",
        choices=PROFILES,
        default=PROFILES[0],
        help="where the workflow runs, see docs/clusters.md (default: this machine)",
    )
    add_allow_module(parser)
    parser.add_argument("target", help="train_NAME or sweep_NAME")
    parser.add_argument(
        "extra",
        nargs=argparse.REMAINDER,
        metavar="...",
        help="options and more targets for Snakemake",
    )


def run(arguments: argparse.Namespace) -> int:
    """Start Snakemake and wait for it."""
    return run_workflow(
        [arguments.target, *arguments.extra],
        profile=arguments.profile,
        quiet=arguments.quiet,
        merged=arguments.json,
    )
