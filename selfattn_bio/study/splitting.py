"""Assign the records of a corpus to train, valid and test, as [split] of a run file says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from selfattn_bio.arrays import Integers
from selfattn_bio.config import (
    ChromosomeSplit,
    ClusterSplit,
    ColumnSplit,
    FilesSplit,
    GroupSplit,
    RegionSplit,
    RunFile,
    SpeciesSplit,
    place_of,
    regions,
)
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.data.writer import DUPLICATE
from selfattn_bio.display import counted
from selfattn_bio.errors import CorpusError
from selfattn_bio.log import LOG, log_lines
from selfattn_bio.sequence import splits
from selfattn_bio.sequence.split_table import (
    DROPPED,
    NO_VALUE,
    check_splits,
    describe_copies,
    find_copies,
    remove_copies,
    strand_keys,
)
from selfattn_bio.sequence.splits import SplitSampler
from selfattn_bio.split_names import SPLITS


def assign_records(task: RunFile, corpus: Corpus) -> pd.DataFrame:
    """Assign each record to train, valid or test, or drop it.

    Parameters
    ----------
    task
        Run file; [split] has the rule, and [data] `keep_duplicates` may keep copies.
    corpus
        The records.

    Returns
    -------
    Table with id, split (train, valid, test, dropped) and reason, one row per record in order.

    Raises
    ------
    CorpusError
        If the records do not suit the rule, a value to learn is not valid, or a split lacks records
        or one of the labels.
    """
    rule = task.split
    keys = strand_keys(corpus.each(range(len(corpus))), corpus.alphabet)
    if isinstance(rule, ColumnSplit | FilesSplit | GroupSplit):  # copies are equal in both inputs
        partners = map(str.encode, corpus.partner_hashes)
        keys = [key + partner for key, partner in zip(keys, partners, strict=True)]
    if isinstance(rule, ChromosomeSplit):
        table = splits.split_by_chromosome(_with(task, corpus, "chrom"), rule.valid, rule.test)
    elif isinstance(rule, RegionSplit):
        table = splits.split_by_region(corpus.records, regions(rule.valid), regions(rule.test))
    elif isinstance(rule, ColumnSplit | FilesSplit):
        _check_all_copies(corpus)
        table = _as_given(task, rule, corpus, keys)
    else:  # the random kinds keep copies together
        classes = corpus.targets(task.objective.class_columns)
        sampler = SplitSampler(rule.valid_fraction, rule.test_fraction, rule.seed, classes)
        if isinstance(rule, ClusterSplit):
            clusters = _clusters(corpus, rule)
            table = splits.split_by_cluster(corpus.records, keys, clusters, sampler, rule.method)
        elif isinstance(rule, GroupSplit | SpeciesSplit):
            column = rule.column if isinstance(rule, GroupSplit) else "species"
            table = splits.split_by_group(_with(task, corpus, column), keys, sampler, column=column)
        else:
            table = splits.split_at_random(corpus.records, keys, sampler)
    table = _with_values(task, table, corpus)
    return check_splits(_without_copies(task, table, corpus, keys), corpus.records)


def _with_values(task: RunFile, table: pd.DataFrame, corpus: Corpus) -> pd.DataFrame:
    """Drop the records without a value to learn, which no step can use.

    Raises
    ------
    CorpusError
        If a value is not valid, or the training records do not determine a setting.
    """
    if not (columns := task.objective.target_columns):
        return table
    from selfattn_bio.objectives import objective_of
    from selfattn_bio.objectives.loss import known_rows

    check_splits(table, corpus.records)  # there must be training records
    train = table.index[table["split"] == "train"]
    kept = table.index[table["split"] != DROPPED]
    targets, records, place = corpus.targets(columns), corpus.records, corpus.targets_place
    section = objective_of(task.objective).complete(targets.loc[train], records.loc[train], place)
    known = known_rows(objective_of(section).targets(targets.loc[kept], records.loc[kept], place))
    if number := int((~known).sum()):
        LOG.info(f"removed: {counted(number, 'record')} without a value to learn")
    table.loc[kept[~known], ["split", "reason"]] = DROPPED, NO_VALUE
    return table


def _as_given(
    task: RunFile, rule: ColumnSplit | FilesSplit, corpus: Corpus, keys: list[bytes]
) -> pd.DataFrame:
    """Use the split that came with the data; sample validation records if it names none."""
    place = place_of(task.path, "split", "column") if task.path else ""
    classes = corpus.targets(task.objective.class_columns)
    table = splits.split_as_given(
        corpus.records,
        keys,
        corpus.column(rule.column, place),
        rule.splits,
        SplitSampler(rule.valid_fraction, 0, rule.seed, classes),
    )
    if sampled := int(table["reason"].str.endswith(splits.SAMPLED).sum()):
        LOG.info(
            f"the data have no validation records; {sampled} are {splits.SAMPLED} "
            "([split] valid_fraction)"
        )
    return table


def _without_copies(
    task: RunFile, table: pd.DataFrame, corpus: Corpus, keys: list[bytes]
) -> pd.DataFrame:
    """Remove copies from train and valid unless [data] keeps them, and report their counts.

    A test set that came with the data stays complete.
    """
    columns = list(task.objective.target_columns)
    answers = corpus.targets(columns) if columns else corpus.records[["label"]]
    learnt = "targets" if columns else "label"
    copies = find_copies(table, keys, corpus.records["sha256"] + corpus.partner_hashes, answers)
    if task.data.keep_duplicates:
        reduced: tuple[str, ...] = ()
    elif isinstance(task.split, ColumnSplit | FilesSplit):
        reduced = SPLITS[:2]
    else:
        reduced = SPLITS
    log_lines(describe_copies(copies, reduced, learnt))
    return remove_copies(table, copies, reduced, learnt)


def _check_all_copies(corpus: Corpus) -> None:
    """Refuse a corpus whose copies were dropped before the split: some may be in test."""
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
        CorpusError.fail(message, corpus.path, "Run ingest again with this run file")


def _with(task: RunFile, corpus: Corpus, column: str) -> pd.DataFrame:
    """Return the records with this column of headers or targets; chrom and species may be missing.

    Records without targets, which are dropped later, need no value.
    """
    is_target = column in corpus.summary.get("targets", {}).get("columns", ())
    may_lack = column in ("chrom", "species") and not is_target
    values = corpus.records.get(column) if may_lack else corpus.column(column)
    records = corpus.records.assign(**{column: values})
    if columns := task.objective.target_columns:
        has_no_target = corpus.targets(columns).isna().all(axis=1)
        records[column] = records[column].mask(has_no_target, records[column].fillna(NO_VALUE))
    return records


def _clusters(corpus: Corpus, rule: ClusterSplit) -> Integers:
    """Return the cluster of each record, and report the method, the sizes and records alone."""
    from selfattn_bio.sequence.clusters import SIMILARITY, cluster_records, mmseqs_clusters

    letters = [corpus.letters(i) for i in range(len(corpus))]
    similarity = rule.similarity or SIMILARITY[corpus.alphabet.family]
    if rule.method == "mmseqs2":
        clusters, by = mmseqs_clusters(letters, corpus.alphabet, similarity)
    else:
        clusters = cluster_records(letters, corpus.alphabet, similarity, rule.k)
        by = "shared k-mers"
    joined = ""
    if rule.column:
        joined = f", {clusters.max() + 1:,} before they were joined by column {rule.column!r}"
        values = corpus.column(rule.column)
        clusters = splits.bundles_of(corpus.records, clusters, values)
        if number := int(values.isna().sum()):
            lacking = counted(number, "record")
            joined = f"{joined} ({lacking} without one, kept apart by similarity alone)"
    sizes = np.bincount(clusters)
    alone = np.count_nonzero(sizes == 1)
    LOG.info(
        f"{counted(len(sizes), 'cluster')} by {by} at similarity {similarity:g}{joined}; the "
        f"largest has {counted(sizes.max(), 'record')}, and {alone:,} have only one"
    )
    if rule.method == "kmers" and corpus.alphabet.name == "protein" and 2 * alone > len(letters):
        LOG.warning(
            f"{alone:,} of {len(letters):,} records are alone in their clusters, so this is nearly "
            "a random split: related proteins below about 85 % identity may be in train and test. "
            'Give a column of families (column = "NAME" in [split]), or set method = "mmseqs2"'
        )
    return clusters


def record_units(
    task: RunFile, corpus: Corpus, split: Path, block: int | None = None
) -> tuple[np.ndarray, str]:
    """Return a key for each record of the corpus, and what records with equal keys are.

    These are the clusters, groups or species of the split, or blocks of a chromosome if records
    have coordinates, of `block` bp or of the length in the run file. Windows of a record always
    belong together.
    """
    records, kind = corpus.records, task.split.kind
    names = {"cluster": "clusters", "group": "groups", "species": "species"}
    if kind in names:  # the reasons say which
        table = pd.read_csv(split, sep="\t", dtype=str, keep_default_na=False)
        return table["reason"].to_numpy(), names[kind]
    keys, block = -1 - np.arange(len(records)), block or block_of(task)
    located = (records["chrom"].notna() & records["start"].notna()).to_numpy()
    keys[located] = blocks_of(records[located], block)
    return keys, f"blocks of {block:,} bp" if located.any() else "records"


def block_of(task: RunFile) -> int:
    """Return the length in bp of the blocks of a chromosome whose records are one unit."""
    return task.evaluation.block or task.objective.block


def blocks_of(table: pd.DataFrame, block: int) -> Integers:
    """Number the blocks of chromosomes and return that of each row of chrom and start, (n,).

    Blocks are `block` bp long. A record or bin belongs to the block in which it begins.
    """
    return table.groupby(["chrom", table["start"] // block]).ngroup().to_numpy().astype(np.int64)
