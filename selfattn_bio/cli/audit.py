"""Compare the test records with all records that the model learns from, and fail above a limit.

Each test record is searched for in the training records, in corpora used for pretraining, and in
the data that parent models saw. The audit reports its nearest neighbour by shared k-mers, equal
sequences on either strand, overlapping intervals, and shared groups and species. It also compares
labels, GC content and length between the splits.

Writes audit.tsv with one row per test record, and the counts to audit.json. If a limit of
[audit] is exceeded, both files are written, and the command ends with a one-line error and exit
code 3. docs/leakage.md explains the results.

example: selfattn-bio audit mine
"""

from __future__ import annotations

import argparse

from selfattn_bio.cli.common import add_study


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio audit`."""
    add_study(parser, "[audit]")
    parser.add_argument(
        "--pretraining",
        nargs="+",
        default=[],
        metavar="DIR",
        help="corpus folders that a parent model was pretrained on",
    )


def run(arguments: argparse.Namespace) -> None:
    """Compare the test records with all others, write the results, and fail above a limit."""
    from selfattn_bio.study import Study

    Study(arguments.study).audit(arguments.pretraining).check_limits()
