"""Metrics of predicted classes, shared by objectives of classes per sequence and per position."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.objectives.base import Array
from selfattn_bio.objectives.loss import UNKNOWN


def confusion(predictions: Array, targets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count how often each true class (row) is predicted as each class (column).

    Maps predictions (n, C) and class indices (n,) to counts (C, C). Unknown targets are left out.
    """
    known, size = targets != UNKNOWN, predictions.shape[-1]
    return np.bincount(
        targets[known] * size + predictions[known].argmax(axis=-1), minlength=size**2
    ).reshape(size, size)


def confusion_metrics(counts: NDArray[np.int64]) -> dict[str, float]:
    """Compute accuracy, macro_f1 and mcc from the counts (C, C) of `confusion`.

    Values are NaN if all counts are 0. macro_f1 averages over the classes that occur or are
    predicted. Results agree with scikit-learn. The bootstrap adds up the counts of the sampled
    records, which is faster than counting again.
    """
    total = counts.sum()
    if not total:
        return dict.fromkeys(("accuracy", "macro_f1", "mcc"), float("nan"))
    correct, true, predicted = (
        np.diag(counts).astype(float),
        counts.sum(axis=1).astype(float),
        counts.sum(axis=0).astype(float),
    )
    occurs = true + predicted > 0
    norm = np.sqrt((total**2 - predicted @ predicted) * (total**2 - true @ true))
    return {
        "accuracy": float(correct.sum() / total),
        "macro_f1": float(np.mean(2 * correct[occurs] / (true + predicted)[occurs])),
        "mcc": float((correct.sum() * total - true @ predicted) / norm) if norm else 0.0,
    }


def class_fractions(targets: NDArray[np.int64], num_classes: int) -> Array:
    """Return the fraction of each class among the known targets (n,), (C,)."""
    known = targets[targets != UNKNOWN]
    return np.bincount(known, minlength=num_classes) / max(1, len(known))
