"""Split a corpus into train, valid and test without leakage.

Reads [split] of the run file and writes a table (id, split, reason) with one row per record. No sequence stands on two sides, on either
strand: a split by chromosome or region drops the twin, the other kinds (group, species, cluster, random) keep twins together. `cluster`
keeps together what shares k-mers, too; `audit` says what is left between the sides.

example: selfattn-bio split --run-file mine.toml --corpus mine/corpus --output mine/split.tsv
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from selfattn_bio.errors import CorpusError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from selfattn_bio.config import ClusterSplit, Split
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
    from selfattn_bio.config import ChromosomeSplit, ClusterSplit, ColumnSplit, FilesSplit, GroupSplit, RegionSplit, SpeciesSplit, regions
    from selfattn_bio.sequence import splits

    keys = splits.strand_keys(corpus.each(range(len(corpus))), corpus.alphabet)
    if isinstance(rule, ChromosomeSplit):
        return splits.split_by_chromosome(corpus.records, keys, rule.valid, rule.test)
    if isinstance(rule, RegionSplit):
        return splits.split_by_region(corpus.records, keys, regions(rule.valid), regions(rule.test))
    if isinstance(rule, ColumnSplit | FilesSplit):
        values = corpus.column(rule.column)
        return splits.split_as_given(corpus.records, keys, values, rule.splits, rule.valid_fraction, rule.seed)
    dealt = rule.valid_fraction, rule.test_fraction, rule.seed
    if isinstance(rule, ClusterSplit):
        return splits.split_by_cluster(corpus.records, keys, _clusters(corpus, rule), *dealt, method=rule.method)
    if isinstance(rule, GroupSplit | SpeciesSplit):
        column = rule.column if isinstance(rule, GroupSplit) else "species"
        return splits.split_by_group(_with(corpus, column), keys, *dealt, column=column)
    return splits.split_at_random(corpus.records, keys, *dealt)


def _with(corpus: Corpus, column: str) -> pd.DataFrame:
    """The records with a column of theirs, or of the targets."""
    if column in corpus.records:
        return corpus.records
    without = column == "species" and column not in corpus.summary.get("targets", {}).get("columns", ())
    return corpus.records.assign(**{column: None} if without else corpus.targets([column]))


def _clusters(corpus: Corpus, rule: ClusterSplit) -> NDArray[np.int64]:
    """The cluster of each record, and a line that says how they were found and how large they are."""
    import numpy as np

    from selfattn_bio.sequence.clusters import SIMILARITY, cluster_records
    from selfattn_bio.sequence.mmseqs import mmseqs_clusters

    letters = [corpus.letters(i) for i in range(len(corpus))]
    similarity = rule.similarity or SIMILARITY[corpus.alphabet.name]
    if rule.method == "mmseqs2":
        clusters, by = mmseqs_clusters(letters, corpus.alphabet, similarity)
    else:
        clusters, by = cluster_records(letters, corpus.alphabet, similarity, rule.k), "shared k-mers"
    sizes = np.bincount(clusters)
    print(f"split: {len(sizes)} clusters by {by} at similarity {similarity:g}, the largest of {sizes.max()} records", flush=True)
    return clusters
