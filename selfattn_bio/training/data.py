"""Training data: splits, targets, and the stream of batches."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.config import RunFile, place_of
from selfattn_bio.data.batches import BatchOrder, PoissonOrder, RecordWindows, laid_windows
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.data.inputs import Augmentation, Edits, View, inputs_of
from selfattn_bio.errors import ArgumentError, CorpusError, RunFileError
from selfattn_bio.evaluation.lineage import Lineage, read_lineage
from selfattn_bio.files import sha256_of
from selfattn_bio.objectives import Objective, objective_of
from selfattn_bio.objectives.outputs import find_output
from selfattn_bio.sequence.split_table import read_split
from selfattn_bio.split_names import SPLIT_NAMES, SPLITS


@dataclass(frozen=True)
class SplitRecords:
    """Store one split: rows of the corpus, (n,), and their targets (binary runs: labels, (n,))."""

    rows: NDArray[np.int64]
    targets: NDArray


def complete_targets(
    run: RunFile, corpus: Corpus, rows: dict[str, NDArray[np.int64]], split_path: Path
) -> tuple[Objective[Any], dict[str, NDArray]]:
    """Complete the objective from the training records, and read the targets of each split.

    The test records are checked as well, so that errors appear before training and not after it.

    Parameters
    ----------
    run, corpus
        Run file and records.
    rows
        Rows of the corpus by split.
    split_path
        Path of the split table, for error messages.

    Returns
    -------
    The objective with its class names, mean and deviation, and the targets by split. Those of
    training and validation are permuted if the run is a control with shuffled labels.
    """
    corpus.check_task(run)
    for name, of_split in rows.items():
        _check_lengths(run, corpus, of_split, name, split_path)
    objective, columns = objective_of(run.objective), run.objective.target_columns
    table = corpus.targets(columns) if columns else pd.DataFrame(index=range(len(corpus)))
    place = corpus.targets_place if columns else str(corpus.path)
    of_train = table.iloc[rows["train"]], corpus.records.iloc[rows["train"]]
    objective = objective_of(objective.complete(*of_train, place))
    _check_explained(run, objective)
    targets = {
        name: objective.targets(table.iloc[of], corpus.records.iloc[of], place)
        for name, of in rows.items()
    }
    for name in ("train", "valid"):
        objective.check_split(targets[name], name, place, str(split_path))
    # the split of a sweep has no test records
    for name in ("valid", "test") if len(rows["test"]) else ("valid",):
        objective.check_evaluated(targets[name], name, place)
    if run.is_control():
        for name in ("train", "valid"):
            rng = np.random.default_rng((run.training.seed, len(rows[name])))
            targets[name] = rng.permutation(targets[name])
    return objective, targets


def _check_explained(run: RunFile, objective: Objective[Any]) -> None:
    """Check before training that the outputs in [interpret] targets exist."""
    try:
        for name in () if objective.no_motifs else run.interpret.targets or ():
            find_output(objective.outputs, name)
    except ArgumentError as error:
        place = place_of(run.path, "interpret", "targets") if run.path else ""
        raise RunFileError(error.message, place=place, hint=error.hint) from None


def _check_lengths(
    run: RunFile, corpus: Corpus, rows: NDArray[np.int64], name: str, split_path: Path
) -> None:
    if not len(rows):
        if name == "test":
            return
        raise CorpusError(f"the {SPLIT_NAMES[name]} split has no records", place=str(split_path))
    lengths = corpus.records["length"].to_numpy()[rows]
    least, what = objective_of(run.objective).shortest(run.tokens.k)
    if lengths.min() < least:
        short = corpus.records["id"].iloc[rows[lengths.argmin()]]
        message = (
            f"record {short!r} has {lengths.min()} {corpus.alphabet.unit}, fewer than {what} = "
            f"{least}"
        )
        CorpusError.fail(message, corpus.path, f"Lower {what} or raise data.min_length")


class Stream:
    """Provide the batches of each step, epoch after epoch.

    A batch contains records of similar length, unless `order` defines other batches. The batches of
    any step can be requested, so that a resumed run continues with the same ones.
    """

    def __init__(
        self,
        run: RunFile,
        corpus: Corpus,
        split: SplitRecords,
        order: BatchOrder | PoissonOrder | None = None,
    ) -> None:
        training = run.training
        self.corpus, self.split, self.accumulate = corpus, split, training.accumulate
        self.inputs = inputs_of(run, corpus)
        self.windows = RecordWindows(
            corpus.records["length"].to_numpy()[split.rows], training.window
        )
        self.order = order or BatchOrder(
            self.windows.sampled_lengths(), training.batch_size, training.seed
        )
        self.objective = objective_of(run.objective)
        self.per_epoch = math.ceil(len(self.windows) / training.batch_size)
        edits = Edits(**training.edits.model_dump()) if training.edits else None
        self.augmentation = Augmentation(
            training.shift,
            training.reverse_complement,
            self.objective.shortest(run.tokens.k)[0],
            training.seed,
            training.substitution,
            self.objective.alignment,
            training.window,
            edits,
            math.ceil(self.epoch_of(training.max_steps) * training.edits.until)
            if training.edits
            else 0,
        )
        self._batches_of_epoch = lru_cache(maxsize=1)(self.order.epoch)

    def epoch_of(self, step: int) -> float:
        """Return the number of epochs before a step."""
        return step * self.accumulate / self.per_epoch

    def batches(self, step: int) -> list[tuple[int, NDArray[np.int64]]]:
        """Return epoch and window indices of each batch of a step.

        Without [training] window, the windows are the rows of the split.
        """
        found = []
        for position in range(step * self.accumulate, (step + 1) * self.accumulate):
            epoch, at = divmod(position, self.per_epoch)
            found.append((epoch, self._batches_of_epoch(epoch)[at]))
        return found

    def ids(self, step: int) -> list[str]:
        """Return the ids of the records of a step, with the interval if windows are used."""
        ids, found = self.corpus.records["id"], []
        for epoch, windows in self.batches(step):
            records = self.split.rows[self.windows.records(windows)[0]]
            if self.augmentation.window is None:
                found += ids.iloc[records].tolist()
                continue
            views = zip(records, self._views(epoch, windows), strict=True)
            found += [f"{ids.iloc[record]}:{view.first}-{view.last}" for record, (_, view) in views]
        return found

    def examples(self, epoch: int, windows: NDArray[np.int64]) -> tuple[list[Any], NDArray]:
        """Return the model inputs of B windows of the split and their targets (B, ...)."""
        views = self._views(epoch, windows)
        targets = self.split.targets[self.windows.records(windows)[0]]
        targets = self.objective.targets_of_views(targets, [view for _, view in views])
        return [seen for seen, _ in views], targets

    def _views(self, epoch: int, windows: NDArray[np.int64]) -> list[tuple[Any, View]]:
        records, numbers = self.windows.records(windows)
        each = zip(self.split.rows[records].tolist(), numbers.tolist(), strict=True)
        return [
            self.inputs.seen(self.augmentation, record, epoch, number) for record, number in each
        ]


@dataclass(frozen=True)
class TrainingData:
    """Store the data of a training.

    Attributes
    ----------
    run
        Run file, completed from the training records: class names, means.
    corpus
        All records: training, validation and test.
    split_sha256
        SHA-256 of the split table.
    train, valid
        Training and validation split.
    objective
        The objective of the run.
    lineage
        Ancestry of the parent of [transfer], or None.
    """

    run: RunFile
    corpus: Corpus
    split_sha256: str
    train: SplitRecords
    valid: SplitRecords
    objective: Objective[Any]
    lineage: Lineage | None

    @classmethod
    def read(cls, run: RunFile, corpus: Corpus, split_path: Path) -> TrainingData:
        """Read the splits and check them, and check that no parent saw a test record.

        Raises
        ------
        CorpusError, ModelFolderError
            As for `Trainer`.
        """
        # read now, because the parent's folder may have changed by the end of this run
        lineage = read_lineage(run.transfer.folder) if run.transfer else None
        split = np.array(read_split(split_path, corpus.records["id"]))
        rows = {name: np.flatnonzero(split == name) for name in SPLITS}
        if lineage:  # check now: `evaluate` would refuse the trained model
            lineage.check(corpus, rows["test"])
        objective, targets = complete_targets(run, corpus, rows, split_path)
        train, valid = (SplitRecords(rows[name], targets[name]) for name in ("train", "valid"))
        run = run.model_copy(update={"objective": objective.section})
        return cls(run, corpus, sha256_of(split_path), train, valid, objective, lineage)

    def letters(self, split: SplitRecords) -> list[NDArray[np.uint8]]:
        """Return the sequences of a split, ASCII, for evaluation and for reference statistics.

        These are its records or, with [training] window, adjacent windows of them.
        """
        if (window := self.run.training.window) is None:
            return [self.corpus.letters(int(row)) for row in split.rows]
        return laid_windows(self.corpus, split.rows, window, self.run.tokens.k).letters

    def lengths(self, split: SplitRecords) -> NDArray[np.int64]:
        """Return the length of each record of a split, (n,)."""
        return self.corpus.records["length"].to_numpy()[split.rows]
