"""What a run learns: head output and labels to a loss.

Hides: smoothing and class weights. The loop alone uses it.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from selfattn_bio.config import Training


class BinaryObjective:
    """Binary cross-entropy with label smoothing and class weights, summed over a batch.

    Parameters
    ----------
    labels
        0 or 1 of the training records, from which balanced weights are taken: each class counts the same in total, and the mean
        weight is 1.
    """

    def __init__(self, training: Training, labels: NDArray[np.int64]) -> None:
        self.smoothing = training.label_smoothing
        share = float(np.mean(labels))
        balanced = training.class_weights == "balanced"
        self.weights = (0.5 / (1 - share), 0.5 / share) if balanced else (1.0, 1.0)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """logits (B, M) of M members, labels (B,) float 0 or 1 -> the sum over the batch of the members' mean loss, in float32."""
        weight = torch.where(labels > 0.5, self.weights[1], self.weights[0])[:, None]
        target = (labels * (1 - self.smoothing) + self.smoothing / 2)[:, None].expand_as(logits)
        return binary_cross_entropy_with_logits(logits.float(), target, weight=weight, reduction="none").mean(1).sum()
