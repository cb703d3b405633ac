"""The inputs that the steps of interpretation share: a trained model, its corpus and its split."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.config import AnyObjective, RunFile
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.errors import ArgumentError, CorpusError, ModelFolderError, RunFileError
from selfattn_bio.evaluation.lineage import check_unseen
from selfattn_bio.files import sha256_of
from selfattn_bio.model.checkpoint import check_trained_on
from selfattn_bio.model.user_module import allow_module_of
from selfattn_bio.objectives import objective_of
from selfattn_bio.scoring.loading import Models, load_single
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.sequence.split_table import read_split


@dataclass(frozen=True)
class TrainedModel:
    """A model of two classes, and the records that it was trained and selected on.

    Attributes
    ----------
    corpus, scorer
        The corpus and the model.
    folder
        The model folder.
    split
        The split table.
    records
        `corpus.records` with a column split; the index is the row in the corpus.
    """

    corpus: Corpus
    scorer: Scorer
    folder: Path
    split: Path
    records: pd.DataFrame

    @classmethod
    def open(
        cls,
        task: RunFile,
        corpus: Corpus,
        split: str | os.PathLike[str],
        model: Models,
        step: str,
    ) -> TrainedModel:
        """Load a model and check that it belongs to the task, the corpus and the split.

        Parameters
        ----------
        task, corpus, split
            Those of the training; `split` is the path of the split table.
        model
            The model folder, or the model that `load` returned for it.
        step
            Name of the step, for errors.

        Raises
        ------
        RunFileError
            If the objective is not binary.
        ModelFolderError
            If the model cannot be loaded, or was trained on another corpus or split, or for another
            objective.
        CorpusError
            If the split table cannot be read or belongs to another corpus.
        ValueError
            If the model is an ensemble, or was not loaded from a folder.
        """
        if not objective_of(task.objective).has_log_odds:
            raise RunFileError(
                f"{step} needs objective 'binary', but the run file has {task.objective.kind!r}",
                place=str(task.path or ""),
            )
        corpus.check_task(task)
        allow_module_of(task)
        scorer, table = load_single(model), Path(split)
        if scorer.folder is None:
            raise ArgumentError(f"{step} needs a model folder; save the model and load it first")
        check_trained_on(scorer.folder, corpus.fingerprint, sha256_of(table))
        check_objective(scorer.run.objective, task, scorer.folder)
        records = corpus.records.reset_index(drop=True)
        records = records.assign(split=read_split(table, records["id"]))
        return cls(corpus, scorer, scorer.folder, table, records)

    def letters(self, records: pd.DataFrame) -> list[NDArray[np.uint8]]:
        """Return the ASCII sequence of each of these rows of `records`."""
        return [self.corpus.letters(int(row)) for row in records.index]

    def test_records(self) -> pd.DataFrame:
        """Return the labelled test records.

        Raises
        ------
        CorpusError
            If there are none.
        """
        test = self.records[(self.records["split"] == "test") & self.records["label"].notna()]
        if test.empty:
            raise CorpusError(
                "test has no labelled record to test the evidence on",
                place=str(self.split),
                hint="Change [split]",
            )
        return test

    def check_unseen(self, records: pd.DataFrame, letters: Sequence[NDArray[np.uint8]]) -> None:
        """Refuse test records that a parent of the model saw; see `lineage.check_unseen`."""
        check_unseen(self.folder, records, letters, self.corpus.alphabet, self.corpus.assembly)


def check_objective(own: AnyObjective, task: RunFile, folder: Path) -> None:
    """Refuse a model whose objective differs from the run file's: its outputs would be misread.

    Raises
    ------
    ModelFolderError
        If they differ.
    """
    found, wanted = objective_of(own).describe(), objective_of(task.objective).describe()
    if found != wanted:
        raise ModelFolderError(
            f"the model has the objective {found}, the run file {wanted}",
            place=str(folder),
            hint="Use a model of this task, or train it again as a variant of this run file",
        )
