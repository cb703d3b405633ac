"""Measure a training: its steps and evaluations, and how fast the machine computes them.

A checkpoint contains these numbers. The speed is the number of floating-point operations, relative
to the peak of the machine in a matrix product.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn

from selfattn_bio.model.encoder import SelfAttention
from selfattn_bio.model.paired import CrossBlock


class StepTotals(NamedTuple):
    """Loss of an optimizer step, and numbers of its letters and tokens, over all processes."""

    loss: float
    letters: int
    tokens: int


@dataclass
class History:
    """Count the steps and evaluations of a run; a checkpoint contains these numbers.

    Attributes
    ----------
    step
        Number of optimizer steps taken.
    best_steps
        [main metric, step] of the best evaluations, best first. If lower is better, the metric has
        a minus sign.
    letters, tokens
        Number of training letters and tokens, summed over the processes.
    overflows
        Steps since the last one with finite gradients.
    loss_sum, loss_steps
        Sum of the losses, and number of steps, since the last evaluation.
    rows
        One row of measurements per evaluation.
    threads
        CPU threads of the training, 0 before they are chosen.
    """

    step: int = 0
    best_steps: list[list[float]] = field(default_factory=list)
    letters: int = 0
    tokens: int = 0
    overflows: int = 0
    loss_sum: float = 0.0
    loss_steps: int = 0
    rows: list[dict[str, float]] = field(default_factory=list)
    threads: int = 0

    @property
    def best_step(self) -> int:
        """Return the step of the best evaluation, 0 before the first."""
        return int(self.best_steps[0][1]) if self.best_steps else 0

    @property
    def is_evaluated(self) -> bool:
        """Return whether the weights of this step were evaluated."""
        return bool(self.rows) and self.rows[-1]["step"] == self.step

    def add_step(self, totals: StepTotals) -> None:
        """Count an optimizer step."""
        self.step += 1
        self.letters += totals.letters
        self.tokens += totals.tokens
        self.loss_sum += totals.loss
        self.loss_steps += 1

    def add_evaluation(self, row: dict[str, float], value: float, kept: int) -> None:
        """Add a row, and its step to the best ones if it is one of the first `kept`.

        Higher values are better. The earlier of equal values wins. An undefined value is the
        worst.
        """
        self.rows.append(row)
        self.loss_sum, self.loss_steps = 0.0, 0
        entry = [value if math.isfinite(value) else -math.inf, self.step]
        ranked = sorted([*self.best_steps, entry], key=lambda each: (-each[0], each[1]))
        self.best_steps = ranked[:kept]

    def write(self, path: Path) -> None:
        """Write the evaluations as a CSV file with one row each."""
        pd.DataFrame(self.rows).to_csv(path, index=False)


BACKWARD = 3  # operations of forward and backward, relative to forward alone
PROBE = {"cpu": 512, "cuda": 8192}  # rows and columns of the matrices
ROUNDS = 10  # timed products


class FlopCounter:
    """Count the floating-point operations of all training steps of a network.

    Linear layers, convolutions and attended pairs are counted, with two operations per
    multiplication and addition. Padding counts, because it is computed. Recomputation to save
    memory does not count, as in the model FLOPs utilisation of PaLM (Chowdhery et al. 2022). Frozen
    layers count as if they were trained.
    """

    def __init__(self, network: nn.Module) -> None:
        self.total = 0.0
        for module in network.modules():
            if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | SelfAttention | CrossBlock):
                module.register_forward_hook(self._count)

    def _count(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if not module.training:
            return
        match module:
            case nn.Linear():
                products = output.numel() * module.in_features
            case nn.Conv1d() | nn.Conv2d():
                channels = module.in_channels // module.groups
                products = output.numel() * channels * math.prod(module.kernel_size)
            case SelfAttention():  # queries with keys, weights with values
                batch, length = output.shape[:2]
                products = batch * module.out.in_features * 2 * module.mixer.num_pairs(length)
            case _:  # CrossBlock
                products = 2 * output.numel() * inputs[1].shape[1]
        self.total += 2 * BACKWARD * products


def gemm_peak(device: torch.device, precision: str) -> float:
    """Return the floating-point operations per second of a large square matrix product.

    The current threads and the given precision are used; the best of several products counts.
    """
    size = PROBE[device.type]
    dtype = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(precision, torch.float32)
    a, b = (torch.ones(size, size, device=device, dtype=dtype) for _ in range(2))
    seconds = []
    for _ in range(ROUNDS + 1):  # the first one warms up
        start = time.perf_counter()
        product = a @ b
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    del product
    return 2 * size**3 / min(seconds[1:])


class Meter:
    """Measure the running time and speed of a training, over all its resumptions.

    Parameters
    ----------
    network
        Network that is trained.
    device, precision
        Device and precision of the training.

    Attributes
    ----------
    flop
        Counts the operations of this process.
    """

    def __init__(self, network: nn.Module, device: torch.device, precision: str) -> None:
        self.flop = FlopCounter(network)
        self._peak = gemm_peak(device, precision)
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Return the running time."""
        return time.monotonic() - self._started

    def state(self) -> dict[str, float]:
        """Return the time and operations so far, for a checkpoint."""
        return {"seconds": self.seconds, "flop": self.flop.total}

    def restore(self, state: dict[str, float]) -> None:
        """Continue from the state that `state` returned."""
        self._started = time.monotonic() - state["seconds"]
        self.flop.total = state["flop"]

    def speed(self, history: History, seconds: float) -> dict[str, float]:
        """Return the mean speed over the first `seconds` of the run, evaluations included.

        Letters and tokens are those of all processes. `gemm_fraction` is for this process: its
        floating-point operations per second, relative to those of a large matrix product.
        """
        return {
            "letters_per_second": history.letters / seconds,
            "tokens_per_second": history.tokens / seconds,
            "gemm_fraction": self.flop.total / seconds / self._peak,
        }
