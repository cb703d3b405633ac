"""What a model and its parents have seen: so that no model is judged on records that its pretraining saw.

Hides: the table in the model folder. Training writes it, `evaluate` checks by it.
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

PLACE = ["chrom", "start", "end"]  # 0-based half-open


@dataclass(frozen=True)
class Lineage:
    """Of a model that another starts from: its folder, what it and its parents saw, and what a provenance says of them."""

    folder: Path
    seen: pd.DataFrame
    parents: list[dict[str, Any]]

    def check(self, records: pd.DataFrame, letters: Iterable[NDArray[np.uint8]], alphabet: Alphabet, assembly: str) -> None:
        """Refuse, before a training, test records that the model or a parent of it saw; as `check_unseen`."""
        _refuse(self.seen, records, letters, alphabet, assembly, self.folder)

    @property
    def doubt(self) -> str:
        """What the check cannot know, for want of coordinates; nothing where all records have them."""
        without = int(self.seen[PLACE].isna().any(axis=1).sum())
        if not without:
            return ""
        told = f"{without:,} of {len(self.seen):,} records that the parent saw have no coordinates"
        return f"{told}: a test record that overlaps one is not noticed"


def lineage_of(folder: Path) -> Lineage:
    """Read it from a model folder.

    Raises
    ------
    ModelFolderError
        If the folder is not whole, or of before this table.
    """
    provenance = read_provenance(folder)
    told = ("weights_sha256", "corpus_fingerprint", "data", "num_train", "num_valid")
    own = {"folder": str(folder)} | {key: provenance.get(key) for key in told}
    return Lineage(folder, _read(folder), [own, *provenance.get("parents", [])])


def seen_table(
    records: pd.DataFrame, letters: Iterable[NDArray[np.uint8]], alphabet: Alphabet, assembly: str, parents_saw: pd.DataFrame | None
) -> pd.DataFrame:
    """Records that a model was trained and chosen on, and those that its parents saw, if it has any.

    Returns
    -------
    key (hash of the letters, the same for both strands), assembly, chrom, start, end (0-based half-open; missing if unknown), by_parent.
    """
    places = records[PLACE].reset_index(drop=True)
    keys = [key.hex()[:32] for key in strand_keys(letters, alphabet)]
    own = places.assign(key=keys, assembly=assembly, by_parent=False)
    return own if parents_saw is None else pd.concat([own, parents_saw.assign(by_parent=True)], ignore_index=True)


def check_unseen(folder: Path, records: pd.DataFrame, letters: Iterable[NDArray[np.uint8]], alphabet: Alphabet, assembly: str) -> None:
    """Refuse records that a parent of the model saw: the same letters on either strand, or a place that overlaps on the same assembly.

    Where one of the two names no assembly ([data] assembly), places are compared as if they were of the same.

    Raises
    ------
    ModelFolderError
        If there is one; the first is named.
    """
    if read_provenance(folder).get("parents"):
        seen = _read(folder)
        _refuse(seen[seen["by_parent"]], records, letters, alphabet, assembly, folder)


def _refuse(
    seen: pd.DataFrame, records: pd.DataFrame, letters: Iterable[NDArray[np.uint8]], alphabet: Alphabet, assembly: str, folder: Path
) -> None:
    known = set(seen["key"])
    bad = np.array([key.hex()[:32] in known for key in strand_keys(letters, alphabet)], dtype=bool)
    # Places of an unnamed assembly may be those of any.
    bad |= _overlap(records, seen if not assembly else seen[seen["assembly"].isin([assembly, ""])])
    if bad.any():
        first = records["id"].iloc[int(np.argmax(bad))]
        message = f"test records must be unseen by the model's parents, got {int(bad.sum())} of {len(bad)} that one saw, such as {first!r}"
        cure = "Pretrain on other records: give the parent FASTA files without the chromosomes, groups or records of this task's test side"
        raise ModelFolderError(message, place=str(folder), cure=cure)


def _overlap(records: pd.DataFrame, seen: pd.DataFrame) -> NDArray[np.bool_]:
    """Which records share a letter with a seen place; chromosomes are compared with and without "chr"."""
    placed = records[PLACE].notna().all(axis=1).to_numpy(dtype=bool)
    known, asked = (table.assign(chrom=table["chrom"].map(common_name)) for table in (seen.dropna(subset=PLACE), records[placed]))
    found = np.zeros(len(records), dtype=bool)
    found[placed] = Cover(known).bases_of(asked) > 0
    return found


def _read(folder: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(folder / SEEN)
    except (OSError, ValueError) as error:
        message = f"model folder must hold {SEEN}, what it was trained on, got {type(error).__name__}"
        raise ModelFolderError(message, place=str(folder), cure="Train it again") from error
