"""Find test records that resemble records a model may have learnt from.

The search covers similar sequences, duplicates on either strand, overlapping intervals, shared
groups, and records that parent models were trained on. It also compares the splits. The [audit]
section of the run file sets the limits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import scipy
from numpy.typing import NDArray

from selfattn_bio.arrays import Bools
from selfattn_bio.sequence.alphabet import Alphabet
from selfattn_bio.sequence.clusters import similar_pairs
from selfattn_bio.sequence.genome import canonical_name
from selfattn_bio.sequence.intervals import LOCUS, Cover, overlapping
from selfattn_bio.sequence.kmer_numbers import distinct_kmers, kmer_settings
from selfattn_bio.sequence.kmers import gc_content
from selfattn_bio.sequence.split_table import strand_keys

FLOOR = 0.05  # similarity below which a neighbour is not reported
# edges of the ranges in which similarities are counted; the last range contains only 1
EDGES = (0.05, 0.1, 0.15, 0.3, 0.5, 0.8, 1.0)
# with fewer records in a split, p comes from the exact distribution
FEW = 50
# maximum number of k-mers compared to find the strand; of a longer sequence, a sample is used
COMPARED = 4_000_000
LEAST = 5  # records of a class; in a tenth of tests with 3 and 3, chance alone separates them
KEY = 32  # characters of the key of a sequence


@dataclass(frozen=True)
class Part:
    """Records that belong together: a split, or a corpus used for pretraining.

    Attributes
    ----------
    name
        Name in the table of leaks.
    records
        Table with id, label, chrom, start, end (0-based half-open), and any group columns.
    letters
        Upper-case ASCII sequence of each record.
    assembly
        Assembly of the coordinates; empty if unknown, which matches any assembly.
    partners
        Hash of each record's second input, if there are two. Duplicates must share both inputs.
    """

    name: str
    records: pd.DataFrame
    letters: Sequence[NDArray[np.uint8]]
    assembly: str = ""
    partners: Sequence[str] = ()


def find_leaks(
    test: Part,
    others: Sequence[Part],
    seen: Mapping[str, pd.DataFrame],
    alphabet: Alphabet,
    *,
    groups: Iterable[str] = ("group", "species"),
    k: int | None = None,
) -> pd.DataFrame:
    """Search other records for matches of each test record.

    Parameters
    ----------
    test
        The test split.
    others
        The training split and corpora used for pretraining.
    seen
        By model, the records that it and its parents were trained on, as in seen.parquet of the
        model folder (key, assembly, chrom, start, end).
    groups
        Columns whose values should occur in one split only.
    k
        k-mer length of `similar_pairs`.

    Returns
    -------
    One row per test record, in order. Text columns are empty if nothing was found.

    - id, label: of the test record
    - similarity: to the nearest of the other records; 0 if below `FLOOR` or explained by chance
    - neighbour, of, neighbour_label: id of the nearest record, name of its part, its label
    - strand: + or - of the test record compared with its neighbour; . in protein
    - partner_shared: whether another record has the same second input; missing for one input
    - duplicate: id of a record with the same sequence, on either strand
    - overlap, overlap_letters: id of the record with the longest overlap, and its length in bp;
      the length is missing without coordinates to compare
    - shared: `COLUMN=VALUE` of each shared group, joined by ";"
    - seen_by: names of the models, joined by ";"
    """
    table = test.records[["id", "label"]].reset_index(drop=True)
    letters = [row for part in others for row in part.letters]
    names = pd.concat(
        [part.records[["id", "label"]].assign(of=part.name) for part in others], ignore_index=True
    )
    keys = record_keys(test.letters, alphabet, test.partners)
    of_others = [
        key for part in others for key in record_keys(part.letters, alphabet, part.partners)
    ]
    first = {key: i for i, key in reversed(list(enumerate(of_others)))}
    duplicates = np.array([first.get(key, -1) for key in keys], np.int64)

    nearest, similarity = _nearest(test.letters, letters, alphabet, k)
    nearest = np.where(duplicates >= 0, duplicates, nearest)
    similarity = np.where(duplicates >= 0, 1.0, similarity)
    found = names.reindex(nearest).reset_index(drop=True)
    table["similarity"] = similarity
    table[["neighbour", "of", "neighbour_label"]] = found[["id", "of", "label"]]
    table["strand"] = [
        "" if other < 0 else _strand(test.letters[row], letters[other], alphabet, k)
        for row, other in enumerate(nearest.tolist())
    ]
    known = {partner for part in others for partner in part.partners}
    shared = [partner in known if partner else None for partner in test.partners]
    table["partner_shared"] = pd.Series(shared or None, table.index, dtype="boolean")
    table["duplicate"] = names["id"].reindex(duplicates).to_numpy()
    table["overlap"], table["overlap_letters"] = _overlaps(test, others)
    table["shared"] = _shared(test.records, [part.records for part in others], groups)
    table["seen_by"] = _seen_by(test, keys, seen)
    texts = ["neighbour", "of", "duplicate", "overlap"]
    return table.assign(**{name: table[name].fillna("").astype(str) for name in texts})


def record_keys(
    letters: Iterable[NDArray[np.uint8]], alphabet: Alphabet, partners: Sequence[str] = ()
) -> list[str]:
    """Return the key of each record as in `lineage.seen_table`, equal for both strands.

    `partners` has the hash of each second input, if there are two. The key ends with it.
    """
    keys = [key.hex()[:KEY] for key in strand_keys(letters, alphabet)]
    return (
        [key + partner for key, partner in zip(keys, partners, strict=True)] if partners else keys
    )


def _nearest(
    test: Sequence[NDArray[np.uint8]],
    others: Sequence[NDArray[np.uint8]],
    alphabet: Alphabet,
    k: int | None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the row of the most similar other record and the similarity, for each test record.

    The row is -1 if there is none.
    """
    is_other = np.repeat([False, True], [len(test), len(others)])
    pairs = similar_pairs([*test, *others], alphabet, FLOOR, k, is_other).sort_values(
        ["similarity", "second"], ascending=[False, True]
    )
    best = pairs.drop_duplicates("first")
    nearest, similarity = np.full(len(test), -1, np.int64), np.zeros(len(test))
    nearest[best["first"]] = best["second"] - len(test)
    similarity[best["first"]] = best["similarity"]
    return nearest, similarity


def _strand(
    one: NDArray[np.uint8], other: NDArray[np.uint8], alphabet: Alphabet, k: int | None
) -> str:
    """Return + if the sequences share more k-mers on the same strand, and - otherwise."""
    if not alphabet.has_complement:
        return "."
    settings = kmer_settings(alphabet, k)[0]
    fraction = min(1.0, COMPARED / max(len(one), len(other)))
    own = distinct_kmers(one, alphabet, settings, fraction)
    both = (
        distinct_kmers(other, alphabet, settings, fraction, reverse=reverse)
        for reverse in (False, True)
    )
    shared = [len(np.intersect1d(own, of_strand, assume_unique=True)) for of_strand in both]
    return "+" if shared[0] >= shared[1] else "-"


def _overlaps(test: Part, others: Sequence[Part]) -> tuple[list[str], pd.Series]:
    """Return the other record with the longest overlap for each test record, and its length in bp.

    The length is missing without coordinates of the test record, or of any other record of the same
    assembly. Chromosomes are compared with and without "chr", because files of one genome may name
    them differently.
    """
    ids, sizes = [""] * len(test.records), [0] * len(test.records)
    has_others = False
    placed = test.records[LOCUS].notna().all(axis=1).to_numpy(bool)
    chroms = test.records["chrom"].map(canonical_name, na_action="ignore")
    for part in others:
        if test.assembly and part.assembly and test.assembly != part.assembly:
            continue
        known = part.records.dropna(subset=LOCUS)
        has_others |= len(known) > 0
        for chrom, intervals in known.groupby(known["chrom"].map(canonical_name)):
            intervals = intervals.sort_values("start")
            starts, ends = intervals[["start", "end"]].to_numpy(dtype=np.int64).T
            last_ends = np.maximum.accumulate(ends)
            for row in np.flatnonzero(placed & (chroms == chrom).to_numpy(bool)):
                start, end = (int(test.records[column].iloc[row]) for column in ("start", "end"))
                near = overlapping(starts, last_ends, start, end)
                shared = np.minimum(ends[near], end) - np.maximum(starts[near], start)
                if (most := int(shared.max(initial=0))) > sizes[row]:
                    sizes[row] = most
                    ids[row] = str(intervals["id"].iloc[near.start + int(shared.argmax())])
    return ids, pd.Series(sizes, dtype="Int64").where(placed & has_others)


def _shared(test: pd.DataFrame, others: Sequence[pd.DataFrame], groups: Iterable[str]) -> list[str]:
    """Return, per test record, `COLUMN=VALUE` of the groups that also occur in other parts."""
    shared: list[list[str]] = [[] for _ in range(len(test))]
    for column in groups:
        if column not in test:
            continue
        columns = [part[column] for part in others if column in part]
        theirs = {value for each in columns for value in each.dropna().astype(str)}
        for row, value in enumerate(test[column].astype("str")):
            if value in theirs:
                shared[row].append(f"{column}={value}")
    return [";".join(values) for values in shared]


def _seen_by(test: Part, keys: Sequence[str], seen: Mapping[str, pd.DataFrame]) -> list[str]:
    """Return, per test record, the models trained on its sequence or an overlapping interval."""
    names: list[list[str]] = [[] for _ in keys]
    for model, table in seen.items():
        for row in np.flatnonzero(was_seen(test.records, keys, test.assembly, table)):
            names[row].append(model)
    return [";".join(models) for models in names]


def was_seen(
    records: pd.DataFrame, keys: Sequence[str], assembly: str, seen: pd.DataFrame
) -> Bools:
    """Mark the records whose sequence or an overlapping interval is in a table of `seen_table`.

    Chromosome names match with or without "chr".
    """
    known = set(seen["key"])
    # a model with one input lists the first input alone
    has_key = np.array([key in known or key[:KEY] in known for key in keys], dtype=bool)
    # an unknown assembly could be any, so its intervals are always compared
    comparable = seen[seen["assembly"].isin([assembly, ""])] if assembly else seen
    located = records[LOCUS].notna().all(axis=1).to_numpy(dtype=bool)
    intervals, own = (
        table.assign(chrom=table["chrom"].map(canonical_name))
        for table in (comparable.dropna(subset=LOCUS), records[located])
    )
    overlaps = np.zeros(len(records), dtype=bool)
    overlaps[located] = Cover(intervals).bases_of(own) > 0
    return has_key | overlaps


def counts_of(leaks: pd.DataFrame, similarity: float) -> dict[str, Any]:
    """Count the test records with a leak of each kind.

    Returns
    -------
    `near` (`similarity` or more), `near_other_label` (near, but with another label; None if the
    records have no labels, or two inputs, because another partner may give another label),
    `partners` (in which the second input is that of another record; None for one input),
    `duplicates`, `overlaps` (None without coordinates), `shared` (by column), `seen`, and `nearest`
    (`from`, `to` and `count` by similarity; the last bin contains only 1).
    """
    near = leaks["similarity"] >= similarity
    labelled = leaks["label"].notna()
    differs = (leaks["label"] != leaks["neighbour_label"]).fillna(False)
    other = near & labelled & leaks["neighbour_label"].notna() & differs
    are_pairs = leaks["partner_shared"].notna().any()
    columns = leaks["shared"].str.findall(r"(?:^|;)([^=;]+)=").explode().dropna()
    edges = [*EDGES, np.inf]
    counts, _ = np.histogram(leaks["similarity"], edges)
    return {
        "near": int(near.sum()),
        "near_other_label": int(other.sum()) if labelled.any() and not are_pairs else None,
        "partners": int(leaks["partner_shared"].sum()) if are_pairs else None,
        "duplicates": int((leaks["duplicate"] != "").sum()),
        "overlaps": int((leaks["overlap"] != "").sum())
        if leaks["overlap_letters"].notna().any()
        else None,
        "shared": {str(column): int(count) for column, count in columns.value_counts().items()},
        "seen": int((leaks["seen_by"] != "").sum()),
        "nearest": [
            {"from": low, "to": min(high, 1.0), "count": int(count)}
            for (low, high), count in zip(pairwise(edges), counts, strict=True)
        ],
    }


def leak_rows(
    summary: Mapping[str, Any], alphabet: Alphabet
) -> list[tuple[str, int | None, int | None]]:
    """Return each kind of leak with its number of test records and its limit, for log and report.

    A number is None if nothing could be compared, a limit if there is none. `summary` is the
    content of audit.json.
    """
    limits, num_test = summary["limits"], summary["records"]["test"]
    near = None if limits["max_near"] == 1 else int(limits["max_near"] * num_test)
    unchecked = " (not checked: no coordinates to compare)" * (summary["overlaps"] is None)
    strand, similar = alphabet.either_strand, f"at least {summary['similarity']:g} of k-mers shared"
    rows = [
        (f"identical sequence{strand}", summary["duplicates"], limits["max_duplicates"]),
        (f"overlapping interval{strand}{unchecked}", summary["overlaps"], limits["max_overlaps"]),
        ("sequence or interval used to train a parent model", summary["seen"], limits["max_seen"]),
        *(
            (f"same {name}", summary["shared"].get(name, 0), limits["max_shared"])
            for name in summary["groups"]
        ),
        (f"near neighbour ({similar})", summary["near"], near),
    ]
    if (other := summary["near_other_label"]) is not None:
        rows.append(("near neighbour with a different label", other, None))
    without = {f"no {name}": of for name, of in summary["without_group"].items()}
    if not summary["groups"]:
        without = {"no column of groups ([split] kind group)": None}
    return [*rows, *((f"not compared by group: {why}", of, None) for why, of in without.items())]


def shifts_of(train: Part, split: Part, alphabet: Alphabet) -> list[dict[str, Any]]:
    """Compare a split with the training split: labels, GC content (DNA) and length.

    Returns
    -------
    One dict per property that varies: what, split, train and other (fraction of positives, or
    mean), effect, effect_is, test (its name) and p. The effect is a difference of fractions, or of
    means in units of the pooled standard deviation (Cohen's d). p is the probability that chance
    alone gives a difference of at least this size.
    """
    rows = []

    def add(what: str, means: list[float], effect: float, kind: str, test: str, p: float) -> None:
        row = {"what": what, "effect_is": kind, "test": test, "p": float(p), "split": split.name}
        rows.append(row | {"train": means[0], "other": means[1], "effect": effect})

    labels = [part.records["label"].dropna().to_numpy(dtype=np.int64) for part in (train, split)]
    if all(len(values) for values in labels):
        table = [[int((values == label).sum()) for label in (1, 0)] for values in labels]
        means = [float((values == 1).mean()) for values in labels]
        p = scipy.stats.fisher_exact(table).pvalue
        add("positives", means, means[1] - means[0], "difference of fractions", "Fisher's exact", p)
    for what, (a, b) in _properties((train, split), alphabet).items():
        if not np.ptp(np.concatenate([a, b])):  # for example, all records have the same length
            continue
        spread = float(np.sqrt((np.var(a) + np.var(b)) / 2))
        effect = float((b.mean() - a.mean()) / spread) if spread else 0.0
        method = "exact" if min(len(a), len(b)) < FEW else "asymp"
        p = scipy.stats.ks_2samp(a, b, method=method).pvalue
        means = [float(a.mean()), float(b.mean())]
        add(what, means, effect, "Cohen's d", "Kolmogorov-Smirnov", p)
    return rows


def tells_label(test: Part, alphabet: Alphabet) -> dict[str, float]:
    """Return how well length and GC content alone predict the test labels, as AUROC.

    An AUROC below 0.5 is replaced by 1 - AUROC. A value near 1 means that the property reveals the
    label. The result is empty if a label is missing, or if a class has fewer than `LEAST` records,
    which such a property often separates by chance.
    """
    from sklearn.metrics import roc_auc_score  # imported here because it takes a second

    labels = test.records["label"]
    if labels.isna().any() or min((labels == label).sum() for label in (0, 1)) < LEAST:
        return {}
    found = {
        what: roc_auc_score(labels.astype(int), values[0])
        for what, values in _properties((test,), alphabet).items()
    }
    return {what: float(max(auroc, 1 - auroc)) for what, auroc in found.items()}


def _properties(parts: Sequence[Part], alphabet: Alphabet) -> dict[str, list[NDArray[np.float64]]]:
    """Return GC content (DNA) and length of the records, one array per part."""
    lengths = [np.array([len(row) for row in part.letters], dtype=float) for part in parts]
    return (
        {"GC content": [gc_content(part.letters) for part in parts]} if alphabet.is_nucleic else {}
    ) | {"length": lengths}
