"""Simulate targets and outputs of each objective, for `false_positives.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.arrays import object_array
from selfattn_bio.objectives.points import Points


class Question(NamedTuple):
    """An objective, targets that follow a label 0 or 1, and outputs that follow a score.

    Attributes
    ----------
    section
        Section [objective].
    targets
        Function from a generator and labels (n,) to targets as from `Objective.targets`.
    outputs
        Function from scores (n,) to the outputs of the network for a record, (n, C).
    """

    section: dict[str, Any]
    targets: Callable[[np.random.Generator, NDArray[np.int64]], NDArray[Any]]
    outputs: Callable[[NDArray[np.float64]], NDArray[np.float64]]


def beside(*others: float) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Return a function that puts constant outputs next to a score."""
    return lambda score: np.column_stack([score, *(np.full(len(score), of) for of in others)])


def points(rng: np.random.Generator, label: NDArray[np.int64]) -> NDArray[Any]:
    """Sample points on the forward strand: 5 per record, twice as many for label 1."""
    sampled = [rng.integers(0, 200, rng.poisson(5 + 5 * of)) for of in label]
    return object_array([Points("c", 0, 200, at, np.zeros_like(at)) for at in sampled])


TWO_LABELS = {"kind": "multilabel", "columns": ["a", "b"]}
NUMBER = {"kind": "regression", "columns": ["y"], "center": [0.5], "scale": [1.1]}
QUESTIONS = {
    "binary": Question({"kind": "binary"}, lambda rng, label: label, beside()),
    "multiclass": Question(
        {"kind": "multiclass", "column": "y", "classes": ["a", "b", "c"]},
        lambda rng, label: np.where(label, 0, rng.integers(1, 3, len(label))),
        beside(0, 0),
    ),
    "multilabel": Question(
        TWO_LABELS,
        lambda rng, label: np.column_stack([label, rng.integers(0, 2, len(label))]) * 1.0,
        beside(0),
    ),
    "regression": Question(NUMBER, lambda rng, label: rng.normal(label, 1)[:, None], beside()),
    "several": Question(
        {"kind": "several", "parts": {"number": NUMBER, "labels": TWO_LABELS}},
        lambda rng, label: np.array(
            [((of,), (1, 0)) for of in rng.normal(label, 1)],
            dtype=[("number", float, (1,)), ("labels", float, (2,))],
        ),
        beside(0, 0),
    ),
    "labels": Question(
        {"kind": "labels", "column": "y", "classes": "AB"},
        lambda rng, label: object_array([rng.binomial(1, 0.6 - 0.2 * of, 200) for of in label]),
        # log-odds of A and B, then their percentages
        lambda score: beside(0, 50)(score)[:, [1, 1, 0, 2]] * [1, 1, 10, 1],
    ),
    "bins": Question({"kind": "bins", "points": "points.bed", "bin": 5}, points, beside(0)),
    "profile": Question(
        {"kind": "profile", "tracks": {"a": ["a.bw"]}, "width": 200},
        lambda rng, label: object_array(
            [rng.poisson(0.2 + 0.2 * of, (1, 1, 1, 200)).astype(np.float32) for of in label]
        ),
        beside(0),
    ),
}
