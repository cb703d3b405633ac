"""Balanced training: groups of records count equally, whatever their sizes.

[training] balance selects loss weights or more frequent sampling, and the grouping.
`objectives.binary.WeightedBinaryLoss` reads targets with weights.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from lightning_fabric import Fabric
from numpy.typing import NDArray

from selfattn_bio import config
from selfattn_bio.data.balanced import BalancedOrder
from selfattn_bio.data.collation import Collation
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.errors import CorpusError
from selfattn_bio.evaluation.groups import Names, groups_of, worst_auroc
from selfattn_bio.objectives.loss import Loss
from selfattn_bio.training.data import TrainingData
from selfattn_bio.training.splits import SplitRecords, Stream
from selfattn_bio.training.steps import Steps

WEIGHTED = np.dtype([("label", np.int64), ("weight", np.float64)])


class Balance:
    """Base class of balanced training; `build_balance` registers each subclass.

    Parameters
    ----------
    section
        The section `balance` of [training].
    splits
        Training and validation splits, with labels 0 and 1.

    Attributes
    ----------
    valid
        Group of each validation record, (n,). The best step of a balanced run is chosen by the
        worst group.
    cells
        Number of the cell of each training record, (n,). A cell is a group and a label; empty cells
        have no number.

    Raises
    ------
    CorpusError
        If all training records are in one group, or the column does not exist.
    """

    how: ClassVar[str]  # how the records of a cell are treated, for messages

    def __init__(
        self, section: config.AnyBalance, corpus: Corpus, splits: dict[str, SplitRecords]
    ) -> None:
        self.section = section
        found: dict[str, Names] = groups_of(
            section.by, corpus, {name: split.rows for name, split in splits.items()}, section.bins
        )
        groups, numbers = np.unique(found["train"].astype(str), return_inverse=True)
        if len(groups) < 2:
            message = (
                f"all training records have the same {section.by!r}, {str(groups[0])!r}; "
                "training.balance needs at least two groups"
            )
            raise CorpusError(message, place=str(corpus.path))
        self.valid = found["valid"]
        self.groups: list[str] = groups.tolist()
        self.cells: NDArray[np.int64] = np.unique(
            2 * numbers + splits["train"].targets, return_inverse=True
        )[1]

    def with_targets(self, train: SplitRecords) -> SplitRecords:
        """Return the training split with the targets that the objective expects."""
        return train

    def order(self, lengths: NDArray[np.int64], training: config.Training) -> BalancedOrder | None:
        """Return the order of batches for records of these lengths; None for the default order."""
        return None

    def words(self) -> str:
        """Describe the groups and the size of their cells."""
        counts, groups = (
            np.bincount(self.cells),
            f"{len(self.groups)} groups ({', '.join(self.groups)})",
        )
        return (
            f"balanced by {self.section.by}: {groups}; all combinations of group and label "
            f"({counts.min():,} to {counts.max():,} records) are {self.how}; the weights of the "
            "step with the highest validation AUROC in the worst group are kept"
        )


class Reweighted(Balance):
    """Weight the loss of each record."""

    how = "weighted equally"

    def weights(self) -> NDArray[np.float64]:
        """Return the weight of each training record, (n,).

        All cells have the same total weight, and the mean weight is 1.
        """
        counts = np.bincount(self.cells)
        return len(self.cells) / (len(counts) * counts[self.cells])

    def with_targets(self, train: SplitRecords) -> SplitRecords:
        """Return the training split with labels and weights as targets."""
        targets = np.empty(len(train.rows), WEIGHTED)
        targets["label"], targets["weight"] = train.targets, self.weights()
        return replace(train, targets=targets)


class SampledBalance(Balance):
    """Sample records of small cells more often."""

    how = "sampled equally often"

    def order(self, lengths: NDArray[np.int64], training: config.Training) -> BalancedOrder:
        """Return a `BalancedOrder` over the cells."""
        return BalancedOrder(lengths, training.batch_size, training.seed, self.cells)


def build_balance(
    section: config.AnyBalance, corpus: Corpus, splits: dict[str, SplitRecords]
) -> Balance:
    """Build the kind that the run file names; arguments and errors as for `Balance`."""
    match section:
        case config.ReweightBalance():
            return Reweighted(section, corpus, splits)
        case config.SampleBalance():
            return SampledBalance(section, corpus, splits)


class BalancedSteps(Steps):
    """Balanced training: groups count equally, and the worst group chooses the best weights.

    Parameters are those of `Steps`, errors those of `Balance`.
    """

    def __init__(
        self,
        fabric: Fabric,
        data: TrainingData,
        network: Any,
        collate: Collation,
        loss: Loss,
    ) -> None:
        section = data.run.training.balance
        assert section is not None
        splits = {"train": data.train, "valid": data.valid}
        self.balance = build_balance(section, data.corpus, splits)
        super().__init__(fabric, data, network, collate, loss)

    def _build_stream(self) -> Stream:
        data = self.data
        order = self.balance.order(data.lengths(data.train), data.run.training)
        return Stream(data.run, data.corpus, self.balance.with_targets(data.train), order)

    @property
    def main_metric(self) -> str:
        return "worst_auroc"

    def metrics(self, predictions: NDArray[np.float64]) -> dict[str, float]:
        """Return loss and metrics, with the AUROC of the worst group."""
        worst = worst_auroc(self.balance.valid, self.data.valid.targets, predictions[:, 0])
        return {**super().metrics(predictions), "worst_auroc": worst}

    def notes(self) -> list[str]:
        return [self.balance.words()]
