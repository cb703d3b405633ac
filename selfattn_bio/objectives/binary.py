"""Separate positives from negatives; prediction sets of one of several names."""

from __future__ import annotations

from abc import abstractmethod
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from selfattn_bio import config
from selfattn_bio.arrays import Integers
from selfattn_bio.data.collation import TokenBatch
from selfattn_bio.errors import CorpusError
from selfattn_bio.objectives.base import Answer, Array, Examples, Objective, SectionT
from selfattn_bio.objectives.loss import UNKNOWN, Batch, Loss, without_unknown
from selfattn_bio.objectives.outputs import ClassOutput, Track, joined_names, spreads
from selfattn_bio.sequence.kmers import KmerTokenizer
from selfattn_bio.split_names import SPLIT_NAMES

if TYPE_CHECKING:
    from selfattn_bio.evaluation.calibration import Calibration


class PredictionSets(Objective[SectionT]):
    """Base class of objectives that choose one of several names, with prediction sets."""

    has_coverage = True

    @abstractmethod
    def strangeness(self, outputs: Array) -> Array:
        """Return a score for each record and name, (n, C); low if the output favours the name."""

    def nonconformity(self, outputs: Array, targets: NDArray) -> dict[str, Array]:
        scores = self.strangeness(outputs)
        return {name: scores[targets == i, i] for i, name in enumerate(self.coverage_names)}

    def coverage_columns(self, outputs: Array, quantiles: Array) -> dict[str, Any]:
        names = self.coverage_names
        # a name belongs to the set if its score does not exceed its quantile
        each = [self.strangeness(rows) <= of for rows, of in zip(outputs, quantiles, strict=True)]
        return {"set": joined_names(names, np.any(each, axis=0))}


class Binary(PredictionSets[config.BinaryObjective], kind="binary"):
    """Two classes, the labels 0 and 1 of the corpus."""

    main_metric = "auroc"
    predicts = "predicts the log-odds (`logit`) and the probability of the positive class"
    limits = (
        "It learned what separates its two classes. Other negatives would give another model.",
        "Its probabilities hold for the class fractions of the validation data. In a genome, where "
        "positives are rare, they are far too high.",
    )
    is_labelled = True
    has_calls = True
    has_log_odds = True
    coverage_names = ("0", "1")
    logit = ClassOutput("positive", 0, truth=without_unknown, value=itemgetter((..., 0)))
    outputs = (logit,)
    tracks = (Track("", logit.value),)

    def targets(self, table: pd.DataFrame, records: pd.DataFrame, place: str) -> NDArray:
        """Return the labels, int (n,), UNKNOWN if missing."""
        labels = records["label"]
        return np.where(labels.isna(), UNKNOWN, labels.fillna(0)).astype(np.int64)

    def check_split(self, targets: NDArray, split: str, place: str, split_path: str) -> None:
        if missing := int((targets == UNKNOWN).sum()):
            message = (
                f"{missing} of {len(targets)} {SPLIT_NAMES[split]} records have no label, "
                "which objective 'binary' needs"
            )
            raise CorpusError(message, place=place, hint="Give each record a label")
        if len(set(targets)) < 2:
            raise CorpusError(
                f"the {SPLIT_NAMES[split]} split has only records of label {targets[0]} "
                f"({len(targets)}); objective 'binary' needs both labels",
                place=split_path,
            )

    def answers(self, targets: NDArray) -> list[Answer]:
        return [Answer("label", without_unknown(targets))]

    def loss(self, run: config.RunFile, tokenizer: KmerTokenizer, targets: NDArray) -> BinaryLoss:
        is_weighted = isinstance(run.training.balance, config.ReweightBalance)
        kind = WeightedBinaryLoss if is_weighted else BinaryLoss
        return kind(self, run.training, targets)

    def examples_of(self, targets: NDArray, records: pd.DataFrame) -> Examples:
        return Examples(records[["id"]].assign(label=targets), targets)

    def predictions(self, outputs: Array) -> Array:
        return scipy.special.expit(outputs)

    def measure(self, predictions: Array, targets: NDArray) -> dict[str, float]:
        from sklearn.metrics import roc_auc_score  # imported here because it takes a second

        return {"auroc": float(roc_auc_score(targets, predictions.reshape(len(targets))))}

    def columns(
        self, outputs: Array, calibration: Calibration, coverage: dict[str, Any]
    ) -> dict[str, Any]:
        logits = outputs.mean(axis=0)[:, 0]
        probability = calibration.probabilities(logits)
        columns = {"logit": logits, "probability": probability}
        columns |= self.calls(probability, calibration.threshold)
        return columns | coverage | spreads({"spread": outputs[..., 0]})

    def strangeness(self, outputs: Array) -> Array:
        return np.concatenate([outputs, -outputs], axis=1)


class BinaryLoss(Loss):
    """Binary cross-entropy with label smoothing and class weights.

    Parameters
    ----------
    objective
        Measures the AUROC.
    training
        Label smoothing and class weights.
    labels
        0 or 1 for each training record. Balanced weights are computed from them: each class has the
        same total weight, and the mean weight is 1.
    """

    def __init__(self, objective: Binary, training: config.Training, labels: Integers) -> None:
        self.objective = objective
        self.smoothing = training.label_smoothing
        positive = float(np.mean(labels))
        balanced = training.class_weights == "balanced"
        self.weights = (0.5 / (1 - positive), 0.5 / positive) if balanced else (1.0, 1.0)

    def batch(self, tokens: TokenBatch, targets: NDArray) -> Batch:
        return Batch(tokens, torch.from_numpy(targets).float(), len(targets))

    def sum(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of `losses`."""
        return self.losses(outputs, targets).sum()

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the losses (B,) of outputs (B, M, 1) with targets (B,) float, 0 or 1."""
        logits = outputs.squeeze(-1).float()
        weight = torch.where(targets > 0.5, self.weights[1], self.weights[0])[:, None]
        target = (targets * (1 - self.smoothing) + self.smoothing / 2)[:, None].expand_as(logits)
        return binary_cross_entropy_with_logits(
            logits, target, weight=weight, reduction="none"
        ).mean(1)

    def measure_outputs(self, outputs: Array, targets: NDArray) -> dict[str, float]:
        logits = outputs[:, 0]
        loss = float(np.mean(np.logaddexp(0, logits) - targets * logits))
        # of logits: the probabilities of very large logits are equal
        return {"loss": loss, **self.objective.measure(outputs, targets)}


class WeightedBinaryLoss(BinaryLoss):
    """Binary cross-entropy with a weight per record; a target consists of label and weight."""

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the losses (B,) of outputs (B, M, 1) with targets (B, 2): label and weight."""
        return super().losses(outputs, targets[:, 0]) * targets[:, 1]
