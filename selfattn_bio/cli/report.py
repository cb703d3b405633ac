"""Write the report of a task: one self-contained HTML page, and its plots as files.

Reads the results folder of the other commands: corpus/, split.tsv, model/, metrics.json,
predictions/, and after interpretation motifs.*, seqlets.bed, discovery_seqlets.bed, attribution/
and variants/*/motifs.tsv. Writes the page, and plots/*.svg and *.png next to it.

example: selfattn-bio report --run-file mine.toml --results mine --output mine/report.html
"""

from __future__ import annotations

import argparse
from pathlib import Path

from selfattn_bio.cli.common import add_task
from selfattn_bio.log import LOG


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio report`."""
    add_task(parser, "its title and variants")
    parser.add_argument(
        "--results", required=True, type=Path, metavar="DIR", help="the task's results folder"
    )
    parser.add_argument(
        "--output",
        required=True,
        type=Path,
        metavar="FILE",
        help="HTML file to write, with plots/ next to it",
    )


def run(arguments: argparse.Namespace) -> None:
    """Draw the plots and write report.html from the files of a results folder."""
    from selfattn_bio.api.report import write_report
    from selfattn_bio.config import read_run_file

    write_report(read_run_file(arguments.run_file), arguments.results, arguments.output)
    LOG.info(str(arguments.output))
