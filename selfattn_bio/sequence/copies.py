"""Find and remove records with the same sequence in several splits, on either strand."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.display import counted
from selfattn_bio.sequence.alphabet import Alphabet
from selfattn_bio.sequence.split_table import DROPPED
from selfattn_bio.split_names import SPLITS

PIECE = 1 << 20  # letters processed at once


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
    different = np.where(leaving["different"], f", different {learnt}", "")
    reasons = (
        "removed from "
        + leaving["split"]
        + ": same sequence as "
        + leaving["original"]
        + " in "
        + leaving["original_split"]
        + different
    )
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
