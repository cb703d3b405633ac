"""Assign records to train, valid, test or dropped so that no sequence is in two splits.

Sequences that are equal on either strand, groups, clusters and overlapping loci stay together, and
so do a record and its shuffles.
Records are rows of the corpus table; sequences are passed as the keys of `split_table.strand_keys`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.arrays import Integers
from selfattn_bio.display import shortened
from selfattn_bio.errors import CorpusError
from selfattn_bio.sequence.clusters import components
from selfattn_bio.sequence.genome import canonical_name
from selfattn_bio.sequence.intervals import LOCUS, run_numbers
from selfattn_bio.sequence.records import SHUFFLED
from selfattn_bio.sequence.split_table import DROPPED, check_splits
from selfattn_bio.split_names import SPLITS

SAMPLED = "sampled from train"
EMPTY = "(empty)"  # shown in messages for a cell without a value
SHOWN = 10  # unknown values shown in a message


@dataclass(frozen=True)
class SplitSampler:
    """Assign records to the splits at random, with the same proportions for each label or class.

    Parameters
    ----------
    valid, test
        Fractions of the records.
    seed
        Random seed.
    classes
        Columns of classes or labels with the index of the records. Without columns, the column
        label of the records is used.
    """

    valid: float
    test: float
    seed: int
    classes: pd.DataFrame = field(default_factory=pd.DataFrame)

    def assign(self, records: pd.DataFrame, bundles: Integers) -> NDArray[np.str_]:
        """Assign each bundle to the split that lacks most of its records to reach its size.

        The largest are assigned first, in random order for equal sizes. Records of a rare class
        count more. Without classes, a bundle counts for the most common label in it.

        Parameters
        ----------
        bundles
            Number of the bundle of each record, (n,).

        Returns
        -------
        Split of each record, (n,).
        """
        rng, sizes = np.random.default_rng(self.seed), np.bincount(bundles)
        if self.classes.columns.empty:
            labels = records["label"].fillna(-1).to_numpy(dtype=np.float64)
            strata = np.round(np.bincount(bundles, weights=labels) / sizes)
            counts = pd.get_dummies(strata).to_numpy() * sizes[:, None]
        else:
            strata = np.zeros(len(sizes))
            classes = self.classes.loc[records.index].fillna("")  # missing values are a class
            indicators = pd.get_dummies(classes, columns=list(classes))
            counts = indicators.groupby(bundles).sum().to_numpy()
        members = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
        order = np.concatenate([rng.permutation(of) for of in members])
        totals, split_of = counts.sum(axis=0), np.zeros(len(sizes), np.int64)
        lacking = np.outer([1 - self.valid - self.test, self.valid, self.test], totals)
        for bundle in order[np.argsort(-sizes[order], kind="stable")]:
            split_of[bundle] = split = int(np.argmax(lacking @ (counts[bundle] / totals)))
            lacking[split] -= counts[bundle]
        return np.array(SPLITS)[split_of[bundles]]


def split_by_chromosome(
    records: pd.DataFrame, valid: Iterable[str], test: Iterable[str]
) -> pd.DataFrame:
    """Assign the chromosomes in `valid` and `test` to these splits, and all others to train.

    Names may be given with or without "chr". Copies of a sequence in several splits are left to
    `remove_copies`.

    Parameters
    ----------
    records
        Table with columns id and chrom, n rows.

    Returns
    -------
    One row per record, in order: id, split (train, valid, test, dropped), reason.

    Raises
    ------
    CorpusError
        If a record has no chromosome, or a named chromosome has no record.
    """
    chrom = _given(records, "chrom")
    canonical = chrom.map(canonical_name)
    assigned = pd.Series("train", index=records.index)
    for split, names in (("valid", valid), ("test", test)):
        wanted = {canonical_name(name): name for name in names}
        if absent := sorted(wanted[name] for name in wanted.keys() - set(canonical)):
            known = ", ".join(sorted(chrom.unique())[:20])
            message = f"[split] {split}: no records on {', '.join(absent)} (the corpus has {known})"
            raise CorpusError(message)
        assigned[canonical.isin(wanted)] = split
    return pd.DataFrame({"id": records["id"], "split": assigned, "reason": "chrom=" + chrom})


def split_by_region(
    records: pd.DataFrame,
    valid: Iterable[tuple[str, int, int]],
    test: Iterable[tuple[str, int, int]],
) -> pd.DataFrame:
    """Assign records within the regions of `valid` and `test` to these splits, others to train.

    Records that cross the border of a region are dropped: with test chr2R:100-200, a record of 40
    bp that starts at 80 is dropped, and one that starts at 100 is test. Copies of a sequence in
    several splits are left to `remove_copies`.

    Parameters
    ----------
    records
        Table with columns id, chrom, start and end (0-based half-open), n rows.
    valid, test
        Chromosome, start and end of each region, 0-based half-open. Regions must not overlap.

    Returns
    -------
    Table as in `split_by_chromosome`; the reason names the region.

    Raises
    ------
    CorpusError
        If a record has no coordinates, or a region contains no record.
    """
    chrom, start, end = (_given(records, column) for column in LOCUS)
    start, end, chrom = start.astype("int64"), end.astype("int64"), chrom.map(canonical_name)
    assigned = pd.Series("train", index=records.index)
    reasons = pd.Series("in no region", index=records.index)
    for split, regions in (("valid", valid), ("test", test)):
        for name, first, last in regions:
            region = f"{name}:{first}-{last}"
            touches = (chrom == canonical_name(name)) & (start < last) & (end > first)
            within = touches & (start >= first) & (end <= last)
            if not within.any():
                raise CorpusError(f"[split] {split}: no records within {region}")
            assigned = assigned.mask(touches, DROPPED).mask(within, split)
            reasons = reasons.mask(touches, f"crosses the border of {region}").mask(
                within, f"in {region}"
            )
    return pd.DataFrame({"id": records["id"], "split": assigned, "reason": reasons})


def split_by_group(
    records: pd.DataFrame,
    keys: Sequence[bytes],
    sampler: SplitSampler,
    column: str = "group",
) -> pd.DataFrame:
    """Assign complete groups to the splits at random.

    Groups that share a sequence on either strand stay together.

    Parameters
    ----------
    records
        Table with columns id, label and `column`, n rows.
    keys
        Hashes from `strand_keys`, n.
    sampler
        How to assign the groups.
    column
        Name of the column with the groups.

    Returns
    -------
    Table as in `split_by_chromosome`.

    Raises
    ------
    CorpusError
        If a record has no group, or there are too few groups to give each split records of both
        labels.
    """
    groups = _given(records, column)
    assigned = sampler.assign(records, bundles_of(records, keys, groups))
    table = pd.DataFrame({"id": records["id"], "split": assigned, "reason": f"{column}=" + groups})
    hint = (
        f"{column!r} has {groups.nunique()} groups: use a column with more (ten or more), larger "
        "valid_fraction and test_fraction, or another [split] kind"
    )
    return check_splits(table, records, hint)


def split_by_cluster(
    records: pd.DataFrame,
    keys: Sequence[bytes],
    clusters: Integers,
    sampler: SplitSampler,
    method: str = "kmers",
) -> pd.DataFrame:
    """Assign complete clusters to the splits at random.

    Clusters that share a sequence on either strand, or overlap in the genome, stay together.

    Parameters
    ----------
    records
        Table with columns id, label, and chrom, start, end where known, n rows.
    keys
        Hashes from `strand_keys`, n.
    clusters
        Cluster number of each record, shape (n,).
    sampler
        How to assign the clusters.
    method
        How the clusters were made. It is part of the reason unless it is "kmers"
        (`sequence.clusters`).

    Returns
    -------
    Table as in `split_by_chromosome`; the reason names the cluster by its first record and size.

    Raises
    ------
    CorpusError
        If a split lacks one of the labels, for example because a cluster is too large.
    """
    bundles = bundles_of(records, keys, clusters, _loci(records))
    assigned = sampler.assign(records, bundles)
    _, first, sizes = np.unique(bundles, return_index=True, return_counts=True)
    by = "" if method == "kmers" else f" by {method}"
    clustered = zip(records["id"].iloc[first[bundles]], sizes[bundles], strict=True)
    reasons = [f"cluster={name} ({size}){by}" for name, size in clustered]
    table = pd.DataFrame({"id": records["id"], "split": assigned, "reason": reasons})
    hint = "Add records or change [split]"
    if 2 * sizes.max() > len(bundles):
        hint += f". {sizes.max()} of {len(bundles)} records are in one cluster; raise similarity "
        hint += "(see docs/leakage.md)"
    return check_splits(table, records, hint)


def split_at_random(
    records: pd.DataFrame, keys: Sequence[bytes], sampler: SplitSampler
) -> pd.DataFrame:
    """Assign records to the splits at random.

    Records with the same sequence on either strand stay in one split. Parameters and returns are
    those of `split_by_group`, without `column`.

    Raises
    ------
    CorpusError
        If a split lacks one of the labels.
    """
    assigned = sampler.assign(records, bundles_of(records, keys))
    table = pd.DataFrame({"id": records["id"], "split": assigned, "reason": "random"})
    return check_splits(table, records)


def split_as_given(
    records: pd.DataFrame,
    keys: Sequence[bytes],
    values: pd.Series,
    splits: Mapping[str, str],
    sampler: SplitSampler,
) -> pd.DataFrame:
    """Use the split given in the data.

    If no record is in valid, some of train are sampled for it; copies of a sequence stay together.
    Copies in several splits are left to `remove_copies`.

    Parameters
    ----------
    records
        Table with columns id and label, n rows.
    keys
        Hashes from `strand_keys`, n.
    values
        Split of each record as named in the data; the name of the series is the column name.
    splits
        Lower-case value -> train, valid, test or dropped.
    sampler
        How to sample validation records; its fractions are of train.

    Returns
    -------
    Table as in `split_by_chromosome`; the reason is the value.

    Raises
    ------
    CorpusError
        If a value is unknown or missing.
    """
    names = assign_splits(values, splits)
    reasons = f"{values.name}=" + values.astype("str")
    train = names.index[names == "train"]
    if not (names == "valid").any() and len(train):
        of_train = records.loc[train]
        bundles = bundles_of(of_train, [keys[row] for row in train])
        sampled = sampler.assign(of_train, bundles)
        valid = train[sampled == "valid"]
        names[valid] = "valid"
        reasons[valid] += f", {SAMPLED}"
    return pd.DataFrame({"id": records["id"], "split": names, "reason": reasons})


def assign_splits(values: pd.Series, splits: Mapping[str, str]) -> pd.Series:
    """Translate the values of a column to train, valid, test and dropped.

    Raises
    ------
    CorpusError
        If a value is unknown or missing.
    """
    found = values.astype("str").str.strip().str.lower().map(splits)
    if found.isna().any():
        counts = values[found.isna()].astype("object").fillna(EMPTY).value_counts()
        unknown = [f"{value!r} ({count:,} records)" for value, count in counts.items()]
        named = [value for value in counts.index if value != EMPTY]
        hints = []
        if named:
            hints.append(
                f'Map them in [split], e.g. values = {{ test = ["{named[0]}"] }}; dropped = [...] '
                "leaves records out"
            )
        if len(named) < len(counts):
            hints.append("Fill the empty cells of the column, or remove their records")
        raise CorpusError(
            f"unknown values in the split column {values.name!r}: {shortened(unknown, SHOWN)} "
            f"(known: {', '.join(splits)})",
            hint=". ".join(hints),
        )
    return found


def _given(records: pd.DataFrame, column: str) -> pd.Series:
    """Return a column as text; raise if a record has no value."""
    missing = records["id"][records[column].isna()]
    if len(missing):
        more = f", like {len(missing) - 1} more of {len(records)}" if len(missing) > 1 else ""
        hint = (
            f"Add {column}= to the FASTA headers or a column {column} to the table, name the one "
            f"it has with columns = {{ {column} = 'NAME' }} in [data], or choose another split"
        )
        message = f"record {missing.iloc[0]!r} has no {column} to split by{more}"
        raise CorpusError(message, hint=hint)
    return records[column].astype(str)


def bundles_of(records: pd.DataFrame, *columns: Sequence[Any] | pd.Series | Integers) -> Integers:
    """Number the records so that those with a common value in any column share a number.

    A record shares the number of its shuffles, and records connected through others share one too.
    Missing values connect no records.
    """
    columns = (records["id"].str.replace(rf"{SHUFFLED}\d+$", "", regex=True), *columns)
    num_records = num_nodes = len(records)
    rows, nodes = [], []
    # Bundles are the connected components of the graph of records and values
    for column in columns:
        values = pd.factorize(np.asarray(column, dtype=object))[0]
        rows.append(np.flatnonzero(values >= 0))
        nodes.append(values[rows[-1]] + num_nodes)
        num_nodes += int(values.max(initial=-1)) + 1
    return components(num_nodes, np.concatenate(rows), np.concatenate(nodes))[:num_records]


def _loci(records: pd.DataFrame) -> Integers:
    """Number the records so that those with overlapping coordinates share a number.

    Records connected through others share a number too; each record without coordinates has its own
    number.
    """
    loci = np.arange(len(records))
    spans = (
        records.reset_index(drop=True)[LOCUS].dropna().astype({"start": "int64", "end": "int64"})
    )
    chroms = pd.factorize(spans["chrom"].map(canonical_name))[0]
    shift = chroms * (int(spans["end"].max()) + 1) if len(spans) else 0  # chromosomes end to end
    numbers = run_numbers(spans["start"] + shift, spans["end"] + shift, gap=-1)
    loci[spans.index] = len(records) + numbers
    return loci
