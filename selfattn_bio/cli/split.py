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
from typing import TYPE_CHECKING

from selfattn_bio.errors import CorpusError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from selfattn_bio.config import ClusterSplit, RunFile
    from selfattn_bio.data.corpus import Corpus


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
    from selfattn_bio.config import read_run_file
    from selfattn_bio.data.corpus import Corpus
    from selfattn_bio.files import whole_file
    from selfattn_bio.sequence.splits import describe

    run_file = read_run_file(arguments.run_file)
    corpus = Corpus.open(arguments.corpus)
    try:
        table = _split(corpus, run_file, arguments.run_file)
    except CorpusError as error:
        raise CorpusError(
            error.message, place=error.place or str(arguments.corpus), hint=error.hint
        ) from error
    with whole_file(arguments.output) as path:
        table.to_csv(path, sep="\t", index=False, lineterminator="\n")
    for line in describe(table, corpus.records["label"]):
        print(f"split: {line}", flush=True)


def _split(corpus: Corpus, run_file: RunFile, path: Path) -> pd.DataFrame:
    from selfattn_bio.config import (
        ChromosomeSplit,
        ClusterSplit,
        ColumnSplit,
        FilesSplit,
        GroupSplit,
        RegionSplit,
        SpeciesSplit,
        place_of,
        regions,
    )
    from selfattn_bio.sequence import splits

    rule = run_file.split
    keys = splits.strand_keys(corpus.each(range(len(corpus))), corpus.alphabet)
    if isinstance(rule, ChromosomeSplit):
        return _without_copies(
            splits.split_by_chromosome(corpus.records, rule.valid, rule.test),
            keys,
            corpus,
            run_file,
        )
    if isinstance(rule, RegionSplit):
        table = splits.split_by_region(corpus.records, regions(rule.valid), regions(rule.test))
        return _without_copies(table, keys, corpus, run_file)
    if isinstance(rule, ColumnSplit | FilesSplit):
        _check_all_copies(corpus)
        if corpus.partner:  # records are copies only if both inputs are
            keys = [
                key + partner.encode()
                for key, partner in zip(keys, corpus.partner_hashes, strict=True)
            ]
        table = splits.split_as_given(
            corpus.records,
            keys,
            corpus.column(rule.column, place_of(path, "split", "column")),
            rule.splits,
            rule.valid_fraction,
            rule.seed,
        )
        if sampled := int(table["reason"].str.endswith(splits.SAMPLED).sum()):
            print(
                f"split: the data have no validation records; {sampled} are {splits.SAMPLED} "
                "([split] valid_fraction)",
                flush=True,
            )
        return _without_copies(table, keys, corpus, run_file)
    dealt = rule.valid_fraction, rule.test_fraction, rule.seed
    if isinstance(rule, ClusterSplit):
        return splits.split_by_cluster(
            corpus.records, keys, _clusters(corpus, rule), *dealt, method=rule.method
        )
    if isinstance(rule, GroupSplit | SpeciesSplit):
        column = rule.column if isinstance(rule, GroupSplit) else "species"
        return splits.split_by_group(_with(corpus, column), keys, *dealt, column=column)
    return splits.split_at_random(corpus.records, keys, *dealt)


def _without_copies(
    table: pd.DataFrame, keys: list[bytes], corpus: Corpus, run_file: RunFile
) -> pd.DataFrame:
    """Remove copies from train and valid unless [data] keeps them, and print their counts.

    A test set that came with the data stays complete.
    """
    from selfattn_bio.config import ColumnSplit, FilesSplit
    from selfattn_bio.sequence.splits import (
        SPLITS,
        check_splits,
        describe_copies,
        find_copies,
        remove_copies,
    )

    columns = list(run_file.objective.target_columns)
    answers = corpus.targets(columns) if columns else corpus.records[["label"]]
    learnt = "targets" if columns else "label"
    copies = find_copies(table, keys, corpus.records["sha256"] + corpus.partner_hashes, answers)
    reduced = (
        ()
        if run_file.data.keep_duplicates
        else SPLITS[:2]
        if isinstance(run_file.split, ColumnSplit | FilesSplit)
        else SPLITS
    )
    for line in describe_copies(copies, reduced, learnt):
        print(f"split: {line}", flush=True)
    return check_splits(remove_copies(table, copies, reduced, learnt), corpus.records)


def _check_all_copies(corpus: Corpus) -> None:
    """Refuse a corpus whose copies were dropped before the split: some may be in test."""
    from selfattn_bio.data.writer import DUPLICATE

    dropped = sum(
        count
        for reason, count in corpus.summary["dropped"].items()
        if reason.startswith((DUPLICATE, "same sequence"))
    )
    if dropped:
        message = (
            f"{dropped} records with a repeated sequence were dropped by ingest, before the "
            "split was known; some may be in test"
        )
        raise CorpusError(
            message, place=str(corpus.path), hint="Run ingest with --run-file or --keep-duplicates"
        )


def _with(corpus: Corpus, column: str) -> pd.DataFrame:
    """Return the records with this column of headers or targets; species may be missing."""
    if column in corpus.records:
        return corpus.records
    without = column == "species" and column not in corpus.summary.get("targets", {}).get(
        "columns", ()
    )
    return corpus.records.assign(**{column: None} if without else corpus.targets([column]))


def _clusters(corpus: Corpus, rule: ClusterSplit) -> NDArray[np.int64]:
    """Return the cluster of each record, and print the method and the sizes."""
    import numpy as np

    from selfattn_bio.sequence.clusters import SIMILARITY, cluster_records
    from selfattn_bio.sequence.mmseqs import mmseqs_clusters

    letters = [corpus.letters(i) for i in range(len(corpus))]
    similarity = rule.similarity or SIMILARITY[corpus.alphabet.name]
    if rule.method == "mmseqs2":
        clusters, by = mmseqs_clusters(letters, corpus.alphabet, similarity)
    else:
        clusters, by = (
            cluster_records(letters, corpus.alphabet, similarity, rule.k),
            "shared k-mers",
        )
    sizes = np.bincount(clusters)
    print(
        f"split: {len(sizes)} clusters by {by} at similarity {similarity:g}; the largest has "
        f"{sizes.max()} records",
        flush=True,
    )
    return clusters
