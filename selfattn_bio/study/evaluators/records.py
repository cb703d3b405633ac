"""Read the records of an evaluation by split, and hold the result of an evaluator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.baselines import Baseline
from selfattn_bio.config import RunFile
from selfattn_bio.data.batches import Laid, laid_windows
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.display import counted
from selfattn_bio.errors import CorpusError
from selfattn_bio.evaluation.bins import blocks_of
from selfattn_bio.evaluation.metrics import Units
from selfattn_bio.evaluation.summary import EVALUATED_SPLITS
from selfattn_bio.files import sha256_of
from selfattn_bio.log import LOG
from selfattn_bio.objectives import objective_of
from selfattn_bio.sequence.split_table import read_split
from selfattn_bio.split_names import SPLIT_NAMES

BLOCK = 500_000  # bp; default of [evaluation] block
Letters = dict[str, list[NDArray[np.uint8]]]


class Measured(NamedTuple):
    """The result of an evaluator.

    Fields are the content of metrics.json, a table of predictions for each of the splits "valid"
    and "test", and the fitted baselines that are saved, by name.
    """

    metrics: dict[str, Any]
    predictions: dict[str, pd.DataFrame]
    baselines: Mapping[str, Baseline]


@dataclass(frozen=True)
class EvaluationRecords:
    """The records of an evaluation, by split: "train" for baselines, "valid" and "test".

    Attributes
    ----------
    corpus
        The corpus of the records.
    rows
        Rows of the corpus, (n,) for each split.
    letters
        ASCII sequences, one array (L,) per row.
    keys, unit
        Records with equal keys, (number of records in the corpus,), are resampled together; what
        such units are.
    windows
        Windows of the records if [training] window is set; then `rows` and `letters` have one
        element per window. Otherwise empty.
    """

    corpus: Corpus
    rows: dict[str, NDArray[np.int64]]
    letters: Letters
    keys: NDArray[Any]
    unit: str
    windows: Mapping[str, Laid] = field(default_factory=dict)

    @classmethod
    def read(cls, task: RunFile, corpus: Corpus, split: Path) -> EvaluationRecords:
        """Read all records of a split table; only labelled ones if the objective is binary.

        Raises
        ------
        CorpusError
            If a split is empty, or lacks one of two classes.
        """
        assigned = np.array(read_split(split, corpus.records["id"]))
        rows = {name: np.flatnonzero(assigned == name) for name in ("train", *EVALUATED_SPLITS)}
        if objective_of(task.objective).is_labelled:
            rows = {name: _labelled(corpus, rows[name], name, split) for name in rows}
        if empty := [name for name, of_split in rows.items() if not len(of_split)]:
            raise CorpusError(
                f"the {empty[0]} split is empty",
                place=str(split),
                hint="Change [split] in the run file",
            )
        letters = {
            name: [corpus.letters(int(i)) for i in of_split] for name, of_split in rows.items()
        }
        return cls(corpus, rows, letters, *_units(task, corpus, split))

    def in_windows(self, task: RunFile) -> EvaluationRecords:
        """Return the windows of [training] window; the records themselves if it is not set.

        Raises
        ------
        CorpusError
            If a split has no window with known letters.
        """
        if (window := task.training.window) is None:
            return self
        k = max(run.tokens.k for run in task.trained.values())
        windows = {
            split: laid_windows(self.corpus, of_split, window, k)
            for split, of_split in self.rows.items()
        }
        counts = ", ".join(f"{split} {len(of.rows):,}" for split, of in windows.items())
        LOG.info(
            f"adjacent windows of at most {window:,} {self.corpus.alphabet.unit}, evenly "
            f"subsampled if there are too many: {counts}"
        )
        rows = {split: of.rows for split, of in windows.items()}
        letters = {split: of.letters for split, of in windows.items()}
        return replace(self, rows=rows, letters=letters, windows=windows)

    def counts(self, task: RunFile) -> list[str]:
        """Return the number of records of each split as text, and of positives if there are any."""
        if not objective_of(task.objective).is_labelled:
            return [f"{split} {counted(len(rows), 'record')}" for split, rows in self.rows.items()]
        return [
            f"{split} {counted(len(labels), 'record')} ({int(labels.sum())} positive)"
            for split, labels in self.labels().items()
        ]

    def origin(self, split: Path) -> dict[str, str]:
        """Return the source of the records, which saved baselines name."""
        return {
            "corpus_fingerprint": self.corpus.fingerprint,
            "split_sha256": sha256_of(split),
        }

    def labels(self) -> dict[str, NDArray[np.int64]]:
        """Return the labels of the records, 0 or 1, (n,) for each split."""
        return {
            split: self.corpus.records["label"].iloc[of_split].to_numpy(dtype="int64")
            for split, of_split in self.rows.items()
        }

    def units(self) -> dict[str, Units]:
        """Return the records that are resampled together, for the validation and test splits."""
        return {
            split: Units.of(self.keys[self.rows[split]], self.unit) for split in EVALUATED_SPLITS
        }

    def ids(self, split: str) -> list[str]:
        """Return the id of each record of a split."""
        return self.corpus.records["id"].iloc[self.rows[split]].tolist()


def _units(task: RunFile, corpus: Corpus, split: Path) -> tuple[NDArray[Any], str]:
    """Return a key for each record of the corpus, and what records with equal keys are.

    These are the clusters, groups or species of the split, or blocks of a chromosome if records
    have coordinates. Windows of a record always belong together.
    """
    records, kind = corpus.records, task.split.kind
    names = {"cluster": "clusters", "group": "groups", "species": "species"}
    if kind in names:  # the reasons say which
        table = pd.read_csv(split, sep="\t", dtype=str, keep_default_na=False)
        return table["reason"].to_numpy(), names[kind]
    block, keys = task.evaluation.block or BLOCK, -1 - np.arange(len(records))
    located = (records["chrom"].notna() & records["start"].notna()).to_numpy()
    keys[located] = blocks_of(records[located], block)
    return keys, f"blocks of {block:,} bp" if located.any() else "records"


def _labelled(corpus: Corpus, rows: NDArray[np.int64], split: str, path: Path) -> NDArray[np.int64]:
    """Return the labelled rows of a split; both labels must occur."""
    labels = corpus.records["label"].iloc[rows]
    if sorted(set(labels.dropna().astype(int))) != [0, 1]:
        counts = " and ".join(
            counted(int((labels == label).sum()), noun)
            for label, noun in ((1, "positive"), (0, "negative"))
        )
        raise CorpusError(
            f"the {SPLIT_NAMES[split]} split has {counts}; it needs both",
            place=str(path),
            hint="Change [split] in the run file",
        )
    return rows[labels.notna().to_numpy()]
