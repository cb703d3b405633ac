"""Compare the test records with all records that the model learns from, and fail above a limit.

Each test record is searched for in the training records, in corpora used for pretraining, and in
the data that parent models saw. The audit reports its nearest neighbour by shared k-mers, equal
sequences on either strand, overlapping intervals, and shared groups and species. It also compares
labels, GC content and length between the splits.

Writes a table with one row per test record, and the counts as JSON next to it. If a limit of
[audit] is exceeded, both files are written, and the command ends with a one-line error and exit
code 3. docs/leakage.md explains the results.

example: selfattn-bio audit --run-file mine.toml --corpus mine/corpus --split mine/split.tsv \
--output mine/audit.tsv
"""

from __future__ import annotations

import argparse
from pathlib import Path

from selfattn_bio.cli.common import add_task, task_and_corpus
from selfattn_bio.log import LOG


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio audit`."""
    add_task(parser, "[audit]", "corpus", "split")
    parser.add_argument(
        "--model",
        nargs="+",
        default=[],
        type=Path,
        metavar="DIR",
        help="model folders; neither their training data nor those of their parents may contain "
        "test records (default: each transfer.parent)",
    )
    parser.add_argument(
        "--pretraining",
        nargs="+",
        default=[],
        type=Path,
        metavar="DIR",
        help="corpus folders that a parent model was pretrained on",
    )
    parser.add_argument(
        "--output",
        required=True,
        type=Path,
        metavar="FILE",
        help="TSV to write, with the counts next to it as .json",
    )


def run(arguments: argparse.Namespace) -> None:
    """Compare the test records with all others, write the results, and fail above a limit."""
    from selfattn_bio.api.leakage import audit

    task, corpus = task_and_corpus(arguments)
    leakage = audit(
        task,
        corpus,
        arguments.split,
        models=arguments.model or None,
        pretraining=arguments.pretraining,
    )
    leakage.save(arguments.output)
    for line in leakage.lines:
        LOG.info(line)
    for warning in leakage.summary["warnings"]:
        LOG.warning(warning)
    LOG.info(f"wrote {arguments.output}")
    leakage.check_limits()
