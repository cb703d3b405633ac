"""Score the validation split with the running mean of the weights, unless a stop signal arrives.

Scoring may take longer than torchrun or Slurm wait after SIGTERM, so signals are checked after each
batch. A process that was stopped tells the others, which would wait for it otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray

from selfattn_bio.data.inputs import Inputs
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.training.data import TrainingData
from selfattn_bio.training.hardware import max_of_all, sum_of_all
from selfattn_bio.training.resume import StopSignals


@dataclass
class Validation:
    """Score the validation split. All processes must call the same methods.

    Parameters
    ----------
    fabric
        Processes and device.
    data
        Records and run file.
    inputs
        Inputs of the model for each record.
    scorer
        Scores with the running mean of the weights.
    signals
        Stop signals that this process received.
    """

    fabric: Fabric
    data: TrainingData
    inputs: Inputs
    scorer: Scorer
    signals: StopSignals

    def outputs(self) -> Any | None:
        """Return the outputs of all records, as `Objective.read` returns them.

        Returns None if a stop signal arrived in any process. All processes use the batch-norm
        statistics of the first. Each one scores a part of the records, or all records if there are
        outputs per token or fewer records than processes.
        """
        if self.fabric.world_size > 1:
            for buffer in self.scorer.network.buffers():
                torch.distributed.broadcast(buffer, src=0)
        rows = self.data.valid.rows
        objective = self.data.objective
        if objective.outputs_per != "sequence":
            letters = self.data.letters(self.data.valid)
            return self._unless_stopped(objective.read_batches(self.scorer, letters), len(letters))
        rank, processes = self.fabric.global_rank, self.fabric.world_size
        # a process without records would not know the shape of the outputs
        is_divided = len(rows) >= processes
        mine = slice(rank, None, processes) if is_divided else slice(None)
        inputs = [self.inputs.of(int(row)) for row in rows[mine]]
        part = self._unless_stopped(objective.read_batches(self.scorer, inputs), len(inputs))
        if part is None:
            return None
        outputs = np.zeros((len(rows), *part[0].shape))
        outputs[mine] = part
        return sum_of_all(self.fabric, outputs) if is_divided else outputs

    def _unless_stopped(
        self, batches: Iterable[tuple[NDArray[np.int64], Iterable[Any]]], number: int
    ) -> list[Any] | None:
        """Return the values of `number` records, or None if any process was stopped meanwhile."""
        found: list[Any] = [None] * number
        for rows, values in batches:
            for row, value in zip(rows, values, strict=True):
                found[row] = value
            if self.signals.received:
                break
        return None if max_of_all(self.fabric, self.signals.received) else found
