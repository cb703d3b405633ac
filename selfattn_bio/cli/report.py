"""Write the report of a task: one self-contained HTML page, and its plots as files.

Reads the results of the other steps, and writes report.html and plots/*.svg and *.png to the
results folder.

example: selfattn-bio report mine
"""

from __future__ import annotations

import argparse

from selfattn_bio.cli.common import add_study


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio report`."""
    add_study(parser)


def run(arguments: argparse.Namespace) -> None:
    """Draw the plots and write report.html from the files of a results folder."""
    from selfattn_bio.study import Study

    Study(arguments.study).write_report()
