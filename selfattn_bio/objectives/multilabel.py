"""Predict several labels per sequence, each 0 or 1."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from selfattn_bio import config
from selfattn_bio.objectives.base import Array
from selfattn_bio.objectives.numbers import Columns, ColumnsLoss, over_columns
from selfattn_bio.objectives.outputs import ClassOutput, Output
from selfattn_bio.sequence.kmers import KmerTokenizer


class Multilabel(Columns[config.MultilabelObjective], kind="multilabel"):
    """Several labels per sequence."""

    main_metric = "auroc"
    predicts = "predicts the probability of each label"
    rule = "0 or 1"
    answer_kind = "label"

    @property
    def outputs(self) -> tuple[Output, ...]:
        return tuple(
            ClassOutput(
                name, column, truth=itemgetter((..., column)), value=itemgetter((..., column))
            )
            for column, name in enumerate(self.section.columns)
        )

    def is_valid(self, numbers: pd.Series) -> pd.Series:
        return numbers.isin([0, 1])

    def loss(
        self, run: config.RunFile, tokenizer: KmerTokenizer, targets: NDArray
    ) -> MultilabelLoss:
        return MultilabelLoss(self, run.training)

    def predictions(self, outputs: Array) -> Array:
        return expit(outputs)

    def measure(self, predictions: Array, targets: NDArray) -> dict[str, float]:
        """Compute auroc and auprc, averaged over the columns that contain both 0 and 1."""
        return {
            "auroc": over_columns(_both(roc_auc_score), predictions, targets),
            "auprc": over_columns(_both(average_precision_score), predictions, targets),
        }


class MultilabelLoss(ColumnsLoss):
    """Binary cross-entropy of each label, with label smoothing."""

    def __init__(self, objective: Multilabel, training: config.Training) -> None:
        super().__init__(objective)
        self.smoothing = training.label_smoothing

    def of_known(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(
            outputs, targets * (1 - self.smoothing) + self.smoothing / 2, reduction="none"
        )


def _both(metric: Callable[[Array, Array], float]) -> Callable[[Array, Array], float]:
    """Return `metric` as a function of (predicted, truth) that is NaN if truth has one label."""
    return lambda predicted, truth: (
        float(metric(truth, predicted)) if len(np.unique(truth)) == 2 else float("nan")
    )
