"""Read what a training needs: the completed run file, its records and the parent's ancestry."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.config import RunFile
from selfattn_bio.data.batches import laid_windows
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.evaluation.lineage import Lineage, read_lineage
from selfattn_bio.objectives import Objective
from selfattn_bio.sequence.split_table import read_split
from selfattn_bio.split_names import SPLITS
from selfattn_bio.training.splits import SplitRecords, complete_targets


@dataclass(frozen=True)
class TrainingData:
    """Store the data of a training.

    Attributes
    ----------
    run
        Run file, completed from the training records: class names, means.
    corpus
        All records: training, validation and test.
    train, valid
        Training and validation split.
    objective
        The objective of the run.
    lineage
        Ancestry of the parent of [transfer], or None.
    """

    run: RunFile
    corpus: Corpus
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
            As for `training.loop.train`.
        """
        # read now, because the parent's folder may have changed by the end of this run
        lineage = read_lineage(run.transfer.folder) if run.transfer else None
        split = np.array(read_split(split_path, corpus.records["id"]))
        rows = {name: np.flatnonzero(split == name) for name in SPLITS}
        if lineage:  # check now: `evaluate` would refuse the trained model
            test = rows["test"]
            lineage.check(
                corpus.records.iloc[test], corpus.each(test), corpus.alphabet, corpus.assembly
            )
        objective, targets = complete_targets(run, corpus, rows, split_path)
        train, valid = (SplitRecords(rows[name], targets[name]) for name in ("train", "valid"))
        run = run.model_copy(update={"objective": objective.section})
        return cls(run, corpus, train, valid, objective, lineage)

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
