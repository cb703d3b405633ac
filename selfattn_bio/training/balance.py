"""Balanced training: groups of records count equally, whatever their sizes.

[training] balance selects loss weights or more frequent sampling, and the grouping.
`objectives.binary.WeightedBinaryLoss` reads targets with weights.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from selfattn_bio import config
from selfattn_bio.data.batches import BalancedOrder
from selfattn_bio.errors import CorpusError
from selfattn_bio.evaluation.groups import groups_of, worst_auroc
from selfattn_bio.training.data import SplitRecords, Stream
from selfattn_bio.training.steps import Steps


class BalancedSteps(Steps):
    """Balanced training: groups count equally, and the worst group chooses the best weights.

    Parameters are those of `Steps`; labels are 0 and 1.

    Attributes
    ----------
    groups
        Name of each group of training records.
    valid_groups
        Group of each validation record, (n,).
    cells
        Number of the cell of each training record, (n,). A cell is a group and a label; empty cells
        have no number.

    Raises
    ------
    CorpusError
        If all training records are in one group, or the column does not exist.
    """

    def _prepare(self) -> None:
        data, section = self.data, self.data.run.training.balance
        assert section is not None
        self.section: config.AnyBalance = section
        rows = {"train": data.train.rows, "valid": data.valid.rows}
        found = groups_of(section.by, data.corpus, rows, section.bins)
        groups, numbers = np.unique(found["train"].astype(str), return_inverse=True)
        if len(groups) < 2:
            raise CorpusError(
                f"all training records have the same {section.by!r}, {str(groups[0])!r}; "
                "training.balance needs at least two groups",
                place=str(data.corpus.path),
            )
        self.groups: list[str] = groups.tolist()
        self.valid_groups = found["valid"]
        self.cells: NDArray[np.int64] = np.unique(
            2 * numbers + data.train.targets, return_inverse=True
        )[1]

    def _build_stream(self) -> Stream:
        data, training = self.data, self.data.run.training
        if isinstance(self.section, config.ReweightBalance):
            return Stream(data.run, data.corpus, weighted(data.train, self.cells))
        order = BalancedOrder(
            data.lengths(data.train), training.batch_size, training.seed, self.cells
        )
        return Stream(data.run, data.corpus, data.train, order)

    @property
    def main_metric(self) -> str:
        return "worst_auroc"

    def metrics(self, predictions: NDArray[np.float64]) -> dict[str, float]:
        """Return loss and metrics, with the AUROC of the worst group."""
        worst = worst_auroc(self.valid_groups, self.data.valid.targets, predictions[:, 0])
        return {**super().metrics(predictions), "worst_auroc": worst}

    def notes(self) -> list[str]:
        """Describe the groups and the size of their cells."""
        counts, kind = np.bincount(self.cells), self.section.kind
        how = {"reweight": "weighted equally", "sample": "sampled equally often"}[kind]
        return [
            f"balanced by {self.section.by}: {len(self.groups)} groups "
            f"({', '.join(self.groups)}); all combinations of group and label "
            f"({counts.min():,} to {counts.max():,} records) are {how}; the weights of the step "
            "with the highest validation AUROC in the worst group are kept"
        ]


def weighted(train: SplitRecords, cells: NDArray[np.int64]) -> SplitRecords:
    """Return the training split with label and weight of each record as targets, (n, 2).

    All cells have the same total weight, and the mean weight is 1.
    """
    counts = np.bincount(cells)
    weights = len(cells) / (len(counts) * counts[cells])
    return replace(train, targets=np.stack([train.targets, weights], axis=1))
