"""Predict one class per position, such as secondary structure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfattn_bio import config
from selfattn_bio.data.collation import TokenBatch
from selfattn_bio.errors import CorpusError
from selfattn_bio.objectives.base import Answer, Array, Measurer, OutputMeasurer, Predictions
from selfattn_bio.objectives.loss import UNKNOWN, Batch, ClassLoss, without_unknown
from selfattn_bio.objectives.multiclass import (
    ClassObjective,
    class_metrics,
    confusion,
    confusion_metrics,
)
from selfattn_bio.objectives.outputs import NumberOutput, Output, Track, class_log_odds
from selfattn_bio.sequence.kmers import KmerTokenizer

if TYPE_CHECKING:
    from selfattn_bio.scoring.scorer import Scorer

# % of positions; effects below a tenth of it, one position in 100, are negligible
PERCENT_SCALE = 10.0


class Labels(ClassObjective[config.LabelsObjective], kind="labels"):
    """One class per position."""

    main_metric = "accuracy"
    predicts = "predicts a label for each position"
    no_strand_mean = (
        "rc cannot be used with one label per position, because labels of the two strands "
        "cannot be averaged"
    )

    def targets(self, table: pd.DataFrame, records: pd.DataFrame, place: str) -> NDArray:
        """Return objects (n,), each an int array (L,), UNKNOWN if missing."""
        column, classes = self.section.column, self.section.classes
        codes = np.full(256, -1)  # by byte; -1 is invalid
        codes[list(classes.encode())] = range(len(classes))
        codes[ord("-")] = UNKNOWN
        found = np.empty(len(table), dtype=object)
        rows = zip(table[column].fillna(""), records["id"], records["length"], strict=True)
        for row, (text, name, length) in enumerate(rows):
            found[row] = codes[list(text.encode())] if text else np.full(length, UNKNOWN)
            if (found[row] == -1).any():
                wrong = text[int(np.argmax(found[row] == -1))]
                raise CorpusError(
                    f"unknown label {wrong!r} in column {column!r} of record {name!r}; the "
                    f"labels are {', '.join(classes)} and -",
                    place=place,
                )
            if len(found[row]) != length:
                message = f"record {name!r} has {length} positions, but labels for {len(text)}"
                raise CorpusError(message, place=place)
        return found

    @property
    def outputs(self) -> tuple[Output, ...]:
        """Return, for each class, the percentage of the positions of a record that are in it."""
        classes = self.section.classes
        return tuple(
            NumberOutput(
                name,
                column,
                truth=partial(_percentage, column=column),
                value=itemgetter((..., len(classes) + column)),
                unit=f"% of positions in {name}",
                scale=PERCENT_SCALE,
            )
            for column, name in enumerate(classes)
        )

    @property
    def tracks(self) -> tuple[Track, ...]:
        """Return the log-odds of each class against all others, per position."""
        return tuple(
            Track(name, partial(class_log_odds, column=column))
            for column, name in enumerate(self.section.classes)
        )

    def record_outputs(self, outputs: Tensor, is_real: Tensor) -> Tensor:
        """Return two means over the positions for each class, (..., 2 C).

        The first C are log-odds of the class against all others, which attribution explains: they
        do not saturate where the model is certain. The others are probabilities in percent, that
        is, the expected percentage of positions in the class.
        """
        is_own = torch.eye(outputs.shape[-1], dtype=torch.bool, device=outputs.device)
        others = outputs[..., None, :].masked_fill(is_own, -torch.inf).logsumexp(-1)
        each = torch.cat([outputs - others, 100 * outputs.softmax(-1)], -1)
        return (each * is_real).sum(-2) / is_real.sum(-2)

    def loss(self, run: config.RunFile, tokenizer: KmerTokenizer, targets: NDArray) -> LabelsLoss:
        return LabelsLoss(self, run.training)

    def read(self, scorer: Scorer, inputs: Sequence[Any]) -> list[Array]:
        """Return the outputs (L, C) of each sequence."""
        return scorer.token_outputs(inputs)

    def measurer(self, predictions: Predictions, targets: NDArray) -> Measurer:
        """Return a function from rows to the metrics of all positions of these records."""
        counts = _counts(predictions, targets)
        return lambda rows: confusion_metrics(counts[rows].sum(axis=0))

    def output_measurer(self, predictions: Predictions, targets: NDArray) -> OutputMeasurer:
        counts = _counts(predictions, targets)
        return lambda rows: class_metrics(counts[rows].sum(axis=0), self.section.classes)

    def prediction_columns(self, predictions: Predictions) -> dict[str, Any]:
        """Return one column, `predicted`, with the most probable label of each position as text."""
        classes = self.section.classes
        texts = ["".join(classes[i] for i in row.argmax(axis=1)) for row in predictions]
        return {"predicted": texts}

    def merged(self, outputs: Array) -> NDArray[np.uint8]:
        """Return the most probable label of each position, ASCII (L,)."""
        classes = np.frombuffer(self.section.classes.encode(), np.uint8)
        return classes[self.predictions(outputs).argmax(-1)]

    def position_table(
        self, ids: Sequence[str], outputs: Sequence[NDArray], flags: dict[str, list[str]]
    ) -> pd.DataFrame:
        """Return one row per record, with its labels as text."""
        texts = [labels.tobytes().decode() for labels in outputs]
        return pd.DataFrame({"id": ids, "predicted": texts, **flags})

    def answers(self, targets: NDArray) -> list[Answer]:
        """Return the classes of the positions of all records."""
        labels = np.concatenate(list(targets))
        return [Answer("class", without_unknown(labels), len(self.section.classes))]


class LabelsLoss(ClassLoss):
    """Cross-entropy of the label of each position."""

    def batch(self, tokens: TokenBatch, targets: NDArray) -> Batch:
        padded = np.full(tokens.ids.shape, UNKNOWN)
        for row, labels in zip(padded, targets, strict=True):
            row[: len(labels)] = labels
        return Batch(tokens, torch.from_numpy(padded), int((padded != UNKNOWN).sum()))

    def measure_outputs(self, outputs: list[Array], targets: NDArray) -> dict[str, float]:
        pairs = zip(outputs, targets, strict=True)
        joined = np.concatenate([found[: len(labels)] for found, labels in pairs])
        return super().measure_outputs(joined, np.concatenate(list(targets)))


def _percentage(targets: NDArray, column: int) -> Array:
    """Return the percentage of the known labels (n objects) that are this class; NaN if none is."""
    known = [labels[labels != UNKNOWN] for labels in targets]
    return np.array([100 * np.mean(row == column) if len(row) else np.nan for row in known])


def _counts(predictions: Predictions, targets: NDArray) -> NDArray[np.int64]:
    """Return the counts of `confusion` of each record, (n, C, C)."""
    return np.stack([confusion(*pair) for pair in zip(predictions, targets, strict=True)])
