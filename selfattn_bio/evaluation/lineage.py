"""List the records that a model and its parents saw, and refuse to test a model on them.

A parent is the pretrained model whose weights a training starts from. Each model folder has a table
(`seen.parquet`) of the records that the model and all its ancestors were trained or selected on. A
private model lists only the records that it was selected on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from selfattn_bio.arrays import Integers
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.errors import ModelFolderError
from selfattn_bio.evaluation.leakage import record_keys, was_seen
from selfattn_bio.model.checkpoint import PROVENANCE, TRAINING_RECORDS, read_provenance
from selfattn_bio.sequence.intervals import LOCUS
from selfattn_bio.sequence.tables import read_parquet

COLUMNS = {  # of the table
    "key": "str",
    "assembly": "str",
    "chrom": "str",
    "start": "Int64",
    "end": "Int64",
    "by_parent": "bool",
}


@dataclass(frozen=True)
class Lineage:
    """The ancestry of a parent model.

    Attributes
    ----------
    folder
        Model folder of the parent.
    seen
        Records that the parent model and its parents saw, in the form of `seen_table`.
    parents
        Entries for provenance.json: the parent model, then its parents.
    """

    folder: Path
    seen: pd.DataFrame
    parents: list[dict[str, Any]]

    def check(self, corpus: Corpus, rows: Integers) -> None:
        """Refuse test records that this model or one of its parents saw.

        Training calls this first, because `evaluate` would refuse the trained model. Parameters and
        errors are those of `check_unseen`.
        """
        records, keys = corpus.records.iloc[rows], record_keys(corpus.each(rows), corpus.alphabet)
        seen = was_seen(records, keys, corpus.assembly, self.seen)
        if seen.any():
            first = records["id"].iloc[int(np.argmax(seen))]
            ModelFolderError.fail(
                f"{int(seen.sum())} of {len(seen)} test records were seen by a parent of "
                f"the model, such as {first!r}",
                self.folder,
                "Pretrain on other records: give the parent FASTA files without the chromosomes, "
                "groups or records of this task's test split",
            )

    @property
    def coordinate_warning(self) -> str:
        """Return a warning if seen records lack coordinates, which limits `check`; otherwise ""."""
        without = int(self.seen[LOCUS].isna().any(axis=1).sum())
        if not without:
            return ""
        return (
            f"{without:,} of {len(self.seen):,} training records of the parent have no "
            "coordinates; test records that overlap them are not detected"
        )


def read_lineage(folder: Path) -> Lineage:
    """Read the lineage of a parent from its model folder.

    Raises
    ------
    ModelFolderError
        If the folder is incomplete, or from a version that did not write the table of seen records.
    """
    if not (folder / PROVENANCE).is_file():
        hint = "Train that task first, or correct parent in [transfer] of the run file"
        ModelFolderError.fail(
            f"the parent is no trained model: it has no {PROVENANCE}", folder, hint
        )
    provenance = read_provenance(folder)
    copied = ("weights_sha256", "corpus_fingerprint", "data", "num_train", "num_valid")
    own = {"folder": str(folder)} | {key: provenance.get(key) for key in copied}
    return Lineage(folder, _read(folder), [own, *provenance.get("parents", [])])


def seen_table(
    corpus: Corpus, rows: Integers, parent: Lineage | None, partners: Sequence[str] = ()
) -> pd.DataFrame:
    """Tabulate the records that a model was trained or selected on, and those its parents saw.

    Parameters
    ----------
    corpus, rows
        The corpus, and the row of each training and validation record.
    parent
        Lineage of the parent, if there is one.
    partners
        SHA-256 of the second input of each record, if there are two; appended to the key.

    Returns
    -------
    One row per record: key (hash of the sequence, the same for both strands), assembly, chrom,
    start, end (0-based half-open; missing if unknown) and by_parent (whether a parent saw it).
    """
    intervals = corpus.records[LOCUS].iloc[rows].reset_index(drop=True)
    keys = record_keys(corpus.each(rows), corpus.alphabet, partners)
    own = intervals.assign(key=keys, assembly=corpus.assembly, by_parent=False)
    if parent is None:
        return own
    return pd.concat([own, parent.seen.assign(by_parent=True)], ignore_index=True)


def keys_of_seen(folder: Path | None) -> set[str]:
    """Return the keys of all records that a model and its parents were trained or selected on.

    Empty for a model without a folder, or without a list in its folder.

    Raises
    ------
    ModelFolderError
        If the list of the model folder cannot be read.
    """
    if folder is None or not (folder / TRAINING_RECORDS).is_file():
        return set()
    return set(_read(folder)["key"])


def check_unseen(folder: Path, corpus: Corpus, rows: Integers) -> None:
    """Refuse test records that a parent of the model saw.

    A record was seen if a seen record has the same sequence on either strand, or overlaps it on the
    same assembly. If an assembly is unknown, it is treated as equal to the other one.

    Parameters
    ----------
    folder
        Model folder.
    corpus
        The corpus of the test records.
    rows
        Row of each of them.

    Raises
    ------
    ModelFolderError
        If a record was seen, which the message names, or the folder is incomplete.
    """
    if read_provenance(folder).get("parents"):
        seen = _read(folder)
        Lineage(folder, seen[seen["by_parent"]], []).check(corpus, rows)


def _read(folder: Path) -> pd.DataFrame:
    path, hint = folder / TRAINING_RECORDS, "Train the model again"
    try:
        table = read_parquet(path)
    except (OSError, ValueError) as error:
        message = f"cannot read the list of training records ({type(error).__name__})"
        raise ModelFolderError(message, place=str(path), hint=hint) from error
    for name, dtype in COLUMNS.items():
        if (found := str(table.dtypes.get(name, "missing"))) != dtype:
            ModelFolderError.fail(f"column {name!r} is {found}, not {dtype}", path, hint)
    return table
