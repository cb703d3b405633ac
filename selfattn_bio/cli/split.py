"""Split a corpus into train, valid and test without leakage.

Reads [split] of the run file and writes a table (id, split, reason) with one row per record. No
sequence is in two splits, on either strand. The kinds group, species, cluster and random keep
copies together. The kinds chromosome, region, column and files remove copies of test records from
train and valid, and copies of valid records from train. A test set that came with the data stays
complete. Counts are printed, and the table has the reason for each removed record. `audit` reports
the similarity that is left between the splits.

example: selfattn-bio split --run-file mine.toml --corpus mine/corpus --output mine/split.tsv
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio split`."""
    parser.add_argument(
        "--run-file",
        required=True,
        type=Path,
        metavar="FILE",
        help="run file of the task (uses [split])",
    )
    parser.add_argument(
        "--corpus", required=True, type=Path, metavar="DIR", help="corpus folder, from `ingest`"
    )
    parser.add_argument("--output", required=True, type=Path, metavar="FILE", help="TSV to write")


def run(arguments: argparse.Namespace) -> None:
    """Split the corpus as the run file says, and write the table."""
    from selfattn_bio.api.data import split
    from selfattn_bio.config import read_run_file
    from selfattn_bio.data.corpus import Corpus

    task, corpus = read_run_file(arguments.run_file), Corpus.open(arguments.corpus)
    split(task, corpus, arguments.output, say=lambda line: print(f"split: {line}", flush=True))
