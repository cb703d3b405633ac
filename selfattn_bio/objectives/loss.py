"""The base class of losses, known targets, and the cross-entropy of these."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from selfattn_bio.arrays import Bools, Floats
from selfattn_bio.config import Training
from selfattn_bio.data.collation import TokenBatch, to_device

# Unknown class in integer targets; torch's cross-entropy ignores this value
UNKNOWN = -100


def count_known(targets: NDArray) -> int:
    """Count the known targets in an array from `Objective.targets` with one field."""
    if targets.dtype == object:
        return sum(map(count_known, targets))
    known = targets != UNKNOWN if targets.dtype.kind == "i" else np.isfinite(targets)
    return int(known.sum())


def known_rows(targets: NDArray) -> Bools:
    """Return which records have a known target, (n,), from an array of `Objective.targets`."""
    if targets.dtype.names:
        return np.any([known_rows(targets[name]) for name in targets.dtype.names], axis=0)
    return np.array([count_known(row) > 0 for row in targets], bool)


def without_unknown(targets: NDArray[np.int64]) -> Floats:
    """Return labels or classes (n,) as floats, NaN if unknown."""
    return np.where(targets == UNKNOWN, np.nan, targets)


@dataclass(frozen=True)
class Batch:
    """Store the inputs and targets of B records.

    Attributes
    ----------
    tokens
        Inputs of the network; some objectives replace tokens by [MASK].
    targets
        Targets of the outputs: a tensor, or a dict with one tensor per part for several parts.
    num_targets
        Number of terms in the loss.
    """

    tokens: TokenBatch
    targets: Any
    num_targets: int

    def to(self, device: torch.device) -> Batch:
        """Move tokens and targets to a device."""
        return Batch(self.tokens.to(device), to_device(self.targets, device), self.num_targets)


class Loss(ABC):
    """Turn a batch into inputs and targets, and outputs into a loss.

    Losses handle label smoothing, class weights, missing targets and masking. A loss is a sum over
    targets, and `Batch.num_targets` is their number. A step divides by the number of all its
    targets, so the result does not depend on how it was divided into batches. The losses of the M
    members of a network are averaged.
    """

    @abstractmethod
    def batch(self, tokens: TokenBatch, targets: NDArray) -> Batch:
        """Return the inputs and targets of B records, from the rows of `Objective.targets`.

        All tensors are on the CPU.
        """

    @abstractmethod
    def sum(self, outputs: Tensor, targets: Any) -> Tensor:
        """Return the sum of the loss over the batch, in float32.

        `outputs` are (B, M, C) per sequence, or (B, M, N, C) per token or position.
        """

    @abstractmethod
    def measure_outputs(self, outputs: Any, targets: NDArray) -> dict[str, float]:
        """Return loss and metrics of all records.

        `outputs` are those of `Objective.read`, averaged over the members of the network.
        `Objective.measure` takes predictions instead, and has no loss.
        """


def cross_entropy_sum(
    outputs: Tensor, targets: Tensor, smoothing: float = 0.0, weights: Tensor | None = None
) -> Tensor:
    """Return the cross-entropy of outputs (B, M, ..., C) with targets (B, ...).

    It is summed over known targets and averaged over members.
    """
    members = outputs.shape[1]
    flat = outputs.float().flatten(0, -2)
    repeated = targets[:, None].expand(outputs.shape[:-1]).flatten()
    known = repeated != UNKNOWN
    total = cross_entropy(
        flat[known], repeated[known], weights, label_smoothing=smoothing, reduction="sum"
    )
    return total / members


class ClassLoss(Loss):
    """Cross-entropy with label smoothing; targets without a class are ignored."""

    weights: Tensor | None = None  # of the classes

    def __init__(self, objective: Any, training: Training) -> None:
        self.objective, self.smoothing = objective, training.label_smoothing

    def sum(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of outputs (B, M, ..., C) with targets (B, ...) int."""
        weights = None if self.weights is None else self.weights.to(outputs.device)
        return cross_entropy_sum(outputs, targets, self.smoothing, weights)

    def measure_outputs(self, outputs: Any, targets: NDArray) -> dict[str, float]:
        known = targets != UNKNOWN
        loss = cross_entropy(
            torch.from_numpy(outputs[known]), torch.from_numpy(targets[known])
        ).item()
        predictions = self.objective.predictions(outputs)
        return {"loss": loss, **self.objective.measure(predictions, targets)}
