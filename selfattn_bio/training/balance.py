"""Groups of records that count alike in training, however many records each has: by weights of their loss, or by how often they are drawn.

Hides: cells, of each group and label one. The loop alone uses it. Which of the two, and by what, says [training] balance; a target with a
weight is read by `objectives.WeightedBinary`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from selfattn_bio import config
from selfattn_bio.data.balanced import BalancedOrder
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.errors import CorpusError
from selfattn_bio.evaluation.groups import Names, groups_of
from selfattn_bio.training.sides import Side

WEIGHTED = np.dtype([("label", np.int64), ("weight", np.float64)])


class Balance:
    """What a balanced run has beside a plain one; each kind is a subclass, registered in `build_balance`.

    Parameters
    ----------
    section
        Of [training].
    sides
        train and valid, with labels 0 and 1.

    Attributes
    ----------
    valid
        The group of each record of valid, (n,): a balanced run is chosen by the worst of them.
    cells
        The number of the cell of each training record, (n,): two of each group, but where it lacks a label.

    Raises
    ------
    CorpusError
        If all training records are in one group, or there is no such column.
    """

    how: ClassVar[str]  # in words, what records of a cell are

    def __init__(self, section: config.Balance, corpus: Corpus, sides: dict[str, Side]) -> None:
        self.section = section
        found: dict[str, Names] = groups_of(section.by, corpus, {name: side.rows for name, side in sides.items()}, section.bins)
        groups, numbers = np.unique(found["train"].astype(str), return_inverse=True)
        if len(groups) < 2:
            message = f"training.balance must be by what differs in train, got one group by {section.by!r}: {str(groups[0])!r}"
            raise CorpusError(message, place=str(corpus.path))
        self.valid = found["valid"]
        self.groups: list[str] = groups.tolist()
        self.cells: NDArray[np.int64] = np.unique(2 * numbers + sides["train"].targets, return_inverse=True)[1]

    def side(self, train: Side) -> Side:
        """Train as the objective takes it."""
        return train

    def order(self, lengths: NDArray[np.int64], training: config.Training) -> BalancedOrder | None:
        """The batches, of records of so many letters; None where they are those of any run."""
        return None

    def words(self) -> str:
        """The groups and the smallest cell, for the screen."""
        counts, groups = np.bincount(self.cells), f"{len(self.groups)} groups ({', '.join(self.groups)})"
        return (
            f"balanced by {self.section.by}: {groups}, those of each with each label {self.how} as any other's; "
            f"they are {counts.min():,} to {counts.max():,}; the best step is that of the highest AUROC on valid of the worst"
        )


class Reweighted(Balance):
    """Each record's loss has a weight."""

    how = "weighed as much"

    def weights(self) -> NDArray[np.float64]:
        """Of each training record, (n,): together those of a cell are as much as those of any other, and the mean is 1."""
        counts = np.bincount(self.cells)
        return len(self.cells) / (len(counts) * counts[self.cells])

    def side(self, train: Side) -> Side:
        """Train with labels and their weights for targets."""
        targets = np.empty(len(train.rows), WEIGHTED)
        targets["label"], targets["weight"] = train.targets, self.weights()
        return replace(train, targets=targets)


class Sampled(Balance):
    """Records of a small cell are drawn more often."""

    how = "drawn as often"

    def order(self, lengths: NDArray[np.int64], training: config.Training) -> BalancedOrder:
        """See `BalancedOrder`."""
        return BalancedOrder(lengths, training.batch_size, training.seed, self.cells)


def build_balance(section: config.Balance, corpus: Corpus, sides: dict[str, Side]) -> Balance:
    """The kind that the run file names; arguments and errors as of `Balance`."""
    match section:
        case config.ReweightBalance():
            return Reweighted(section, corpus, sides)
        case config.SampleBalance():
            return Sampled(section, corpus, sides)
