"""Base classes of objectives with one output per numeric column; values may be missing."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfattn_bio.config import MultilabelObjective, RegressionObjective
from selfattn_bio.data.collation import Tokens
from selfattn_bio.errors import CorpusError
from selfattn_bio.objectives.base import (
    Answer,
    AnswerKind,
    Array,
    Objective,
    OutputMeasurer,
    Predictions,
)
from selfattn_bio.objectives.loss import Batch, Loss
from selfattn_bio.sequence.readers.table import MISSING

ColumnsT = TypeVar("ColumnsT", MultilabelObjective, RegressionObjective)


class Columns(Objective[ColumnsT]):
    """One number per column of the table; targets are floats (n, C), NaN if missing.

    Attributes
    ----------
    answer_kind
        What simple models learn, see `Answer`.
    """

    answer_kind: AnswerKind = "number"

    @property
    @abstractmethod
    def rule(self) -> str:
        """Return the rule that every value follows, for error messages."""

    @abstractmethod
    def is_valid(self, numbers: pd.Series) -> pd.Series:
        """Return which numbers follow the rule; texts that are no numbers are NaN."""

    def targets(self, table: pd.DataFrame, records: pd.DataFrame, place: str) -> NDArray:
        """Return the numbers, float (n, C), NaN if missing."""
        columns = [self._numbers(table[column], place) for column in self.section.columns]
        return np.stack(columns, axis=1)

    def _numbers(self, values: pd.Series, place: str) -> Array:
        """Convert a column of text to numbers (n,), NaN where missing."""
        values = values.mask(values.astype("str").str.strip().str.lower().isin(MISSING))
        numbers = pd.to_numeric(values, errors="coerce").astype(np.float64)
        invalid = values[values.notna() & ~self.is_valid(numbers)]
        if invalid.size:
            raise CorpusError(
                f"invalid value {invalid.tolist()[0]!r} in column {values.name!r}; use {self.rule} "
                "or leave it empty",
                place=place,
            )
        return np.asarray(numbers, dtype=np.float64)

    def output_measurer(self, predictions: Predictions, targets: NDArray) -> OutputMeasurer:
        values = np.asarray(predictions)
        columns = [
            (name, self.measurer(values[:, [i]], targets[:, [i]]))
            for i, name in enumerate(self.section.columns)
        ]
        return lambda rows: {
            (name, metric): value
            for name, measured in columns
            for metric, value in measured(rows).items()
        }

    def answers(self, targets: NDArray) -> list[Answer]:
        return [Answer(self.answer_kind, column) for column in self.output_targets(targets).T]

    def output_targets(self, targets: NDArray) -> NDArray:
        """Convert targets to the units of the outputs, for simple models."""
        return targets


class ColumnsLoss(Loss):
    """Base class of losses of known numbers."""

    def __init__(self, objective: Columns[Any]) -> None:
        self.objective = objective

    def batch(self, tokens: Tokens, targets: NDArray) -> Batch:
        scaled = torch.from_numpy(self.to_output_units(targets))
        return Batch(tokens, scaled.float(), int(np.isfinite(targets).sum()))

    def to_output_units(self, targets: NDArray) -> NDArray:
        """Convert targets to the units of the outputs."""
        return targets

    def sum(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of outputs (B, M, C) with targets (B, C) float, NaN if unknown."""
        targets = targets[:, None].expand_as(outputs)
        known = targets.isfinite()
        return self.of_known(outputs.float()[known], targets[known]).sum() / outputs.shape[1]

    @abstractmethod
    def of_known(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each known value, (n,)."""

    def measure_outputs(self, outputs: Array, targets: NDArray) -> dict[str, float]:
        known = np.isfinite(targets)
        loss = (
            self.of_known(
                torch.from_numpy(outputs)[known],
                torch.from_numpy(self.to_output_units(targets))[known],
            )
            .mean()
            .item()
        )
        predictions = self.objective.predictions(outputs)
        return {"loss": loss, **self.objective.measure(predictions, targets)}


def over_columns(
    metric: Callable[[Array, Array], float], predictions: Array, targets: Array
) -> float:
    """Return the mean of a metric over columns (n, C), ignoring missing targets."""
    values = []
    for predicted, truth in zip(predictions.T, targets.T, strict=True):
        known = np.isfinite(truth)
        values.append(metric(predicted[known], truth[known]) if known.any() else float("nan"))
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
