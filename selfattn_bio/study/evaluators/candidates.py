"""Check, load and size the models that are evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfattn_bio.config import RunFile, read_run_file
from selfattn_bio.data.inputs import inputs_of
from selfattn_bio.errors import ModelFolderError
from selfattn_bio.evaluation.lineage import check_unseen
from selfattn_bio.files import read_json, sha256_of
from selfattn_bio.model.checkpoint import (
    RETRAIN,
    RUN,
    TRAINING_COST,
    check_trained_on,
    read_stack_weights,
)
from selfattn_bio.scoring.loading import load
from selfattn_bio.scoring.scorer import Ensemble, Scorer
from selfattn_bio.study.evaluators.records import EvaluationRecords
from selfattn_bio.study.trained import check_objective


@dataclass(frozen=True)
class Candidate:
    """A model or variant to evaluate, with one model folder per member.

    Attributes
    ----------
    folders
        The model folders. Members are the trainings of [training] seeds.
    """

    folders: list[Path]

    def load(self) -> Scorer | Ensemble:
        """Load the model, or the mean of its members; errors are those of `load`.

        Only one candidate at a time should be in memory.
        """
        return load(self.folders)

    def members(self) -> list[Scorer]:
        """Load each member, without a check that their outputs may be averaged."""
        return [load(path) for path in self.folders]

    def runs(self) -> list[RunFile]:
        """Read the run file of each member."""
        return [read_run_file(folder / RUN) for folder in self.folders]

    def size(self) -> dict[str, int]:
        """Count the networks and trainings, and the parts of the first member's stack."""
        runs = self.runs()
        size = {"networks": sum(run.model.members for run in runs), "trainings": len(runs)}
        stack = read_stack_weights(self.folders[0])
        return size | ({"parts": len(stack.parts)} if stack and stack.parts else {})

    def cost(self) -> dict[str, Any]:
        """Return the cost of training: for several members total time, peak memory, mean speed."""
        each = [
            read_json(folder / TRAINING_COST, ModelFolderError, RETRAIN) for folder in self.folders
        ]
        if len(each) == 1:
            return each[0]
        seconds, memory, speed = (
            [of[key] for of in each] for key in ("seconds", "peak_memory_mb", "letters_per_second")
        )
        return {
            "seconds": sum(seconds),
            "peak_memory_mb": max(memory),
            "letters_per_second": sum(speed) / len(speed),
            "members": each,
        }


def check_candidates(
    candidates: Mapping[str, Candidate],
    task: RunFile,
    records: EvaluationRecords,
    split: Path,
) -> None:
    """Refuse models that were trained on other data, or on records of the test split.

    Raises
    ------
    ModelFolderError
        If a model was trained on another corpus, split or objective, a parent of it saw a test
        record, or "model" reads other strands than the run file.
    """
    corpus, test, split_sha256 = records.corpus, records.rows["test"], sha256_of(split)
    _check_strands(candidates["model"], task)
    for candidate in candidates.values():
        for folder in candidate.folders:
            check_trained_on(folder, corpus.fingerprint, split_sha256)
            check_objective(read_run_file(folder / RUN).objective, task, folder)
            check_unseen(
                folder,
                corpus.records.iloc[test],
                corpus.each(test),
                corpus.alphabet,
                corpus.assembly,
            )


def inputs_by_split(scorer: Scorer, records: EvaluationRecords) -> dict[str, list[Any]]:
    """Return the model's inputs for the records of each split."""
    inputs = inputs_of(scorer.run, records.corpus)
    return {
        split: [inputs.of(int(row)) for row in of_split] for split, of_split in records.rows.items()
    }


def _check_strands(model: Candidate, task: RunFile) -> None:
    """Refuse a model that reads other strands than the run file, which its baselines follow."""
    names = {True: "both strands", False: "the given strand"}
    for folder, run in zip(model.folders, model.runs(), strict=True):
        if (own := run.both_strands) != task.both_strands:
            raise ModelFolderError(
                f"the model scores {names[own]}, but the run file {names[not own]}",
                place=str(folder),
                hint="Undo the change of the strands in the run file, or train the model again",
            )
