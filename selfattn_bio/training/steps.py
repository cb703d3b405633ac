"""Compute the gradients of each optimizer step: plain, and balanced over groups of records.

`private.PrivateSteps` are the third kind of steps.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from selfattn_bio import config
from selfattn_bio.arrays import Floats, Integers
from selfattn_bio.data.batches import BalancedOrder
from selfattn_bio.data.collation import Collation
from selfattn_bio.errors import CorpusError
from selfattn_bio.evaluation.groups import groups_of, worst_auroc
from selfattn_bio.objectives.loss import Batch, Loss
from selfattn_bio.training.data import SplitRecords, Stream, TrainingData
from selfattn_bio.training.hardware import sum_of_all
from selfattn_bio.training.history import StepTotals


class Steps:
    """Plain training: the mean loss of each step, and a limit on the norm of its gradient.

    Parameters
    ----------
    fabric
        Processes, device and precision.
    data
        Records and run file.
    network
        The network to train, as Fabric wraps it.
    collate
        Converts sequences into tokens.
    loss
        Converts targets into tensors, and outputs into a loss.

    Attributes
    ----------
    stream
        The batches of each step.
    main_metric
        Name of the validation metric that chooses the best weights.
    sign
        1 if higher values of the main metric are better, otherwise -1.
    """

    # whether messages and model folder may describe training records and their loss
    shows_records: ClassVar[bool] = True

    def __init__(
        self, fabric: Fabric, data: TrainingData, network: Any, collate: Collation, loss: Loss
    ) -> None:
        self.fabric, self.data, self.network = fabric, data, network
        self.collate, self.loss = collate, loss
        self.main_metric = data.objective.main_metric
        self.sign = 1 if data.objective.higher_is_better else -1
        self._prepare()
        self.stream = self._build_stream()

    def _prepare(self) -> None:
        """Check the run and compute what the stream needs; other kinds of steps override this."""

    def _build_stream(self) -> Stream:
        return Stream(self.data.run, self.data.corpus, self.data.train)

    # ------------ steps
    def add_gradients(self, step: int) -> StepTotals:
        """Accumulate the gradients of a step over its batches and all processes.

        The loss is the mean over all targets of the step.
        """
        batches, counts = [], np.zeros(3)  # numbers of targets, letters and tokens
        for epoch, rows in self.stream.batches(step):
            mine, weight = _own_rows(rows, self.fabric)
            batch, num_letters = self.batch(epoch, mine)
            batches.append((batch, weight))
            counts += weight * np.array(
                [batch.num_targets, num_letters, int(batch.tokens.lengths.sum())]
            )
        num_targets, letters, tokens = sum_of_all(self.fabric, counts)
        num_targets = max(num_targets, 1.0)  # 0 if no record has a target; the loss is then 0
        # a tensor: reading its value waits for the device
        loss = torch.zeros((), dtype=torch.float64, device=self.fabric.device)
        for number, (batch, weight) in enumerate(batches, start=1):
            with self.fabric.no_backward_sync(self.network, enabled=number < len(batches)):
                loss += self.backward(batch, weight, num_targets)
        (total,) = sum_of_all(self.fabric, np.array([loss.item()]))
        return StepTotals(float(total), round(letters), round(tokens))

    def first_batch(self) -> Batch:
        """Return the part of the first batch that this process computes."""
        epoch, rows = self.stream.batches(0)[0]
        return self.batch(epoch, _own_rows(rows, self.fabric)[0])[0]

    def batch(self, epoch: int, rows: Integers) -> tuple[Batch, int]:
        """Return a batch of rows of the training split, and its number of letters."""
        inputs, targets = self.stream.examples(epoch, rows)
        batch = self.loss.batch(self.collate(inputs), targets)
        return batch.to(self.fabric.device), self.collate.num_letters(inputs)

    def backward(self, batch: Batch, weight: float, num_targets: float) -> Tensor:
        """Add the gradients of a batch; return its part of the mean loss over `num_targets`."""
        loss = self.loss.sum(self.network(batch.tokens.ids), batch.targets) * weight / num_targets
        # Fabric averages gradients over the processes; their sum is wanted
        self.fabric.backward(loss * self.fabric.world_size)
        return loss.detach()

    def finish_gradients(self, optimizer: torch.optim.Optimizer, step: int) -> float:
        """Clip the gradients of a step and return their norm before it."""
        norm = self.fabric.clip_gradients(
            self.network,
            optimizer,
            max_norm=self.data.run.training.clip_norm,
            error_if_nonfinite=False,
        )
        assert norm is not None  # None only if values are clipped
        return float(norm)

    # ------------ evaluation
    def metrics(self, predictions: Any) -> dict[str, float]:
        """Return loss and metrics of the predictions of the validation split."""
        return self.loss.measure_outputs(predictions, self.data.valid.targets)

    # ------------ messages, checkpoints and provenance
    def notes(self) -> list[str]:
        """Return lines about this kind of training, for its start."""
        return []

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint must contain to continue these steps."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from the state that `state` returned."""

    def provenance(self) -> dict[str, Any]:
        """Return the entries of provenance.json about the training records and their protection."""
        if not self.data.objective.is_labelled:
            return {}
        return {"num_positive": int(self.data.train.targets.sum())}


def _own_rows(rows: Integers, fabric: Fabric) -> tuple[Integers, float]:
    """Return the rows of a batch that this process computes, and their weight in the loss.

    Processes take turns, and the weight is 1. A batch with fewer rows than processes is computed by
    every process, and the weight is 1 / number of processes.
    """
    if len(rows) < fabric.world_size:
        return rows, 1 / fabric.world_size
    return rows[fabric.global_rank :: fabric.world_size], 1.0


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
        self.main_metric = "worst_auroc"
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
        self.cells: Integers = np.unique(2 * numbers + data.train.targets, return_inverse=True)[1]

    def _build_stream(self) -> Stream:
        data, training = self.data, self.data.run.training
        if isinstance(self.section, config.ReweightBalance):
            return Stream(data.run, data.corpus, weighted(data.train, self.cells))
        order = BalancedOrder(
            data.lengths(data.train), training.batch_size, training.seed, self.cells
        )
        return Stream(data.run, data.corpus, data.train, order)

    def metrics(self, predictions: Floats) -> dict[str, float]:
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


def weighted(train: SplitRecords, cells: Integers) -> SplitRecords:
    """Return the training split with label and weight of each record as targets, (n, 2).

    All cells have the same total weight, and the mean weight is 1.
    """
    counts = np.bincount(cells)
    weights = len(cells) / (len(counts) * counts[cells])
    return replace(train, targets=np.stack([train.targets, weights], axis=1))
