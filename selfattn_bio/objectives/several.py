"""Predict several things per sequence with one network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfattn_bio import config
from selfattn_bio.data.collation import TokenBatch
from selfattn_bio.objectives.base import (
    Answer,
    Array,
    Exported,
    Measurer,
    Objective,
    OutputMeasurer,
    Predictions,
    objective_of,
)
from selfattn_bio.objectives.loss import Batch, Loss, count_known
from selfattn_bio.objectives.outputs import Output
from selfattn_bio.sequence.kmers import KmerTokenizer

if TYPE_CHECKING:
    from selfattn_bio.evaluation.calibration import Calibration


class Several(Objective[config.SeveralObjective], kind="several"):
    """Several objectives of complete sequences, whose outputs are concatenated.

    The main metric is the mean of the parts' main metrics. Parts can only be of kinds where higher
    is better.
    """

    main_metric = "mean"
    predicts = "predicts several targets at once"

    def __init__(self, section: config.SeveralObjective) -> None:
        super().__init__(section)
        self.parts = {name: objective_of(part) for name, part in section.parts.items()}
        self.slices = section.slices()

    @property
    def outputs(self) -> tuple[Output, ...]:
        return tuple(
            _of_part(name, self.slices[name], output)
            for name, part in self.parts.items()
            for output in part.outputs
        )

    def _each(self, outputs: Array) -> Iterator[tuple[str, Objective[Any], Array]]:
        """Yield the name, the objective and the outputs (..., C) of each part."""
        for name, part in self.parts.items():
            yield name, part, outputs[..., self.slices[name]]

    def complete(
        self, train: pd.DataFrame, records: pd.DataFrame, place: str
    ) -> config.SeveralObjective:
        parts = {name: part.complete(train, records, place) for name, part in self.parts.items()}
        return self.section.model_copy(update={"parts": parts})

    def targets(self, table: pd.DataFrame, records: pd.DataFrame, place: str) -> NDArray:
        """Return a structured array (n,) with one field per part, under the name of the part."""
        by_part = {name: part.targets(table, records, place) for name, part in self.parts.items()}
        fields = [(name, array.dtype, array.shape[1:]) for name, array in by_part.items()]
        together = np.empty(len(table), dtype=fields)
        for name, array in by_part.items():
            together[name] = array
        return together

    def check_split(self, targets: NDArray, split: str, place: str, split_path: str) -> None:
        for name, part in self.parts.items():
            part.check_split(targets[name], split, place, split_path)

    def loss(self, run: config.RunFile, tokenizer: KmerTokenizer, targets: NDArray) -> SeveralLoss:
        losses = {
            name: part.loss(run, tokenizer, targets[name]) for name, part in self.parts.items()
        }
        return SeveralLoss(self, losses, targets)

    def predictions(self, outputs: Array) -> Array:
        found = [part.predictions(own) for _, part, own in self._each(outputs)]
        return np.concatenate(found, axis=-1)

    @property
    def exported(self) -> Exported:  # type: ignore[override]
        parts = [(self.slices[name], *part.exported) for name, part in self.parts.items()]
        units = ", ".join(unit for _, _, unit in parts)
        return lambda x: torch.cat([convert(x[..., at]) for at, convert, _ in parts], -1), units

    def measurer(self, predictions: Predictions, targets: NDArray) -> Measurer:
        """Return a function from rows to PART.METRIC, and `mean` of the main metrics."""
        parts = {
            name: part.measurer(own, targets[name])
            for name, part, own in self._each(np.asarray(predictions))
        }

        def measured(rows: NDArray[np.int64]) -> dict[str, float]:
            by_part = {name: of_part(rows) for name, of_part in parts.items()}
            main = [metrics[self.parts[name].main_metric] for name, metrics in by_part.items()]
            return {"mean": float(np.mean(main)), **_with_parts(by_part)}

        return measured

    def output_measurer(self, predictions: Predictions, targets: NDArray) -> OutputMeasurer:
        """Return a function from rows to the metrics of each PART.OUTPUT."""
        parts = {
            name: part.output_measurer(own, targets[name])
            for name, part, own in self._each(np.asarray(predictions))
        }
        return lambda rows: {
            (f"{name}.{output}", metric): value
            for name, measured in parts.items()
            for (output, metric), value in measured(rows).items()
        }

    def columns(
        self, outputs: Array, calibration: Calibration, coverage: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the columns of each part as PART.COLUMN."""
        of_parts = {
            name: part.columns(own, calibration, {}) for name, part, own in self._each(outputs)
        }
        return _with_parts(of_parts) | coverage

    def calls(self, predictions: Array, threshold: float = 0.5) -> dict[str, Any]:
        """Return the calls of each part as PART.predicted."""
        of_parts = {name: part.calls(own, threshold) for name, part, own in self._each(predictions)}
        return _with_parts(of_parts)

    def answers(self, targets: NDArray) -> list[Answer]:
        return [
            answer for name, part in self.parts.items() for answer in part.answers(targets[name])
        ]


class SeveralLoss(Loss):
    """Weighted mean of the losses of several parts.

    The loss that a record adds to a part is divided by the mean number of known targets per
    training record. Over an epoch, each part then has the weight in the run file, however few its
    targets are. Dividing by the number of known targets in each step instead would give a rarely
    known part less weight, because it does not contribute to steps without its targets.

    Parameters
    ----------
    objective
        The objective of all parts.
    losses
        Losses by name of the part.
    targets
        Targets of the training records, one field per part; each part has at least one known
        target.
    """

    def __init__(self, objective: Several, losses: dict[str, Loss], targets: NDArray) -> None:
        self.objective, self.losses, self.slices = objective, losses, objective.slices
        parts = objective.section.parts
        total = sum(part.weight for part in parts.values())
        self.weights = {name: part.weight / total for name, part in parts.items()}
        self.known = {name: count_known(targets[name]) / len(targets) for name in losses}

    def batch(self, tokens: TokenBatch, targets: NDArray) -> Batch:
        by_part = {
            name: loss.batch(tokens, targets[name]).targets for name, loss in self.losses.items()
        }
        return Batch(tokens, by_part, len(targets))

    def sum(self, outputs: Tensor, targets: dict[str, Tensor]) -> Tensor:
        """Return the loss of outputs (B, M, C) of all parts, with targets by part."""
        losses = [
            loss.sum(outputs[..., self.slices[name]], targets[name])
            * (self.weights[name] / self.known[name])
            for name, loss in self.losses.items()
        ]
        return torch.stack(losses).sum()

    def measure_outputs(self, outputs: Array, targets: NDArray) -> dict[str, float]:
        losses = {
            name: loss.measure_outputs(outputs[:, self.slices[name]], targets[name])["loss"]
            for name, loss in self.losses.items()
        }
        total = sum(self.weights[name] * of_part for name, of_part in losses.items())
        of_parts = {f"{name}.loss": of_part for name, of_part in losses.items()}
        metrics = self.objective.measure(self.objective.predictions(outputs), targets)
        return {"loss": total, **metrics, **of_parts}


def _of_part(name: str, columns: slice, output: Output) -> Output:
    """Return an output of a part as an output of all parts; `columns` are those of the part."""
    return replace(
        output,
        name=f"{name}.{output.name}",
        column=columns.start + output.column,
        truth=lambda targets: output.truth(targets[name]),
        value=lambda outputs: output.value(outputs[..., columns]),
    )


def _with_parts(by_part: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Join the entries of all parts; their keys become PART.KEY."""
    return {f"{name}.{key}": value for name, of in by_part.items() for key, value in of.items()}
