"""What test shares with what a model may have learnt from: a line a test record, counts, and shifts between the sides. No torch.

Hides: the search for neighbours, duplicates on either strand, overlapping places, shared groups, and what parents saw. It finds and counts;
what is too much is the run file's affair ([audit]).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import fisher_exact, ks_2samp
from sklearn.metrics import roc_auc_score

from selfattn_bio.evaluation.composition import gc_content
from selfattn_bio.sequence.alphabet import Alphabet
from selfattn_bio.sequence.clusters import distinct_kmers, readings, similar_pairs
from selfattn_bio.sequence.genome import common_name
from selfattn_bio.sequence.splits import strand_keys

FLOOR = 0.05  # similarity below which a neighbour is not worth a line
EDGES = (0.05, 0.1, 0.15, 0.3, 0.5, 0.8, 1.0)  # of the counts by similarity; the last is a bin of its own
FEW = 50  # records of a side, below which the distribution of its shift is not yet the one of many
COMPARED = 4_000_000  # k-mers of the longer of two neighbours by which their strands are told, of still longer ones an even sample
PLACE = ["chrom", "start", "end"]


@dataclass(frozen=True)
class Part:
    """Records that belong together: a side of a split, or a corpus of pretraining.

    Attributes
    ----------
    name
        As the table names it.
    records
        Table with id, label, chrom, start, end (0-based half-open), and the columns of groups that there are.
    letters
        ASCII upper case of each record.
    assembly
        Of the places; empty if unknown, which may be any.
    partners
        Hash of each record's second input, where there are two: duplicates have both inputs in common.
    """

    name: str
    records: pd.DataFrame
    letters: Sequence[NDArray[np.uint8]]
    assembly: str = ""
    partners: Sequence[str] = ()

    def pair_keys(self, keys: Sequence[str]) -> list[str]:
        """Add the second input to the keys of the first."""
        return [key + partner for key, partner in zip(keys, self.partners or [""] * len(keys), strict=True)]


def find_leaks(
    test: Part,
    others: Sequence[Part],
    seen: Mapping[str, pd.DataFrame],
    alphabet: Alphabet,
    *,
    groups: Iterable[str] = ("group", "species"),
    k: int | None = None,
) -> pd.DataFrame:
    """Look for each test record in what is not test.

    Parameters
    ----------
    test
        The side that judges.
    others
        Train, and corpora of pretraining.
    seen
        By model: what it and its parents saw, as in the model folder's seen.parquet (key, assembly, chrom, start, end).
    groups
        Columns whose values are to stand on one side.
    k
        As for `similar_pairs`.

    Returns
    -------
    One row a test record, in order: id, label; similarity to the nearest record of the others (0 if below `FLOOR` or explained by chance),
    neighbour, of (its part), neighbour_label, strand (+ or -; . in protein); duplicate (id of the same letters, on either strand); overlap
    (id that shares most letters of the genome) and overlap_letters; shared (`group=G`, one or more); seen_by (models). Empty where none.
    """
    table = test.records[["id", "label"]].reset_index(drop=True)
    letters = [row for part in others for row in part.letters]
    names = pd.concat([part.records[["id", "label"]].assign(of=part.name) for part in others], ignore_index=True)
    keys = [key.hex()[:32] for key in strand_keys(test.letters, alphabet)]
    of_others = [key for part in others for key in part.pair_keys([key.hex()[:32] for key in strand_keys(part.letters, alphabet)])]
    first = {key: i for i, key in reversed(list(enumerate(of_others)))}
    twins = np.array([first.get(key, -1) for key in test.pair_keys(keys)], np.int64)

    nearest, similarity = _nearest(test.letters, letters, alphabet, k)
    nearest, similarity = np.where(twins >= 0, twins, nearest), np.where(twins >= 0, 1.0, similarity)
    found = names.reindex(nearest).reset_index(drop=True)
    table["similarity"], table["neighbour"], table["of"], table["neighbour_label"] = similarity, found["id"], found["of"], found["label"]
    table["strand"] = [
        "" if other < 0 else _strand(test.letters[row], letters[other], alphabet, k) for row, other in enumerate(nearest.tolist())
    ]
    table["duplicate"] = names["id"].reindex(twins).to_numpy()
    table["overlap"], table["overlap_letters"] = _overlaps(test, others)
    table["shared"] = _shared(test.records, [part.records for part in others], groups)
    table["seen_by"] = _seen_by(test, keys, seen)
    texts = ["neighbour", "of", "duplicate", "overlap"]
    return table.assign(**{name: table[name].fillna("").astype(str) for name in texts})


def _nearest(
    test: Sequence[NDArray[np.uint8]], others: Sequence[NDArray[np.uint8]], alphabet: Alphabet, k: int | None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Row of the most similar other of each test record, -1 if there is none, and its similarity."""
    sides = np.repeat([False, True], [len(test), len(others)])
    pairs = similar_pairs([*test, *others], alphabet, FLOOR, k, sides).sort_values(["similarity", "second"], ascending=[False, True])
    best = pairs.drop_duplicates("first")
    nearest, similarity = np.full(len(test), -1, np.int64), np.zeros(len(test))
    nearest[best["first"]], similarity[best["first"]] = best["second"] - len(test), best["similarity"]
    return nearest, similarity


def _strand(one: NDArray[np.uint8], other: NDArray[np.uint8], alphabet: Alphabet, k: int | None) -> str:
    """Whether they share more k-mers as they stand (+) or with one turned (-)."""
    if not alphabet.has_complement:
        return "."
    reading, share = readings(alphabet, k)[0], min(1.0, COMPARED / max(len(one), len(other)))
    own = distinct_kmers(one, alphabet, reading, share)
    both = (distinct_kmers(other, alphabet, reading, share, turned=turned) for turned in (False, True))
    shared = [len(np.intersect1d(own, of_strand, assume_unique=True)) for of_strand in both]
    return "+" if shared[0] >= shared[1] else "-"


def _overlaps(test: Part, others: Sequence[Part]) -> tuple[list[str], list[int]]:
    """Of each test record the other that shares most of its place, and how many letters they share.

    Chromosomes are compared with and without "chr": two files of one genome may name them differently.
    """
    ids, sizes = [""] * len(test.records), [0] * len(test.records)
    placed = test.records[PLACE].notna().all(axis=1).to_numpy(bool)
    chroms = test.records["chrom"].map(common_name, na_action="ignore")
    for part in others:
        if test.assembly and part.assembly and test.assembly != part.assembly:
            continue
        known = part.records.dropna(subset=PLACE)
        for chrom, places in known.groupby(known["chrom"].map(common_name)):
            places = places.sort_values("start")
            starts, ends = (places[column].to_numpy(dtype=np.int64) for column in ("start", "end"))
            reach = np.maximum.accumulate(ends)
            for row in np.flatnonzero(placed & (chroms == chrom).to_numpy(bool)):
                start, end = (int(test.records[column].iloc[row]) for column in ("start", "end"))
                low, high = np.searchsorted(reach, start, side="right"), np.searchsorted(starts, end, side="left")
                if low >= high:
                    continue
                shared = np.minimum(ends[low:high], end) - np.maximum(starts[low:high], start)
                if (most := int(shared.max())) > sizes[row]:
                    ids[row], sizes[row] = str(places["id"].iloc[low + int(shared.argmax())]), most
    return ids, sizes


def _shared(test: pd.DataFrame, others: Sequence[pd.DataFrame], groups: Iterable[str]) -> list[str]:
    """`group=G` for each value of these columns that stands on the other side as well."""
    shared: list[list[str]] = [[] for _ in range(len(test))]
    for column in groups:
        if column not in test:
            continue
        theirs = {value for part in others if column in part for value in part[column].dropna().astype(str)}
        for row, value in enumerate(test[column].astype("str")):
            if value in theirs:
                shared[row].append(f"{column}={value}")
    return [";".join(values) for values in shared]


def _seen_by(test: Part, keys: Sequence[str], seen: Mapping[str, pd.DataFrame]) -> list[str]:
    """The models that saw the letters, on either strand, or a place that overlaps."""
    names: list[list[str]] = [[] for _ in keys]
    for model, table in seen.items():
        known = set(table["key"])
        alike = table[table["assembly"].isin([test.assembly, ""])] if test.assembly else table
        _, sizes = _overlaps(test, [Part(model, alike.assign(id=model), [])])
        for row, key in enumerate(keys):
            if key in known or sizes[row]:
                names[row].append(model)
    return [";".join(models) for models in names]


def counts_of(leaks: pd.DataFrame, similarity: float) -> dict[str, Any]:
    """How many test records have a leak of each kind.

    Returns
    -------
    `near` (`similarity` or more), `near_other_label` (of these, under another label; None where the records have no labels),
    `duplicates`, `overlaps`, `shared` (by column), `seen`, `nearest` (`from`, `to`, `count` by similarity; the last bin is 1 alone).
    """
    near = leaks["similarity"] >= similarity
    labelled = leaks["label"].notna()
    other = near & labelled & leaks["neighbour_label"].notna() & (leaks["label"] != leaks["neighbour_label"]).fillna(False)
    columns = leaks["shared"].str.findall(r"(?:^|;)([^=;]+)=").explode().dropna()
    edges = [*EDGES, np.inf]
    return {
        "near": int(near.sum()),
        "near_other_label": int(other.sum()) if labelled.any() else None,
        "duplicates": int((leaks["duplicate"] != "").sum()),
        "overlaps": int((leaks["overlap"] != "").sum()),
        "shared": {str(column): int(count) for column, count in columns.value_counts().items()},
        "seen": int((leaks["seen_by"] != "").sum()),
        "nearest": [
            {"from": low, "to": min(high, 1.0), "count": int(((leaks["similarity"] >= low) & (leaks["similarity"] < high)).sum())}
            for low, high in pairwise(edges)
        ],
    }


def shifts_of(train: Part, side: Part, alphabet: Alphabet) -> list[dict[str, Any]]:
    """How a side differs from train in labels, GC content (DNA) and length, each with an effect size and a test.

    Returns
    -------
    Of each: what, side, train and other (share of positives, or mean), effect (difference of shares; of means in units of the
    joint standard deviation, Cohen's d), test (its name) and p: of two sides as large as these, how often chance alone differs so much.
    """
    rows = []
    labels = [part.records["label"].dropna().to_numpy(dtype=np.int64) for part in (train, side)]
    if all(len(values) for values in labels):
        table = [[int((values == label).sum()) for label in (1, 0)] for values in labels]
        shares = [float((values == 1).mean()) for values in labels]
        effect = shares[1] - shares[0]
        told = {"what": "positives", "effect_is": "difference of shares", "test": "Fisher's exact", "p": float(fisher_exact(table).pvalue)}
        rows.append(told | {"side": side.name, "train": shares[0], "other": shares[1], "effect": effect})
    for what, values in _properties((train, side), alphabet).items():
        a, b = values
        spread = float(np.sqrt((np.var(a) + np.var(b)) / 2))
        effect = float((b.mean() - a.mean()) / spread) if spread else 0.0
        p = ks_2samp(a, b, method="exact" if min(len(a), len(b)) < FEW else "asymp").pvalue
        told = {"what": what, "effect_is": "Cohen's d", "test": "Kolmogorov-Smirnov", "p": float(p)}
        rows.append(told | {"side": side.name, "train": float(a.mean()), "other": float(b.mean()), "effect": effect})
    return rows


def tells_label(test: Part, alphabet: Alphabet) -> dict[str, float]:
    """AUROC, either way round, by which length or GC content alone tells the labels of test: near 1 the label leaks through it."""
    labels = test.records["label"]
    if labels.isna().any() or labels.nunique() < 2:
        return {}
    found = {what: roc_auc_score(labels.astype(int), values[0]) for what, values in _properties((test,), alphabet).items()}
    return {what: float(max(auroc, 1 - auroc)) for what, auroc in found.items()}


def _properties(parts: Sequence[Part], alphabet: Alphabet) -> dict[str, list[NDArray[np.float64]]]:
    lengths = [np.array([len(row) for row in part.letters], dtype=float) for part in parts]
    return ({"GC content": [gc_content(part.letters) for part in parts]} if alphabet.has_complement else {}) | {"length": lengths}
