"""Read, check and describe split tables: id, split and reason of each record."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

import pandas as pd

from selfattn_bio.display import counted
from selfattn_bio.errors import CorpusError
from selfattn_bio.sequence.tables import check_names
from selfattn_bio.split_names import SPLITS

DROPPED = "dropped"


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
        raise CorpusError(
            "no such split table",
            place=str(path),
            hint="Run `selfattn-bio split TASK`",
        ) from None
    except (KeyError, ValueError) as error:
        raise CorpusError(
            f"not a split table (TSV with columns id, split, reason): {error}", place=str(path)
        ) from None
    for line, split in enumerate(splits, start=2):
        if split not in (*SPLITS, DROPPED):
            raise CorpusError(
                f"unknown split {split!r} (expected train, valid, test or dropped)",
                place=f"{path}:{line}",
            )
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


def check_splits(table: pd.DataFrame, records: pd.DataFrame) -> pd.DataFrame:
    """Return the table if each split has records, and both labels if any record has a label.

    Raises
    ------
    CorpusError
        If a split lacks records or one of the labels.
    """
    if lacking := lacking_records(table, records["label"]):
        of_both = "" if records["label"].isna().all() else " of both labels"
        raise CorpusError(
            f"train, valid and test need records{of_both}: {lacking}",
            hint="Add records or change [split]",
        )
    return table


def lacking_records(table: pd.DataFrame, labels: pd.Series) -> str:
    """Return the sizes of the splits as text if one lacks records or a label, otherwise ""."""
    if labels.isna().all():
        sizes = table["split"].value_counts().reindex(list(SPLITS), fill_value=0)
        return (
            ", ".join(f"{size} {split}" for split, size in sizes.items())
            if (sizes == 0).any()
            else ""
        )
    if labels.isna().any():
        hint = "Give each record a label, or none"
        raise CorpusError(
            f"{int(labels.isna().sum())} of {len(labels)} records have no label",
            hint=hint,
        )
    if labels.nunique() < 2:
        raise CorpusError(
            f"all {len(labels)} records have label {labels.iloc[0]}",
            hint="Add the other class",
        )
    counts = pd.crosstab(table["split"], labels).reindex(
        index=list(SPLITS), columns=[0, 1], fill_value=0
    )
    each = (f"{split} {row[0]} of label 0, {row[1]} of label 1" for split, row in counts.iterrows())
    return "; ".join(each) if (counts == 0).to_numpy().any() else ""


def describe(table: pd.DataFrame, labels: pd.Series) -> list[str]:
    """Return one line per split with its number of records and, if labelled, of positives."""
    masks = {split: table["split"] == split for split in (*SPLITS, DROPPED)}
    positive = {
        split: "" if labels.isna().all() else f" ({int((labels[mask] == 1).sum())} positive)"
        for split, mask in masks.items()
    }
    return [
        f"{split}: {counted(int(mask.sum()), 'record')}{positive[split]}"
        for split, mask in masks.items()
    ]
