"""Read, check and describe split tables, and remove copies of records from them.

A split table has the id, split and reason of each record. Copies are records with the same sequence
in several splits, on either strand.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.display import counted, shortened
from selfattn_bio.errors import CorpusError
from selfattn_bio.sequence.alphabet import PIECE, Alphabet
from selfattn_bio.sequence.tables import check_names
from selfattn_bio.split_names import SPLITS

DROPPED = "dropped"
NO_VALUE = "no value to learn"  # reason of a dropped record
SHOWN = 10  # columns, and classes of each, in a line


def read_split(path: str | Path, ids: Sequence[str] | pd.Series) -> list[str]:
    """Read the split (train, valid, test, dropped) of each record from a split table.

    The table must contain exactly the records `ids` in the same order.

    Raises
    ------
    CorpusError
        If the table is missing, is not a split table, has an unknown split, or does not match
        `ids`.
    SequenceFileError
        If a column name has a line break or control character.
    """
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
        check_names(table.columns, f"{path}:1")
        splits, named = table["split"].tolist(), table["id"].tolist()
    except FileNotFoundError:
        CorpusError.fail("no such split table", path, "Run `selfattn-bio split TASK`")
    except (KeyError, ValueError) as error:
        CorpusError.fail(f"not a split table (TSV with columns id, split, reason): {error}", path)
    for line, split in enumerate(splits, start=2):
        if split not in (*SPLITS, DROPPED):
            message = f"unknown split {split!r} (expected train, valid, test or dropped)"
            raise CorpusError(message, place=f"{path}:{line}")
    if named != (expected := list(ids)):
        pairs = enumerate(zip_longest(named, expected, fillvalue="none"), start=1)
        number, (there, wanted) = next(pair for pair in pairs if pair[1][0] != pair[1][1])
        raise CorpusError(
            f"the split table does not match the corpus ({len(named)} and {len(expected)} "
            f"records): record {number} is {there} in the table and {wanted} in the corpus",
            place=str(path),
            hint="Use the split table of this corpus, or run `selfattn-bio split TASK` again",
        )
    return splits


def check_splits(
    table: pd.DataFrame, records: pd.DataFrame, hint: str = "Add records or change [split]"
) -> pd.DataFrame:
    """Return the table if each split has records, and both labels if any record has a label.

    Raises
    ------
    CorpusError
        If a split lacks records or one of the labels.
    """
    if lacking := _lacking_records(table, records["label"]):
        of_both = "" if records["label"].isna().all() else " of both labels"
        message = f"train, valid and test need records{of_both}: {lacking}"
        if number := int((table["reason"] == NO_VALUE).sum()):
            message += f" (dropped: {counted(number, 'record')} without a value to learn)"
        raise CorpusError(message, hint=hint)
    return table


def _lacking_records(table: pd.DataFrame, labels: pd.Series) -> str:
    """Return the sizes of the splits as text if one lacks records or a label, otherwise ""."""
    if labels.isna().all():
        sizes = table["split"].value_counts().reindex(list(SPLITS), fill_value=0)
        each = (f"{size} {split}" for split, size in sizes.items())
        return ", ".join(each) if (sizes == 0).any() else ""
    if labels.isna().any():
        hint = "Give each record a label, or none"
        message = f"{int(labels.isna().sum())} of {len(labels)} records have no label"
        raise CorpusError(message, hint=hint)
    if labels.nunique() < 2:
        message = f"all {len(labels)} records have label {labels.iloc[0]}"
        raise CorpusError(message, hint="Add the other class")
    counts = pd.crosstab(table["split"], labels).reindex(
        index=list(SPLITS), columns=[0, 1], fill_value=0
    )
    each = (f"{split} {row[0]} of label 0, {row[1]} of label 1" for split, row in counts.iterrows())
    return "; ".join(each) if (counts == 0).to_numpy().any() else ""


def describe(table: pd.DataFrame, labels: pd.Series, classes: pd.DataFrame) -> list[str]:
    """Return one line per split with its number of records, and of positives or each class."""
    lines, is_labelled = [], labels.notna().any()
    for split in (*SPLITS, DROPPED):
        own = table["split"] == split
        counts = [f"{int((labels[own] == 1).sum())} positive"] if is_labelled else []
        for name, values in classes[own].items():
            of = [f"{value!r} {n:,}" for value, n in values.value_counts().sort_index().items()]
            counts += [f"{name}: {shortened(of, SHOWN)}"] if of else []
        also = f" ({'; '.join(counts[:SHOWN])})" if counts else ""
        lines.append(f"{split}: {counted(int(own.sum()), 'record')}{also}")
    return lines


def strand_keys(letters: Iterable[NDArray[np.uint8]], alphabet: Alphabet) -> list[bytes]:
    """Return a hash of each record that is the same for both strands.

    The hash is of the strand that sorts first. It is computed piece by piece, so the reverse
    complement of a chromosome is never in memory as one array. Sequences without a reverse
    complement are hashed as they are.
    """
    keys = []
    for row in letters:
        reverse = alphabet.has_complement and _reverse_sorts_first(row, alphabet)
        digest = hashlib.sha256()
        for start in range(0, len(row), PIECE):
            digest.update(
                (_piece(row, start, alphabet) if reverse else row[start : start + PIECE]).tobytes()
            )
        keys.append(digest.digest())
    return keys


def _reverse_sorts_first(row: NDArray[np.uint8], alphabet: Alphabet) -> bool:
    """Return whether the reverse complement sorts first."""
    for start in range(0, len(row), PIECE):
        own, other = row[start : start + PIECE].tobytes(), _piece(row, start, alphabet).tobytes()
        if own != other:
            return other < own
    return False


def _piece(row: NDArray[np.uint8], start: int, alphabet: Alphabet) -> NDArray[np.uint8]:
    """Return letters [start, start + PIECE) of the reverse complement."""
    return alphabet.reverse_complement(row[max(0, len(row) - start - PIECE) : len(row) - start])


def find_copies(
    table: pd.DataFrame,
    keys: Sequence[bytes],
    letters: Sequence[str] | pd.Series,
    answers: pd.DataFrame,
) -> pd.DataFrame:
    """Find records that duplicate a record of the same split, or of one closer to test.

    A record is a copy of a test record on either strand, of a valid record on either strand if it
    is in train, or of an earlier record in its own split with the same letters on the same strand.

    Parameters
    ----------
    table
        Table with columns id and split, n rows.
    keys
        Hashes from `strand_keys`, n.
    letters
        Values that are equal for records with the same letters on the same strand, n.
    answers
        Label and targets of each record, n rows. Copies with other values are marked as different.

    Returns
    -------
    One row per copy, with its index in `table`: split, original and original_split (id and split of
    the original), different.
    """
    rank = table["split"].map({split: number for number, split in enumerate(SPLITS)})
    rows = pd.DataFrame(
        {
            "key": pd.factorize(np.asarray(keys, object))[0],
            "letters": pd.factorize(np.asarray(letters, object))[0],
            "rank": rank,
        }
    )
    rows = rows.assign(row=rank.index)[rank.notna()]
    closest = (
        rows.sort_values(["rank", "row"], ascending=[False, True])
        .drop_duplicates("key")
        .set_index("key")
    )
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


def remove_copies(
    table: pd.DataFrame, copies: pd.DataFrame, reduced: Iterable[str], learnt: str = "label"
) -> pd.DataFrame:
    """Drop copies in the splits that may be reduced; the reason names the original.

    Parameters
    ----------
    table
        Table as in `split_by_chromosome`.
    copies
        Table from `find_copies`.
    reduced
        Splits from which copies are removed.
    learnt
        The values that differ if a copy is marked as different: "label" or "targets".

    Returns
    -------
    Copy of `table` with the new splits and reasons.
    """
    leaving = copies[copies["split"].isin(list(reduced))]
    about = leaving[["split", "original", "original_split", "different"]].to_numpy()
    reasons = [
        f"removed from {split}: same sequence as {original} in {of_original}"
        + f", different {learnt}" * different
        for split, original, of_original, different in about
    ]
    table = table.copy()
    table.loc[leaving.index, "split"], table.loc[leaving.index, "reason"] = DROPPED, reasons
    return table


def describe_copies(
    copies: pd.DataFrame, reduced: Iterable[str], learnt: str = "label"
) -> list[str]:
    """Return one line per split with copies, counting them by the split of their originals."""
    lines = []
    for split in SPLITS:
        own = copies[copies["split"] == split]
        counts = {other: int((own["original_split"] == other).sum()) for other in reversed(SPLITS)}
        where = ", ".join(
            f"{count} {'repeated' if other == split else 'also'} in {other}"
            for other, count in counts.items()
            if count
        )
        different = int(own["different"].sum())
        other_value = "a different label" if learnt == "label" else "different targets"
        also = (
            f"; {different} ha{'s' if different == 1 else 've'} the same sequence but {other_value}"
            if different
            else ""
        )
        if where:
            verb = "removed from" if split in reduced else "kept in"
            lines.append(f"{verb} {split}: {counted(len(own), 'duplicate')} ({where}){also}")
    return lines
