"""Predict one of several classes per sequence."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import scipy
import torch
from numpy.typing import NDArray

from selfattn_bio import config
from selfattn_bio.arrays import Integers
from selfattn_bio.data.collation import TokenBatch
from selfattn_bio.errors import CorpusError
from selfattn_bio.objectives.base import (
    Answer,
    Array,
    Objective,
    OutputMeasurer,
    Predictions,
    SectionT,
)
from selfattn_bio.objectives.binary import PredictionSets
from selfattn_bio.objectives.loss import UNKNOWN, Batch, ClassLoss, without_unknown
from selfattn_bio.objectives.outputs import ClassOutput, Output, class_log_odds
from selfattn_bio.sequence.kmers import KmerTokenizer
from selfattn_bio.sequence.readers.table import is_missing


class ClassObjective(Objective[SectionT]):
    """Base class of objectives with one class per record or position."""

    exported = (partial(torch.softmax, dim=-1), "probability")

    def predictions(self, outputs: Array) -> Array:
        return scipy.special.softmax(outputs, axis=-1)

    def measure(self, predictions: Array, targets: NDArray) -> dict[str, float]:
        """Compute accuracy, macro_f1 and mcc of n records or positions, with class indices (n,)."""
        return confusion_metrics(confusion(predictions, targets))


class Multiclass(
    ClassObjective[config.MulticlassObjective],
    PredictionSets[config.MulticlassObjective],
    kind="multiclass",
):
    """One of several classes per sequence."""

    main_metric = "mcc"
    predicts = "predicts the probability of each class"
    limits = (
        "It calls one of its classes for every sequence, often with confidence, even for one that "
        "belongs to none. For such sequences, train with a class of others, such as shuffled ones.",
        "It was tested only on held-out records of the same source.",
    )

    @property
    def outputs(self) -> tuple[Output, ...]:
        return tuple(
            ClassOutput(
                name,
                column,
                truth=partial(_is_class, column=column),
                value=partial(class_log_odds, column=column),
            )
            for column, name in enumerate(self.section.classes)
        )

    def complete(
        self, train: pd.DataFrame, records: pd.DataFrame, place: str
    ) -> config.MulticlassObjective:
        """Return the section with the names of the classes in the training records."""
        if self.section.classes:
            return self.section
        classes = tuple(sorted(self._known(train).dropna().unique()))
        if odd := [name for name in classes if name.strip("+-").lower() in ("nan", "inf")]:
            hint = "Leave these cells empty, or list all classes in objective.classes"
            message = f"column {self.section.column!r} has {odd[0]!r}, which is no class"
            raise CorpusError(message, place=place, hint=hint)
        if len(classes) < 2:
            message = (
                f"column {self.section.column!r} has {len(classes)} classes in the training "
                "split, but at least 2 are needed"
            )
            raise CorpusError(message, place=place)
        return self.section.model_copy(update={"classes": classes})

    def _known(self, table: pd.DataFrame) -> pd.Series:
        """Return the column of classes; if these are numbers, without words such as NA."""
        values, classes = table[self.section.column], self.section.classes
        known = values.mask(values.map(lambda text: text not in classes and is_missing(text)))
        are_numbers = pd.to_numeric(known, errors="coerce").notna().equals(known.notna())
        return known if are_numbers else values

    def targets(self, table: pd.DataFrame, records: pd.DataFrame, place: str) -> NDArray:
        """Return the index of the class, int (n,), UNKNOWN if missing."""
        values, classes = self._known(table), self.section.classes
        index_of = {name: index for index, name in enumerate(classes)}
        if (wrong := (values.notna() & ~values.isin(index_of)).to_numpy()).any():
            row = int(wrong.argmax())
            message = (
                f"unknown class {values.iloc[row]!r} in column {values.name!r} of record "
                f"{records['id'].iloc[row]!r} (known: {', '.join(classes)})"
            )
            hint = "Merge rare classes, leave their cells empty, or list all in objective.classes"
            raise CorpusError(message, place=place, hint=hint)
        return np.array([index_of.get(text, UNKNOWN) for text in values], np.int64)

    def loss(
        self, run: config.RunFile, tokenizer: KmerTokenizer, targets: NDArray
    ) -> MulticlassLoss:
        return MulticlassLoss(self, run.training, targets)

    def output_measurer(self, predictions: Predictions, targets: NDArray) -> OutputMeasurer:
        return lambda rows: class_metrics(
            confusion(predictions[rows], targets[rows]), self.section.classes
        )

    def calls(self, predictions: Array, threshold: float = 0.5) -> dict[str, Any]:
        """Return the most probable class of each record; there is no threshold."""
        return {"predicted": [self.section.classes[i] for i in predictions.argmax(axis=1)]}

    def strangeness(self, outputs: Array) -> Array:
        return 1 - self.predictions(outputs)

    def answers(self, targets: NDArray) -> list[Answer]:
        return [Answer("class", without_unknown(targets), len(self.section.classes))]


class MulticlassLoss(ClassLoss):
    """Cross-entropy of the class of each record, with class weights."""

    def __init__(self, objective: Multiclass, training: config.Training, classes: Integers) -> None:
        super().__init__(objective, training)
        if training.class_weights == "balanced":
            counts = np.bincount(
                classes[classes != UNKNOWN], minlength=len(objective.section.classes)
            )
            self.weights = torch.tensor(
                counts.sum() / (len(counts) * np.maximum(counts, 1)), dtype=torch.float32
            )

    def batch(self, tokens: TokenBatch, targets: NDArray) -> Batch:
        return Batch(tokens, torch.from_numpy(targets), int((targets != UNKNOWN).sum()))


def _is_class(targets: Integers, column: int) -> Array:
    """Return 1.0 for records of a class, 0.0 for those of others, NaN if unknown, (n,)."""
    return np.where(targets == UNKNOWN, np.nan, targets == column)


def confusion(predictions: Array, targets: Integers) -> Integers:
    """Count how often each true class (row) is predicted as each class (column).

    Maps predictions (n, C) and class indices (n,) to counts (C, C). Unknown targets are left out.
    """
    known, size = targets != UNKNOWN, predictions.shape[-1]
    return np.bincount(
        targets[known] * size + predictions[known].argmax(axis=-1), minlength=size**2
    ).reshape(size, size)


def confusion_metrics(counts: Integers) -> dict[str, float]:
    """Compute accuracy, macro_f1 and mcc from the counts (C, C) of `confusion`.

    Values are NaN if all counts are 0. macro_f1 averages over the classes that occur or are
    predicted. Results agree with scikit-learn. The bootstrap adds up the counts of the sampled
    records, which is faster than counting again.
    """
    total = counts.sum()
    if not total:
        return dict.fromkeys(("accuracy", "macro_f1", "mcc"), float("nan"))
    correct = np.diag(counts).astype(float)
    true = counts.sum(axis=1).astype(float)
    predicted = counts.sum(axis=0).astype(float)
    occurs = true + predicted > 0
    norm = np.sqrt((total**2 - predicted @ predicted) * (total**2 - true @ true))
    return {
        "accuracy": float(correct.sum() / total),
        "macro_f1": float(np.mean(2 * correct[occurs] / (true + predicted)[occurs])),
        "mcc": float((correct.sum() * total - true @ predicted) / norm) if norm else 0.0,
    }


def class_metrics(counts: Integers, classes: Sequence[str]) -> dict[tuple[str, str], float]:
    """Compute recall, precision and f1 of each class from the counts (C, C) of `confusion`.

    Values are NaN without a record of the class (recall), of the predicted class (precision), or
    either (f1).

    Returns
    -------
    Value by class and name of the metric.
    """
    correct, true, predicted = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    return {
        (name, metric): float(right / of) if of else float("nan")
        for i, name in enumerate(classes)
        for metric, right, of in (
            ("recall", correct[i], true[i]),
            ("precision", correct[i], predicted[i]),
            ("f1", 2 * correct[i], true[i] + predicted[i]),
        )
    }
