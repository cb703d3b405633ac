"""Predict one or more numbers per sequence."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import pearsonr, spearmanr
from torch import Tensor
from torch.nn.functional import huber_loss, mse_loss, poisson_nll_loss

from selfattn_bio import config
from selfattn_bio.errors import CorpusError
from selfattn_bio.objectives.base import AnswerKind, Array
from selfattn_bio.objectives.numbers import Columns, ColumnsLoss, over_columns
from selfattn_bio.objectives.outputs import NumberOutput, Output
from selfattn_bio.sequence.kmers import KmerTokenizer

PSEUDO_COUNT = 0.5  # added to counts before taking the logarithm


class Regression(Columns[config.RegressionObjective], kind="regression"):
    """Numbers in the units of the table, or rates of counts."""

    main_metric = "pearson"
    predicts = "predicts numbers, in the units of its training table"
    has_coverage = True
    column_prefix = ""

    @property
    def outputs(self) -> tuple[Output, ...]:
        is_count = self.section.loss == "poisson"
        return tuple(
            NumberOutput(
                name,
                column,
                truth=partial(_log_count, column=column) if is_count else itemgetter((..., column)),
                value=itemgetter((..., column))
                if is_count
                else partial(self._in_unit, column=column),
                unit=f"log of {name}" if is_count else name,
                scale=1.0 if is_count else scale,
            )
            for column, (name, scale) in enumerate(
                zip(self.section.columns, self.section.scale, strict=False)
            )
        )

    def _in_unit(self, outputs: Array, column: int) -> Array:
        return self.predictions(outputs)[..., column]

    @property
    def rule(self) -> str:
        return "a count of 0 or more" if self.section.loss == "poisson" else "a finite number"

    def is_valid(self, numbers: pd.Series) -> pd.Series:
        finite = np.isfinite(numbers)
        return (numbers >= 0) & finite if self.section.loss == "poisson" else finite

    def complete(
        self, train: pd.DataFrame, records: pd.DataFrame, place: str
    ) -> config.RegressionObjective:
        """Return the section with mean and standard deviation of the training records."""
        if self.section.center:
            return self.section
        values = self.targets(train, records, place)
        for column, known in zip(self.section.columns, np.isfinite(values).T, strict=True):
            if not known.any():
                raise CorpusError(
                    f"column {column!r} has no number in the training split", place=place
                )
        center, scale = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
        return self.section.model_copy(
            update={
                "center": tuple(center.tolist()),
                "scale": tuple(np.where(scale > 0, scale, 1.0).tolist()),
            }
        )

    def loss(
        self, run: config.RunFile, tokenizer: KmerTokenizer, targets: NDArray
    ) -> RegressionLoss:
        return RegressionLoss(self)

    def predictions(self, outputs: Array) -> Array:
        if self.section.loss == "poisson":
            return np.exp(outputs)
        return outputs * np.array(self.section.scale) + np.array(self.section.center)

    @property
    def answer_kind(self) -> AnswerKind:  # type: ignore[override]
        return "count" if self.section.loss == "poisson" else "number"

    def output_targets(self, targets: NDArray) -> NDArray:
        """Return standardised numbers; counts are returned unchanged."""
        if self.section.loss == "poisson":
            return targets
        return (targets - np.array(self.section.center)) / np.array(self.section.scale)

    def measure(self, predictions: Array, targets: NDArray) -> dict[str, float]:
        """Compute pearson, spearman, r2 and mse, averaged over columns."""
        return {
            name: over_columns(metric, predictions, targets) for name, metric in METRICS.items()
        }

    def nonconformity(self, outputs: Array, targets: NDArray) -> Array:
        return np.abs(self.predictions(outputs) - targets)

    def counted(self, targets: NDArray) -> NDArray[np.bool_]:
        return np.isfinite(targets)

    def coverage_columns(self, outputs: Array, quantiles: Array) -> dict[str, Any]:
        """Return the lower and upper bound of each column; for several models, of their union."""
        predicted, widths = self.predictions(outputs), quantiles[:, None]
        low, high = (predicted - widths).min(axis=0), (predicted + widths).max(axis=0)
        return {
            f"{end}_{name}": of[:, i]
            for i, name in enumerate(self.section.columns)
            for end, of in (("low", low), ("high", high))
        }


class RegressionLoss(ColumnsLoss):
    """Regression of standardised numbers or of counts.

    Numbers use squared error or Huber's loss. Counts use the Poisson likelihood, with the logarithm
    of the rate as output.
    """

    def __init__(self, objective: Regression) -> None:
        super().__init__(objective)
        self.regression, self.section = objective, objective.section

    def of_known(self, outputs: Tensor, targets: Tensor) -> Tensor:
        match self.section.loss:
            case "mse":
                return mse_loss(outputs, targets, reduction="none")
            case "huber":
                return huber_loss(outputs, targets, reduction="none")
            case "poisson":
                return poisson_nll_loss(outputs, targets, log_input=True, reduction="none")

    def to_output_units(self, targets: NDArray) -> NDArray:
        return self.regression.output_targets(targets)


def _log_count(counts: Array, column: int) -> Array:
    """Return the logarithm of a column of counts (n, C), which is compared with log rates."""
    return np.log(counts[:, column] + PSEUDO_COUNT)


def _correlation(test: Callable[..., Any], predicted: Array, truth: Array) -> float:
    if len(truth) < 2 or np.ptp(truth) == 0 or np.ptp(predicted) == 0:
        return float("nan")
    return float(test(predicted, truth).statistic)


def _r2(predicted: Array, truth: Array) -> float:
    total = float(((truth - truth.mean()) ** 2).sum())
    return 1 - float(((predicted - truth) ** 2).sum()) / total if total else float("nan")


def _mse(predicted: Array, truth: Array) -> float:
    return float(((predicted - truth) ** 2).mean())


METRICS: dict[str, Callable[[Array, Array], float]] = {
    "pearson": partial(_correlation, pearsonr),
    "spearman": partial(_correlation, spearmanr),
    "r2": _r2,
    "mse": _mse,
}
