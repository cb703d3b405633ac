"""Rank the trained jobs of a run file's [sweep] by their validation metric.

Reads only the history.csv of each job's model folder, so that test records cannot decide. Writes a
table, best first, and prints it.

example: selfattn-bio sweep --run-file mine.toml --results mine --output mine/sweep.tsv
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio sweep`."""
    parser.add_argument(
        "--run-file",
        required=True,
        type=Path,
        metavar="FILE",
        help="run file of the task (uses [sweep])",
    )
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
    from selfattn_bio.config import read_run_file
    from selfattn_bio.errors import RunFileError
    from selfattn_bio.evaluation.measures import MAIN
    from selfattn_bio.evaluation.ranking import rank
    from selfattn_bio.files import whole_file

    jobs = read_run_file(arguments.run_file).jobs()
    if not jobs:
        raise RunFileError("the run file has no [sweep]", place=str(arguments.run_file))
    table = rank(jobs, arguments.results)
    with whole_file(arguments.output) as path:
        table.to_csv(path, sep="\t", index=False, float_format="%.6g", lineterminator="\n")
    print(table.to_string(index=False), flush=True)
    metric = f"valid_{MAIN[jobs[0].run.objective.kind][0]}"
    for of, rows in table.groupby("of", sort=False):
        best = rows.iloc[0]
        settings = ", ".join(f"{key} = {best[key]}" for key in jobs[0].settings)
        print(
            f"sweep: best of {len(rows)} jobs of {of}: {metric} {best[metric]:.4f} with {settings}"
        )
    print(
        f"sweep: wrote {arguments.output}. The validation metric of the best of many jobs is "
        "slightly optimistic. The test split was not read"
    )
