"""Predict one number, or one label of 0 or 1, per column of the table; values may be missing."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from operator import itemgetter
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import scipy
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn.functional import (
    binary_cross_entropy_with_logits,
    cosine_similarity,
    huber_loss,
    mse_loss,
    poisson_nll_loss,
)

from selfattn_bio import config
from selfattn_bio.config import MultilabelObjective, RegressionObjective
from selfattn_bio.data.collation import TokenBatch
from selfattn_bio.errors import CorpusError
from selfattn_bio.objectives.base import (
    Answer,
    AnswerKind,
    Array,
    Exported,
    Measurer,
    Objective,
    OutputMeasurer,
    Predictions,
    measurer_of_each,
)
from selfattn_bio.objectives.loss import Batch, Loss
from selfattn_bio.objectives.normalisation import quantiles, size_factors, to_quantiles
from selfattn_bio.objectives.outputs import LabelOutput, NumberOutput, Output, joined_names
from selfattn_bio.objectives.ranking import Counts, label_metrics, number_metrics
from selfattn_bio.sequence.kmers import KmerTokenizer
from selfattn_bio.sequence.readers.table import LABEL_WORDS, is_missing
from selfattn_bio.split_names import SPLIT_NAMES

ColumnsT = TypeVar("ColumnsT", MultilabelObjective, RegressionObjective)
PSEUDO_COUNT = 0.5  # added to counts before taking the logarithm
ANSWERS: dict[str, AnswerKind] = {"huber": "robust", "poisson": "count"}  # others: "number"
WORDS = dict.fromkeys(LABEL_WORDS, "1") | dict.fromkeys(LABEL_WORDS.values(), "0")
LARGEST = 1e30  # number, whose square is finite in float32 after scaling
LEAST_ACROSS = 3  # columns for a correlation across columns
NEARLY = 1e-9  # smallest range of a column, relative to its numbers; less is rounding


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
        columns = [self._numbers(table[column], records, place) for column in self.section.columns]
        return np.stack(columns, axis=1)

    def _numbers(self, values: pd.Series, records: pd.DataFrame, place: str) -> Array:
        """Convert a column of text to numbers (n,), NaN where missing."""
        values = values.mask(values.map(is_missing))
        numbers = pd.to_numeric(values, errors="coerce").astype(np.float64)
        if (wrong := (values.notna() & ~self.is_valid(numbers)).to_numpy()).any():
            row = int(wrong.argmax())
            raise CorpusError(
                f"invalid value {values.iloc[row]!r} in column {values.name!r} of record "
                f"{records['id'].iloc[row]!r}; use {self.rule} or leave it empty",
                place=place,
            )
        return np.asarray(numbers, dtype=np.float64)

    def output_measurer(self, predictions: Predictions, targets: NDArray) -> OutputMeasurer:
        values = np.asarray(predictions)
        columns = {
            name: self.measurer(values[:, [i]], targets[:, [i]])
            for i, name in enumerate(self.section.columns)
        }
        return measurer_of_each(columns)

    def answers(self, targets: NDArray) -> list[Answer]:
        return [Answer(self.answer_kind, column) for column in self.output_targets(targets).T]

    def output_targets(self, targets: NDArray) -> NDArray:
        """Convert targets to the units of the outputs, for simple models."""
        return targets


class ColumnsLoss(Loss):
    """Base class of losses of known numbers."""

    def __init__(self, objective: Columns[Any]) -> None:
        self.objective = objective

    def batch(self, tokens: TokenBatch, targets: NDArray) -> Batch:
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
        truth = torch.from_numpy(self.to_output_units(targets))[known]
        loss = self.of_known(torch.from_numpy(outputs)[known], truth).mean().item()
        predictions = self.objective.predictions(outputs)
        return {"loss": loss, **self.objective.measure(predictions, targets)}


def over_columns(
    metrics: Callable[[Array, Array], Callable[[Counts], dict[str, float]]],
    predictions: Predictions,
    targets: NDArray,
) -> Measurer:
    """Return a function from rows to the means of metrics over columns (n, C) that have them.

    `metrics` is `label_metrics` or `number_metrics`. Missing targets are ignored.
    """
    columns = []
    for predicted, truth in zip(np.asarray(predictions).T, targets.T, strict=True):
        known = np.isfinite(truth)
        columns.append((known, metrics(predicted[known], truth[known])))

    def measured(rows: NDArray[np.int64]) -> dict[str, float]:
        counts = np.bincount(rows, minlength=len(targets)).astype(np.float32)
        each = [of_column(counts[known]) for known, of_column in columns]
        return {name: mean_of_known([of[name] for of in each]) for name in each[0]}

    return measured


def mean_of_known(values: ArrayLike) -> float:
    """Return the mean of the known values; NaN if there is none."""
    values = np.asarray(values)
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


class Multilabel(Columns[config.MultilabelObjective], kind="multilabel"):
    """Several labels per sequence."""

    main_metric = "auroc"
    predicts = "predicts the probability of each label"
    exported = (torch.sigmoid, "probability")
    rule = "0 or 1, or words such as no and yes, or inactive and active"
    answer_kind = "label"

    @property
    def outputs(self) -> tuple[Output, ...]:
        return tuple(
            LabelOutput(
                name, column, truth=itemgetter((..., column)), value=itemgetter((..., column))
            )
            for column, name in enumerate(self.section.columns)
        )

    def _numbers(self, values: pd.Series, records: pd.DataFrame, place: str) -> Array:
        numbers = values.astype("str").str.strip().str.lower().map(WORDS)
        return super()._numbers(numbers.fillna(values), records, place)

    def is_valid(self, numbers: pd.Series) -> pd.Series:
        return numbers.isin([0, 1])

    def loss(
        self, run: config.RunFile, tokenizer: KmerTokenizer, targets: NDArray
    ) -> MultilabelLoss:
        return MultilabelLoss(self, run.training)

    def predictions(self, outputs: Array) -> Array:
        return scipy.special.expit(outputs)

    def calls(self, predictions: Array, threshold: float = 0.5) -> dict[str, Any]:
        return {"predicted": joined_names(self.section.columns, predictions >= threshold)}

    def measurer(self, predictions: Predictions, targets: NDArray) -> Measurer:
        """Return a function from rows to auroc and auprc, averaged over labels."""
        return over_columns(label_metrics, predictions, targets)


class MultilabelLoss(ColumnsLoss):
    """Binary cross-entropy of each label, with label smoothing."""

    def __init__(self, objective: Multilabel, training: config.Training) -> None:
        super().__init__(objective)
        self.smoothing = training.label_smoothing

    def of_known(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(
            outputs, targets * (1 - self.smoothing) + self.smoothing / 2, reduction="none"
        )


class Regression(Columns[config.RegressionObjective], kind="regression"):
    """Numbers in the units of the table, or rates of counts."""

    main_metric = "pearson"
    predicts = "predicts numbers, in the units of its training table or of its normalisation"
    has_coverage = True
    column_prefix = ""

    @property
    def outputs(self) -> tuple[Output, ...]:
        is_count = self.section.loss == "poisson"
        kind = "log" if is_count else self.section.normalisation
        return tuple(
            NumberOutput(
                name,
                column,
                truth=partial(_log_count, column=column) if is_count else itemgetter((..., column)),
                value=itemgetter((..., column))
                if is_count
                else partial(self._in_unit, column=column),
                unit=name if kind == "none" else f"{kind} of {name}",
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
        if self.section.normalisation == "log2":
            return "a number above 0 for normalisation 'log2'"
        is_count = self.section.loss == "poisson"
        return "a count of 0 or more" if is_count else "a finite number below 1e30"

    def is_valid(self, numbers: pd.Series) -> pd.Series:
        finite = numbers.abs() <= LARGEST
        if self.section.normalisation == "log2":
            return finite & (numbers > 0)
        return (numbers >= 0) & finite if self.section.loss == "poisson" else finite

    def targets(self, table: pd.DataFrame, records: pd.DataFrame, place: str) -> NDArray:
        values = super().targets(table, records, place)
        if self.section.normalisation == "log2":
            return np.log2(values)
        levels = np.array(self.section.normaliser)  # (C, 1) size factors, or (C, LEVELS) quantiles
        if not self.section.normaliser:
            return values
        return values / levels.T if levels.shape[1] == 1 else to_quantiles(values, levels)

    def check_split(self, targets: NDArray, split: str, place: str, split_path: str) -> None:
        for column, values in zip(self.section.columns, targets.T, strict=True):
            known = values[np.isfinite(values)]
            if len(known) > 1 and np.ptp(known) <= max(NEARLY * np.abs(known).max(), 1 / LARGEST):
                text = f"column {column!r} is {'nearly ' * bool(np.ptp(known))}{known[0]:g} in all "
                text += f"records of the {SPLIT_NAMES[split]} split"
                hint = "Remove it from [objective] columns, or use a larger unit"
                CorpusError.fail(text, place, hint)
        super().check_split(targets, split, place, split_path)

    def complete(
        self, train: pd.DataFrame, records: pd.DataFrame, place: str
    ) -> config.RegressionObjective:
        """Return the section with normaliser, mean and deviation of the training records."""
        if self.section.center:
            return self.section
        values = self.targets(train, records, place)
        for column, of_column in zip(self.section.columns, values.T, strict=True):
            known = of_column[np.isfinite(of_column)]
            if not len(known):
                CorpusError.fail(f"column {column!r} has no number in the training split", place)
        if self.section.compares_columns and not self.section.normaliser:
            fit = size_factors if self.section.normalisation == "size_factor" else quantiles
            normaliser = tuple(map(tuple, fit(values, place).tolist()))
            section = self.section.model_copy(update={"normaliser": normaliser})
            return type(self)(section).complete(train, records, place)
        center, scale = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
        if self.section.loss == "cosine_mse":  # one scale, which keeps the angles between records
            center, scale = np.zeros_like(center), np.full_like(scale, np.nanmean(values**2) ** 0.5)
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
    def exported(self) -> Exported:  # type: ignore[override]
        if self.section.loss == "poisson":
            return torch.exp, "count"
        scale, center = map(torch.tensor, (self.section.scale, self.section.center))
        return lambda outputs: outputs * scale + center, "number of the training table"

    @property
    def answer_kind(self) -> AnswerKind:  # type: ignore[override]
        return ANSWERS.get(self.section.loss, "number")

    def output_targets(self, targets: NDArray) -> NDArray:
        """Return standardised numbers; counts are returned unchanged."""
        if self.section.loss == "poisson":
            return targets
        return (targets - np.array(self.section.center)) / np.array(self.section.scale)

    def measurer(self, predictions: Predictions, targets: NDArray) -> Measurer:
        """Return a function from rows to pearson, spearman, r2 and mse, averaged over columns.

        With three or more columns, `pearson_across` is the correlation over the columns of each
        record, averaged over records.
        """
        measured = over_columns(number_metrics, predictions, targets)
        if len(self.section.columns) < LEAST_ACROSS:
            return measured
        across = pearson_across(np.asarray(predictions), targets)
        return lambda rows: measured(rows) | {"pearson_across": mean_of_known(across[rows])}

    def nonconformity(self, outputs: Array, targets: NDArray) -> dict[str, Array]:
        errors, known = np.abs(self.predictions(outputs) - targets), np.isfinite(targets)
        return {name: errors[known[:, i], i] for i, name in enumerate(self.section.columns)}

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

    def of_known(self, outputs: Tensor, targets: Tensor) -> Tensor:
        match self.objective.section.loss:
            case "huber":
                return huber_loss(outputs, targets, reduction="none")
            case "poisson":
                return poisson_nll_loss(outputs, targets, log_input=True, reduction="none")
            case _:  # "mse" and "cosine_mse"
                return mse_loss(outputs, targets, reduction="none")

    def sum(self, outputs: Tensor, targets: Tensor) -> Tensor:
        loss = super().sum(outputs, targets)
        if self.objective.section.loss != "cosine_mse":
            return loss
        return loss - cosines(outputs.float(), targets[:, None]).sum() / outputs.shape[1]

    def measure_outputs(self, outputs: Array, targets: NDArray) -> dict[str, float]:
        found = super().measure_outputs(outputs, targets)
        if self.objective.section.loss == "cosine_mse":
            truth = torch.from_numpy(self.to_output_units(targets))
            total = cosines(torch.from_numpy(outputs), truth).sum().item()
            found["loss"] -= total / int(np.isfinite(targets).sum())
        return found

    def to_output_units(self, targets: NDArray) -> NDArray:
        return self.objective.output_targets(targets)


def cosines(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the cosine similarity of each record over its known columns, times their number."""
    known = targets.isfinite()
    return known.sum(-1) * cosine_similarity(outputs * known, targets.nan_to_num(), dim=-1)


def pearson_across(predictions: Array, targets: Array) -> Array:
    """Return Pearson's r over the columns of each record, (n,).

    It is NaN for records with a missing target, or with equal targets or predictions.
    """
    varies = (np.ptp(predictions, axis=1) > 0) & (np.ptp(targets, axis=1) > 0)  # NaN does not
    predicted, truth = (
        (each - each.mean(axis=1, keepdims=True)) / each.std(axis=1, keepdims=True)
        for each in (predictions[varies], targets[varies])
    )
    found = np.full(len(targets), np.nan)
    found[varies] = (predicted * truth).mean(axis=1)
    return found


def _log_count(counts: Array, column: int) -> Array:
    """Return the logarithm of a column of counts (n, C), which is compared with log rates."""
    return np.log(counts[:, column] + PSEUDO_COUNT)
