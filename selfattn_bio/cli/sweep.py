"""Rank the trained jobs of a run file's [sweep] by their validation metric.

Reads only the history.csv of each job's model folder, so that test records cannot decide. Writes
sweep.tsv, best first, and prints it.

example: selfattn-bio sweep mine
"""

from __future__ import annotations

import argparse

from selfattn_bio.cli.common import add_study


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio sweep`."""
    add_study(parser, "[sweep]")


def run(arguments: argparse.Namespace) -> None:
    """Rank the jobs, write the table, and print it and the best job of each network."""
    from selfattn_bio.study import Study

    print(Study(arguments.study).rank_jobs().table.to_string(index=False), flush=True)
