"""Split a corpus into train, valid and test without leakage.

Reads [split] of the run file and writes a table (id, split, reason) with one row per record. No sequence stands on two sides, on either
strand: a split by chromosome drops the twin, the other kinds keep twins together.

example: selfattn-bio split --run-file mine.toml --corpus mine/corpus --output mine/split.tsv
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from selfattn_bio.errors import CorpusError

if TYPE_CHECKING:
    import pandas as pd

    from selfattn_bio.config import Split
    from selfattn_bio.data.corpus import Corpus


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `selfattn-bio split`."""
    parser.add_argument("--run-file", required=True, type=Path, metavar="FILE", help="TOML of the task; its [split] is used")
    parser.add_argument("--corpus", required=True, type=Path, metavar="DIR", help="corpus folder, from `ingest`")
    parser.add_argument("--output", required=True, type=Path, metavar="FILE", help="TSV to write")


def run(arguments: argparse.Namespace) -> None:
    """Split the corpus as the run file says and write the table."""
    from selfattn_bio.config import read_run_file
    from selfattn_bio.data.corpus import Corpus
    from selfattn_bio.files import whole_file
    from selfattn_bio.sequence.splits import describe

    rule = read_run_file(arguments.run_file).split
    corpus = Corpus.open(arguments.corpus)
    try:
        table = _split(corpus, rule)
    except CorpusError as error:
        raise CorpusError(error.message, place=str(arguments.corpus), cure=error.cure) from error
    with whole_file(arguments.output) as path:
        table.to_csv(path, sep="\t", index=False, lineterminator="\n")
    for line in describe(table, corpus.records["label"]):
        print(f"split: {line}", flush=True)


def _split(corpus: Corpus, rule: Split) -> pd.DataFrame:
    from selfattn_bio.config import ChromosomeSplit, GroupSplit
    from selfattn_bio.sequence.splits import split_at_random, split_by_chromosome, split_by_group, strand_keys

    keys = strand_keys((corpus.letters(i) for i in range(len(corpus))), corpus.alphabet)
    if isinstance(rule, ChromosomeSplit):
        return split_by_chromosome(corpus.records, keys, rule.valid, rule.test)
    deal = split_by_group if isinstance(rule, GroupSplit) else split_at_random
    return deal(corpus.records, keys, rule.valid_fraction, rule.test_fraction, rule.seed)
