"""Rank the trained jobs of a run file's [sweep] by their validation metric.

Reads only the history.csv of each job's model folder, so that test records cannot decide. Writes a
table, best first, and prints it.

example: selfattn-bio sweep --run-file mine.toml --results mine --output mine/sweep.tsv
"""

from __future__ import annotations

import argparse
from pathlib import Path

from selfattn_bio.cli.common import add_task
from selfattn_bio.log import LOG


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio sweep`."""
    add_task(parser, "[sweep]")
    parser.add_argument(
        "--results",
        required=True,
        type=Path,
        metavar="DIR",
        help="folder of the task's results, with the jobs' model folders",
    )
    parser.add_argument("--output", required=True, type=Path, metavar="FILE", help="TSV to write")


def run(arguments: argparse.Namespace) -> None:
    """Rank the jobs, write the table, and print it and the best job of each network."""
    from selfattn_bio.api.sweep import rank_jobs
    from selfattn_bio.config import read_run_file

    ranking = rank_jobs(read_run_file(arguments.run_file), arguments.results)
    ranking.save(arguments.output)
    print(ranking.table.to_string(index=False), flush=True)
    for line in ranking.lines:
        LOG.info(line)
    LOG.info(
        f"wrote {arguments.output}. The validation metric of the best of many jobs is "
        "slightly optimistic. The test split was not read"
    )
