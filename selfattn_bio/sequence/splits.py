"""Which records train, which choose (valid), which judge (test), without one sequence standing on two sides.

Hides: duplicates on either strand, borders of regions, how groups and clusters are dealt, the split table. Records come as the corpus's
table, letters beside it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from selfattn_bio.errors import CorpusError
from selfattn_bio.sequence.alphabet import Alphabet
from selfattn_bio.sequence.genome import common_name

SIDES = ("train", "valid", "test")
DROPPED = "dropped"
SAMPLED = "sampled from train"
EMPTY = "(empty)"  # a cell without a value, in a message
SHOWN = 10  # unknown values in a message
PIECE = 1 << 20  # letters of a record that are looked at together


def strand_keys(letters: Iterable[NDArray[np.uint8]], alphabet: Alphabet) -> list[bytes]:
    """A hash of each record that is the same for both strands; of the letters as they are where there is no other strand.

    It is of the strand that comes first by the alphabet, piece by piece: the other strand of a chromosome never stands in memory.
    """
    keys = []
    for row in letters:
        turned = alphabet.has_complement and _turns_first(row, alphabet)
        digest = hashlib.sha256()
        for start in range(0, len(row), PIECE):
            digest.update((_piece(row, start, alphabet) if turned else row[start : start + PIECE]).tobytes())
        keys.append(digest.digest())
    return keys


def _turns_first(row: NDArray[np.uint8], alphabet: Alphabet) -> bool:
    """Whether the other strand comes first."""
    for start in range(0, len(row), PIECE):
        own, other = row[start : start + PIECE].tobytes(), _piece(row, start, alphabet).tobytes()
        if own != other:
            return other < own
    return False


def _piece(row: NDArray[np.uint8], start: int, alphabet: Alphabet) -> NDArray[np.uint8]:
    """Letters [start, start + PIECE) of the other strand."""
    return alphabet.reverse_complement(row[max(0, len(row) - start - PIECE) : len(row) - start])


def split_by_chromosome(records: pd.DataFrame, valid: Iterable[str], test: Iterable[str]) -> pd.DataFrame:
    """Assign the chromosomes named by `valid` and `test` to these splits, with or without "chr", and all others to train.

    Copies of a sequence in several splits are left to `remove_copies`.

    Parameters
    ----------
    records
        Table with `id, chrom`, n rows.

    Returns
    -------
    One row per record, in order: id, split (train, valid, test, dropped), reason.

    Raises
    ------
    CorpusError
        If a record has no chromosome, or a named chromosome has no record.
    """
    chrom = _given(records, "chrom")
    common = chrom.map(common_name)
    sides = pd.Series("train", index=records.index)
    for side, names in (("valid", valid), ("test", test)):
        wanted = {common_name(name): name for name in names}
        if absent := sorted(wanted[name] for name in wanted.keys() - set(common)):
            known = ", ".join(sorted(chrom.unique())[:20])
            raise CorpusError(f"[split] {side} must name chromosomes of the corpus ({known}), got {', '.join(absent)}")
        sides[common.isin(wanted)] = side
    return pd.DataFrame({"id": records["id"], "split": sides, "reason": "chrom=" + chrom})


def split_by_region(records: pd.DataFrame, valid: Iterable[tuple[str, int, int]], test: Iterable[tuple[str, int, int]]) -> pd.DataFrame:
    """Assign the records within the regions of `valid` and `test` to these splits, and those that touch none to train.

    With test chr2R:100-200, a record of 40 letters that starts at 80 straddles the border and is dropped; one that starts at 100 is test.
    Copies of a sequence in several splits are left to `remove_copies`.

    Parameters
    ----------
    records
        Table with `id, chrom, start, end` (0-based half-open), n rows.
    valid, test
        Chromosome, start, end of each region, 0-based half-open; they do not overlap.

    Returns
    -------
    As of `split_by_chromosome`; the reason names the region.

    Raises
    ------
    CorpusError
        If a record has no coordinates, or a region holds no record.
    """
    chrom, start, end = (_given(records, column) for column in ("chrom", "start", "end"))
    start, end, chrom = start.astype("int64"), end.astype("int64"), chrom.map(common_name)
    sides, reasons = pd.Series("train", index=records.index), pd.Series("in no region", index=records.index)
    for side, places in (("valid", valid), ("test", test)):
        for name, first, last in places:
            region = f"{name}:{first}-{last}"
            touches = (chrom == common_name(name)) & (start < last) & (end > first)
            within = touches & (start >= first) & (end <= last)
            if not within.any():
                raise CorpusError(f"[split] {side} must name regions that hold records, got none within {region}")
            sides = sides.mask(touches, DROPPED).mask(within, side)
            reasons = reasons.mask(touches, f"straddles the border of {region}").mask(within, f"in {region}")
    return pd.DataFrame({"id": records["id"], "split": sides, "reason": reasons})


def split_by_group(
    records: pd.DataFrame, keys: Sequence[bytes], valid_fraction: float, test_fraction: float, seed: int, column: str = "group"
) -> pd.DataFrame:
    """Deal whole groups to the sides at random; groups that share a sequence on either strand stay together.

    Parameters and returns as for `split_by_chromosome`, with `column`, which names the groups. The fractions are of records, per label as
    far as the groups allow; `seed` decides which group goes where.

    Raises
    ------
    CorpusError
        If a record has no group, or there are too few groups to give each split records of both labels.
    ValueError
        If the fractions leave nothing to train.
    """
    groups = _given(records, column)
    sides = _deal(records, _bundles(groups, keys), valid_fraction, test_fraction, seed)
    table = pd.DataFrame({"id": records["id"], "split": sides, "reason": f"{column}=" + groups})
    if lacking := _lacking(table, records["label"]):
        of_both = "" if records["label"].isna().all() else " of both labels"
        message = f"the {groups.nunique()} groups of {column!r} cannot be divided so that train, valid and test have records{of_both}"
        cure = "Use a column with more groups (ten or more), larger valid_fraction and test_fraction, or another [split] kind"
        raise CorpusError(f"{message}: got {lacking}", cure=cure)
    return table


def split_by_cluster(
    records: pd.DataFrame,
    keys: Sequence[bytes],
    clusters: NDArray[np.int64],
    valid_fraction: float,
    test_fraction: float,
    seed: int,
    method: str = "kmers",
) -> pd.DataFrame:
    """Deal whole clusters to the sides at random; clusters that share a sequence or letters of the genome stay together, on either strand.

    Parameters and returns as for `split_by_group`, with `chrom, start, end` where they are known; `clusters` numbers the records, (n,). The
    reason names the cluster by its first record, with its size, and `method` where it is not that of `sequence.clusters`.

    Raises
    ------
    CorpusError
        If a side lacks one of the labels: a cluster may be too large to be dealt.
    ValueError
        If the fractions leave nothing to train.
    """
    bundles = _bundles(clusters, keys, _loci(records))
    sides = _deal(records, bundles, valid_fraction, test_fraction, seed)
    _, first, sizes = np.unique(bundles, return_index=True, return_counts=True)
    by = "" if method == "kmers" else f" by {method}"
    names = records["id"].iloc[first[bundles]].to_numpy() + pd.Series([f" ({size})" for size in sizes[bundles]]).to_numpy()
    table = pd.DataFrame({"id": records["id"], "split": sides, "reason": "cluster=" + names + by})
    try:
        return check_splits(table, records)
    except CorpusError as error:
        large = f"{int(sizes.max())} of {len(bundles)} records are of one cluster: raise similarity, and see docs/leakage.md"
        raise CorpusError(error.message, cure=f"{error.cure}. {large}" if 2 * sizes.max() > len(bundles) else error.cure) from None


def split_at_random(records: pd.DataFrame, keys: Sequence[bytes], valid_fraction: float, test_fraction: float, seed: int) -> pd.DataFrame:
    """Deal records to the sides at random, in the same proportions per label; the same sequence on either strand stays on one side.

    Parameters and returns as for `split_by_chromosome`, without `chrom`.

    Raises
    ------
    CorpusError
        If a side lacks one of the labels.
    ValueError
        If the fractions leave nothing to train.
    """
    sides = _deal(records, _bundles(keys), valid_fraction, test_fraction, seed)
    return check_splits(pd.DataFrame({"id": records["id"], "split": sides, "reason": "random"}), records)


def split_as_given(
    records: pd.DataFrame,
    keys: Sequence[bytes],
    values: pd.Series,
    splits: Mapping[str, str],
    valid_fraction: float,
    seed: int,
) -> pd.DataFrame:
    """Use the split that came with the data.

    If no record is in valid, `valid_fraction` of train is sampled as valid, in the same proportions per label; copies of a sequence stay
    together. Copies in several splits are left to `remove_copies`.

    Parameters
    ----------
    records
        Table with `id, label`, n rows.
    keys
        As of `strand_keys`, n.
    values
        The split of each record as the data name it; the name of the series is that of the column.
    splits
        Value in lower case -> train, valid, test or dropped.

    Returns
    -------
    As of `split_by_chromosome`; the reason is the value.

    Raises
    ------
    CorpusError
        If a value is unknown or missing.
    """
    names = assign_splits(values, splits)
    reasons = f"{values.name}=" + values.astype("str")
    train = names.index[names == "train"]
    if not (names == "valid").any() and len(train):
        sampled = _deal(records.loc[train], _bundles([keys[row] for row in train]), valid_fraction, 0, seed)
        valid = train[sampled == "valid"]
        names[valid] = "valid"
        reasons[valid] += f", {SAMPLED}"
    return pd.DataFrame({"id": records["id"], "split": names, "reason": reasons})


def assign_splits(values: pd.Series, splits: Mapping[str, str]) -> pd.Series:
    """Translate the values of a column into train, valid, test and dropped.

    Raises
    ------
    CorpusError
        If a value is unknown or missing.
    """
    found = values.astype("str").str.strip().str.lower().map(splits)
    if found.isna().any():
        counts = values[found.isna()].astype("object").fillna(EMPTY).value_counts()
        unknown = ", ".join(f"{value!r} ({count:,} records)" for value, count in counts.head(SHOWN).items())
        more = f" and {len(counts) - SHOWN} more" if len(counts) > SHOWN else ""
        known = ", ".join(splits)
        named = [value for value in counts.index if value != EMPTY]
        hints = (
            [f'Map them in [split], for example values = {{ test = ["{named[0]}"] }}; dropped = [...] leaves records out'] if named else []
        )
        hints += ["Fill the empty cells of the column, or remove their records"] if len(named) < len(counts) else []
        raise CorpusError(f"unknown values in the split column {values.name!r}: {unknown}{more} (known: {known})", cure=". ".join(hints))
    return found


def find_copies(table: pd.DataFrame, keys: Sequence[bytes], letters: Sequence[str] | pd.Series, answers: pd.DataFrame) -> pd.DataFrame:
    """Find records whose sequence is already in a split, or in one that is closer to test.

    A record is a copy of a test record on either strand, of a valid record on either strand if it is in train, or of an earlier record of
    its own split with the same letters.

    Parameters
    ----------
    table
        Table with `id, split`, n rows.
    keys
        As of `strand_keys`, n.
    letters
        Equal for records with the same letters on the same strand, n.
    answers
        Label and targets of each record, n rows: a copy with other values is marked as different.

    Returns
    -------
    One row per copy, whose index is that of its record in `table`: split, id and split of the `original`, different.
    """
    rank = table["split"].map({side: number for number, side in enumerate(SIDES)})
    rows = pd.DataFrame(
        {"key": pd.factorize(np.asarray(keys, object))[0], "letters": pd.factorize(np.asarray(letters, object))[0], "rank": rank}
    )
    rows = rows.assign(row=rank.index)[rank.notna()]
    closest = rows.sort_values(["rank", "row"], ascending=[False, True]).drop_duplicates("key").set_index("key")
    of_other = rows["key"].map(closest["rank"]) > rows["rank"]
    first = rows.groupby(["letters", "rank"])["row"].transform("min")
    original = first.mask(of_other, rows["key"].map(closest["row"]))
    original = original[original != original.index]
    answer = answers.groupby(list(answers), dropna=False).ngroup().to_numpy()
    return pd.DataFrame(
        {
            "split": table["split"][original.index],
            "original": table["id"][original].to_numpy(),
            "original_split": table["split"][original].to_numpy(),
            "different": answer[original.index] != answer[original],
        }
    )


def remove_copies(table: pd.DataFrame, copies: pd.DataFrame, reduced: Iterable[str], learnt: str = "label") -> pd.DataFrame:
    """Drop the copies in the splits that may be reduced; the reason names the original.

    Parameters
    ----------
    table
        As of `split_by_chromosome`.
    copies
        As of `find_copies`.
    reduced
        The splits from which copies are removed.
    learnt
        What differs between a copy that is marked as different and its original: "label" or "targets".
    """
    leaving = copies[copies["split"].isin(list(reduced))]
    different = np.where(leaving["different"], f", different {learnt}", "")
    reasons = (
        "removed from " + leaving["split"] + ": same sequence as " + leaving["original"] + " in " + leaving["original_split"] + different
    )
    table = table.copy()
    table.loc[leaving.index, "split"], table.loc[leaving.index, "reason"] = DROPPED, reasons
    return table


def read_split(path: str | Path, ids: Sequence[str] | pd.Series) -> list[str]:
    """The side of each record (train, valid, test, dropped), read from a split table that must be of these ids in this order.

    Raises
    ------
    CorpusError
        If the table is missing, is no split table, names another side, or is not of these records.
    """
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
        split, named = table["split"].tolist(), table["id"].tolist()
    except FileNotFoundError:
        raise CorpusError(
            "split table must be an existing file, got no such file", place=str(path), cure="Run selfattn-bio split"
        ) from None
    except (KeyError, ValueError) as error:
        raise CorpusError(f"split table must be TSV with columns id, split, reason, got {error}", place=str(path)) from None
    for line, side in enumerate(split, start=2):
        if side not in (*SIDES, DROPPED):
            raise CorpusError(f"split must be train, valid, test or dropped, got {side!r}", place=f"{path}:{line}")
    if named != list(ids):
        counts = f"{len(named)} records that are not the {len(ids)} of the corpus in their order"
        raise CorpusError(f"split table must be of this corpus, got {counts}", place=str(path), cure="Run selfattn-bio split again")
    return split


def _given(records: pd.DataFrame, column: str) -> pd.Series:
    """The column, if each record has it."""
    missing = records["id"][records[column].isna()]
    if len(missing):
        more = f" (and {len(missing) - 1} more of {len(records)})" if len(missing) > 1 else ""
        cure = f"Add {column}= to the FASTA headers or a column {column} to the table, or choose another [split] kind"
        raise CorpusError(f"records must have {column} to be split by it, got none in {missing.iloc[0]!r}{more}", cure=cure)
    return records[column].astype(str)


def _bundles(*columns: Sequence[object] | pd.Series | NDArray[np.int64]) -> NDArray[np.int64]:
    """Number the records so that those which share a value in any column, directly or through others, share a number."""
    num_records = len(columns[0])
    rows, nodes, num_nodes = np.arange(num_records), [], num_records
    for column in columns:  # a graph of records and values: what is connected is a bundle
        values = pd.factorize(np.asarray(column, dtype=object))[0]
        nodes.append(values + num_nodes)
        num_nodes += int(values.max(initial=-1)) + 1
    ends = (np.tile(rows, len(columns)), np.concatenate(nodes))
    graph = coo_array((np.ones(len(ends[0]), bool), ends), shape=(num_nodes, num_nodes))
    return pd.factorize(connected_components(graph, directed=False)[1][:num_records])[0].astype(np.int64)


def _loci(records: pd.DataFrame) -> NDArray[np.int64]:
    """Number the records so that those whose places overlap, directly or through others, share a number; one without has its own."""
    loci = np.arange(len(records))
    places = records.reset_index(drop=True)[["chrom", "start", "end"]].dropna().astype({"start": "int64", "end": "int64"})
    places["chrom"] = places["chrom"].map(common_name)
    places = places.sort_values(["chrom", "start"])
    reach = places.groupby("chrom")["end"].cummax().groupby(places["chrom"]).shift()  # how far those before it go
    begins = (reach.isna() | (places["start"] >= reach)).to_numpy(bool)
    loci[places.index] = places.index.to_numpy()[np.flatnonzero(begins)][np.cumsum(begins) - 1]
    return loci


def _deal(records: pd.DataFrame, bundles: NDArray[np.int64], valid: float, test: float, seed: int) -> NDArray[np.str_]:
    """Deal bundles, those of each label apart, large ones first and equal ones at random, to the side that lacks most of its share."""
    if valid + test >= 1:
        raise ValueError(f"valid_fraction + test_fraction must be < 1, got {valid} + {test}")
    rng, shares = np.random.default_rng(seed), np.array([1 - valid - test, valid, test])
    labels = records["label"].fillna(-1).to_numpy(dtype=np.float64)
    sizes = np.bincount(bundles)
    strata = np.round(np.bincount(bundles, weights=labels) / sizes)  # the label of most records in the bundle
    side_of = np.zeros(len(sizes), np.int64)
    for stratum in np.unique(strata):
        members = rng.permutation(np.flatnonzero(strata == stratum))
        members = members[np.argsort(-sizes[members], kind="stable")]
        lacking = shares * sizes[members].sum()
        for bundle in members:
            side_of[bundle] = side = int(np.argmax(lacking))
            lacking[side] -= sizes[bundle]
    return np.array(SIDES)[side_of[bundles]]


def check_splits(table: pd.DataFrame, records: pd.DataFrame) -> pd.DataFrame:
    """Return the table if each split has records, of both labels unless no record has one.

    Raises
    ------
    CorpusError
        If a split lacks records or one of the labels.
    """
    if lacking := _lacking(table, records["label"]):
        of_both = "" if records["label"].isna().all() else " of both labels"
        raise CorpusError(f"each side of the split must have records{of_both}, got {lacking}", cure="Add records or change [split]")
    return table


def _lacking(table: pd.DataFrame, labels: pd.Series) -> str:
    """The records of each split if one lacks records or a label, else nothing."""
    if labels.isna().all():
        sizes = table["split"].value_counts().reindex(list(SIDES), fill_value=0)
        return ", ".join(f"{size} {side}" for side, size in sizes.items()) if (sizes == 0).any() else ""
    if labels.isna().any():
        cure = "Ingest with one --label per FASTA file, or with none"
        raise CorpusError(f"all records must have a label or none, got {int(labels.isna().sum())} of {len(labels)} without", cure=cure)
    if labels.nunique() < 2:
        raise CorpusError(
            f"corpus must hold both labels, got only label {labels.iloc[0]} ({len(labels)} records)", cure="Add the other class"
        )
    counts = pd.crosstab(table["split"], labels).reindex(index=list(SIDES), columns=[0, 1], fill_value=0)
    each = (f"{side} {row[0]} of label 0, {row[1]} of label 1" for side, row in counts.iterrows())
    return "; ".join(each) if (counts == 0).to_numpy().any() else ""


def describe(table: pd.DataFrame, labels: pd.Series) -> list[str]:
    """One line per side: its records and, where they have labels, how many of them are positive."""
    masks = {side: table["split"] == side for side in (*SIDES, DROPPED)}
    positive = {side: "" if labels.isna().all() else f" ({int((labels[mask] == 1).sum())} positive)" for side, mask in masks.items()}
    return [f"{side}: {int(mask.sum())} record{'s' * (int(mask.sum()) != 1)}{positive[side]}" for side, mask in masks.items()]


def describe_copies(copies: pd.DataFrame, reduced: Iterable[str], learnt: str = "label") -> list[str]:
    """Count the copies in each split by the split of their originals: one line per split that has copies."""
    lines = []
    for side in SIDES:
        own = copies[copies["split"] == side]
        counts = {other: int((own["original_split"] == other).sum()) for other in reversed(SIDES)}
        where = ", ".join(f"{count} {'repeated' if other == side else 'also'} in {other}" for other, count in counts.items() if count)
        different = int(own["different"].sum())
        other_value = "a different label" if learnt == "label" else "different targets"
        also = f"; {different} ha{'s' if different == 1 else 've'} the same sequence but {other_value}" if different else ""
        if where:
            verb = "removed from" if side in reduced else "kept in"
            lines.append(f"{verb} {side}: {len(own)} duplicate{'s' * (len(own) != 1)} ({where}){also}")
    return lines
