"""Records that a model and its parents were trained on.

The table in the model folder prevents evaluating a model on records that its pretraining used.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.errors import ModelFolderError
from selfattn_bio.model.checkpoint import SEEN, read_provenance
from selfattn_bio.sequence.alphabet import Alphabet
from selfattn_bio.sequence.cover import Cover
from selfattn_bio.sequence.genome import common_name
from selfattn_bio.sequence.splits import strand_keys

INTERVAL = ["chrom", "start", "end"]  # 0-based half-open


@dataclass(frozen=True)
class Lineage:
    """Describe a parent model: its folder, the records it saw, and its entries for provenance.

    `seen` includes the records that its own parents saw.
    """

    folder: Path
    seen: pd.DataFrame
    parents: list[dict[str, Any]]

    def check(
        self,
        records: pd.DataFrame,
        letters: Iterable[NDArray[np.uint8]],
        alphabet: Alphabet,
        assembly: str,
    ) -> None:
        """Refuse, before training, test records that the model or one of its parents saw.

        See `check_unseen`.
        """
        _refuse(self.seen, records, letters, alphabet, assembly, self.folder)

    @property
    def doubt(self) -> str:
        """Describe the limit of the check where seen records lack coordinates; otherwise ""."""
        without = int(self.seen[INTERVAL].isna().any(axis=1).sum())
        if not without:
            return ""
        return (
            f"{without:,} of {len(self.seen):,} training records of the parent have no "
            "coordinates; test records that overlap them are not detected"
        )


def lineage_of(folder: Path) -> Lineage:
    """Read the lineage from a model folder.

    Raises
    ------
    ModelFolderError
        If the folder is incomplete, or older than this table.
    """
    provenance = read_provenance(folder)
    copied = ("weights_sha256", "corpus_fingerprint", "data", "num_train", "num_valid")
    own = {"folder": str(folder)} | {key: provenance.get(key) for key in copied}
    return Lineage(folder, _read(folder), [own, *provenance.get("parents", [])])


def seen_table(
    records: pd.DataFrame,
    letters: Iterable[NDArray[np.uint8]],
    alphabet: Alphabet,
    assembly: str,
    parents_saw: pd.DataFrame | None,
) -> pd.DataFrame:
    """Tabulate the records a model was trained and selected on, and those its parents saw.

    Returns
    -------
    Columns key (hash of the sequence, the same for both strands), assembly, chrom, start, end
    (0-based half-open; missing if unknown) and by_parent.
    """
    intervals = records[INTERVAL].reset_index(drop=True)
    keys = [key.hex()[:32] for key in strand_keys(letters, alphabet)]
    own = intervals.assign(key=keys, assembly=assembly, by_parent=False)
    return (
        own
        if parents_saw is None
        else pd.concat([own, parents_saw.assign(by_parent=True)], ignore_index=True)
    )


def check_unseen(
    folder: Path,
    records: pd.DataFrame,
    letters: Iterable[NDArray[np.uint8]],
    alphabet: Alphabet,
    assembly: str,
) -> None:
    """Refuse records that a parent of the model saw.

    A record was seen if its sequence matches on either strand, or if its interval overlaps one on
    the same assembly. If either assembly is unnamed ([data] assembly), intervals are compared as if
    both were on the same assembly.

    Raises
    ------
    ModelFolderError
        If a record was seen; the message names the first.
    """
    if read_provenance(folder).get("parents"):
        seen = _read(folder)
        _refuse(seen[seen["by_parent"]], records, letters, alphabet, assembly, folder)


def _refuse(
    seen: pd.DataFrame,
    records: pd.DataFrame,
    letters: Iterable[NDArray[np.uint8]],
    alphabet: Alphabet,
    assembly: str,
    folder: Path,
) -> None:
    known = set(seen["key"])
    bad = np.array([key.hex()[:32] in known for key in strand_keys(letters, alphabet)], dtype=bool)
    # An unnamed assembly could be any, so its intervals are always compared.
    bad |= _overlap(records, seen if not assembly else seen[seen["assembly"].isin([assembly, ""])])
    if bad.any():
        first = records["id"].iloc[int(np.argmax(bad))]
        message = (
            f"{int(bad.sum())} of {len(bad)} test records were seen by a parent of the model, such "
            f"as {first!r}"
        )
        hint = (
            "Pretrain on other records: give the parent FASTA files without the chromosomes, "
            "groups or records of this task's test split"
        )
        raise ModelFolderError(message, place=str(folder), hint=hint)


def _overlap(records: pd.DataFrame, seen: pd.DataFrame) -> NDArray[np.bool_]:
    """Mark the records that overlap a seen interval; names match with or without "chr"."""
    placed = records[INTERVAL].notna().all(axis=1).to_numpy(dtype=bool)
    known, given = (
        table.assign(chrom=table["chrom"].map(common_name))
        for table in (seen.dropna(subset=INTERVAL), records[placed])
    )
    found = np.zeros(len(records), dtype=bool)
    found[placed] = Cover(known).bases_of(given) > 0
    return found


def _read(folder: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(folder / SEEN)
    except (OSError, ValueError) as error:
        message = f"cannot read {SEEN}, the list of training records ({type(error).__name__})"
        raise ModelFolderError(message, place=str(folder), hint="Train it again") from error
