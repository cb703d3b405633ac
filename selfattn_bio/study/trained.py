"""The inputs that the steps of interpretation share: a trained model, its corpus and its split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.config import AnyObjective, RunFile
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.errors import ArgumentError, CorpusError, ModelFolderError, RunFileError
from selfattn_bio.evaluation.lineage import check_unseen
from selfattn_bio.files import sha256_of
from selfattn_bio.log import LOG
from selfattn_bio.model.checkpoint import check_trained_on
from selfattn_bio.model.user_module import search_folder_of
from selfattn_bio.objectives import objective_of
from selfattn_bio.objectives.outputs import Output, find_output
from selfattn_bio.scoring.loading import load_single
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.sequence.split_table import read_split
from selfattn_bio.study.study import Study

MOST_OUTPUTS = 4  # that are interpreted if [interpret] targets names none


@dataclass(frozen=True)
class TrainedModel:
    """A model with one score per record, and the records that it was trained and selected on.

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
    def of(cls, study: Study, step: str) -> TrainedModel:
        """Load the model of a study and check that it belongs to its task, corpus and split.

        Parameters
        ----------
        study
            The study; if it has several members, the first is loaded.
        step
            Name of the step, for errors.

        Raises
        ------
        RunFileError
            If the objective has no outputs with one score per record.
        ModelFolderError
            If the model cannot be loaded, or was trained on another corpus or split, or for another
            objective.
        CorpusError
            If the split table cannot be read or belongs to another corpus.
        """
        task, corpus, split = study.task, study.corpus, study.existing(study.root, "split")
        if study.address.job:
            raise RunFileError(
                f"{step} cannot be used with a job of a sweep, which is only trained and ranked",
                place=study.place,
                hint="Copy its settings into the run file, and train the task",
            )
        objective = objective_of(task.objective)
        if objective.no_motifs:
            raise RunFileError(
                f"{step} cannot be used with objective {objective.kind!r}: {objective.no_motifs}",
                place=study.place,
            )
        corpus.check_task(task)
        search_folder_of(task)
        folder = study.existing(study.files, "model")
        check_trained_on(folder, corpus.fingerprint, sha256_of(split))
        study.warn_if_edited()
        scorer = load_single(folder)
        check_objective(scorer.run.objective, task, folder)
        records = corpus.records.reset_index(drop=True)
        records = records.assign(split=read_split(split, records["id"]))
        return cls(corpus, scorer, folder, split, records)

    @cached_property
    def values(self) -> NDArray[Any]:
        """Return the targets of all records, as from `Objective.targets`.

        Raises
        ------
        CorpusError
            If a value is not valid.
        """
        objective = self.scorer.objective
        table = self.corpus.targets(objective.section.target_columns)
        return objective.targets(table, self.records, self.corpus.targets_place)

    def truth(self, output: Output) -> pd.Series:
        """Return the target of each record for an output, NaN if unknown; errors as `values`."""
        return pd.Series(output.truth(self.values), index=self.records.index)

    def candidates(self, output: Output) -> pd.DataFrame:
        """Return the records of train and valid that may be explained; errors as `values`."""
        is_candidate = output.candidates(self.truth(output).to_numpy())
        return self.records[is_candidate & self.records["split"].isin(["train", "valid"])]

    def outputs(self, targets: Sequence[str], place: str) -> list[Output]:
        """Return the outputs with these names; at most `MOST_OUTPUTS` if none is named.

        These are the ones with most records that could be explained, the first if equal.

        Raises
        ------
        RunFileError
            If there is no such output; `place` is the run file that names it.
        """
        known = self.scorer.objective.outputs
        if not targets and len(known) > MOST_OUTPUTS:
            ranked = sorted(known, key=lambda output: -len(self.candidates(output)))
            targets = [output.name for output in ranked[:MOST_OUTPUTS]]
            LOG.info(
                f"of {len(known)} outputs those with most records are explained: "
                f"{', '.join(targets)}; choose others with targets in [interpret]"
            )
        try:
            return [find_output(known, name) for name in targets] or list(known)
        except ArgumentError as error:
            raise RunFileError(error.message, place=place, hint=error.hint) from None

    def test_records(self, outputs: Sequence[Output]) -> pd.DataFrame:
        """Return the test records with a known target of one of the outputs.

        Raises
        ------
        CorpusError, ModelFolderError
            If there are none, or a parent of the model saw one of them.
        """
        known = pd.concat([self.truth(output).notna() for output in outputs], axis=1).any(axis=1)
        test = self.records[(self.records["split"] == "test") & known]
        if test.empty:
            message = "test has no labelled record to test the evidence on"
            raise CorpusError(message, place=str(self.split), hint="Change [split]")
        check_unseen(self.folder, self.corpus, test.index.to_numpy())
        return test


def check_objective(own: AnyObjective, task: RunFile, folder: Path) -> None:
    """Refuse a model whose objective differs from the run file's: its outputs would be misread.

    Raises
    ------
    ModelFolderError
        If they differ.
    """
    found, wanted = objective_of(own).describe(), objective_of(task.objective).describe()
    if found != wanted:
        message = f"the model has the objective {found}, the run file {wanted}"
        hint = "Use a model of this task, or train it again as a variant of this run file"
        raise ModelFolderError(message, place=str(folder), hint=hint)
