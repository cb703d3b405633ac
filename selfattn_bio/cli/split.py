"""Split a corpus into train, valid and test without leakage.

Reads [split] of the run file and writes a table (id, split, reason) with one row per record. No
sequence is in two splits, on either strand. The kinds group, species, cluster and random keep
copies together. The kinds chromosome, region, column and files remove copies of test records from
train and valid, and copies of valid records from train. A test set that came with the data stays
complete. Counts are printed, and the table has the reason for each removed record. `audit` reports
the similarity that is left between the splits.

example: selfattn-bio split mine
"""

from __future__ import annotations

import argparse

from selfattn_bio.cli.common import add_study


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio split`."""
    add_study(parser, "[split]")


def run(arguments: argparse.Namespace) -> None:
    """Split the corpus as the run file says, and write the table."""
    from selfattn_bio.study import Study

    Study(arguments.study).split()
