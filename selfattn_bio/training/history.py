"""Count the steps and evaluations of a training.

A checkpoint contains these numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pandas as pd


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

    def speed(self, seconds: float) -> dict[str, float]:
        """Return the mean speed over the first `seconds` of the run, evaluations included.

        Letters and tokens are those of all processes.
        """
        return {
            "letters_per_second": self.letters / seconds,
            "tokens_per_second": self.tokens / seconds,
        }
