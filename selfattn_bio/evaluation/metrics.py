"""Compute metrics with bootstrap intervals, and paired differences between classifiers.

Every metric is a function of (labels, probabilities, threshold, weights), where the weight of a
record is the number of times it was sampled. If all weights are 1, the result is the value of the
metric. The bootstrap evaluates thousands of resamples at once, one per row of weights. All
classifiers on one set of records use the same resamples, so that differences form a paired
bootstrap.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
CHUNK = 2_000_000  # maximum number of weights in memory
RANGES = {  # lowest and highest possible value of each metric
    "auroc": (0, 1),
    "auprc": (0, 1),
    "mcc": (-1, 1),
    "accuracy": (0, 1),
    "f1": (0, 1),
    "brier": (0, 1),
    "ece": (0, 1),
}
CALLED = ("mcc", "accuracy", "f1")  # metrics that depend on a threshold
AT_HALF = "_at_half"  # suffix of their names at a threshold of 0.5
RANGES |= {f"{name}{AT_HALF}": RANGES[name] for name in CALLED}
TITLES = {  # in the order of tables; other metrics are shown with their names
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "mcc": "MCC",
    "accuracy": "accuracy",
    "f1": "F1",
    "mcc_at_half": "MCC at 0.5",
    "brier": "Brier",
    "ece": "ECE",
    "worst_auroc": "AUROC of the worst group",
    "pearson": "Pearson's r",
    "mean": "mean of the parts' main metrics",
}


def title_of(metric: str) -> str:
    """Return the name of a metric for logs, reports and plots."""
    return TITLES.get(metric, metric)


@dataclass(frozen=True)
class ResampledMetric:
    """The value of a metric and its values on resampled records.

    Attributes
    ----------
    value
        Value on the records themselves.
    draws
        Value on each resample, (draws,).
    low_high
        Lowest and highest possible value of the metric.
    """

    value: float
    draws: Array
    low_high: tuple[float, float] = (-np.inf, np.inf)

    def interval(self, confidence: float = 0.95) -> dict[str, float]:
        """Return `{value, low, high}`, a percentile interval centred on the value.

        The interval is shifted so that the mean of the resamples equals the value. This removes the
        bias of the bootstrap. Without it, the calibration error, which resampling inflates, would
        be outside its own interval. The ends are clipped to the range of the metric.

        References
        ----------
        Efron and Tibshirani 1993, chapters 10 and 13.
        """
        tail = (1 - confidence) / 2
        low, high = np.quantile(self.draws, [tail, 1 - tail]) - (self.draws.mean() - self.value)
        return {
            "value": self.value,
            "low": float(max(low, self.low_high[0])),
            "high": float(min(high, self.low_high[1])),
        }

    def minus(self, other: ResampledMetric, confidence: float = 0.95) -> dict[str, float]:
        """Return `{value, low, high, p}` of this metric minus `other`.

        Both must come from the same `Bootstrap`. p is two-sided and at least 2 / (draws + 1).
        """
        draws = self.draws - other.draws
        beyond = 1 + min(int((draws <= 0).sum()), int((draws >= 0).sum()))
        difference = ResampledMetric(self.value - other.value, draws).interval(confidence)
        return {**difference, "p": min(1.0, 2 * beyond / (len(draws) + 1))}


@dataclass(frozen=True)
class Bootstrap:
    """Resample labelled records within each class, or in blocks.

    Parameters
    ----------
    labels
        0 or 1, shape (n,); both must occur.
    draws
        Number of resamples.
    seed
        The same seed gives the same resamples.
    bins
        Number of equally wide bins over [0, 1] for the calibration error.
    blocks
        Number of each record's block, from 0, (n,). Records of a block are not independent, so
        complete blocks are resampled. Resamples with only one label are replaced.

    Raises
    ------
    ValueError
        If `labels` contains values other than 0 and 1, or only one of them.
    """

    labels: NDArray[np.int64]
    draws: int = 1000
    seed: int = 0
    bins: int = 15
    blocks: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if sorted(set(np.asarray(self.labels).tolist())) != [0, 1]:
            raise ValueError(
                "labels must contain both 0 and 1 and nothing else; found "
                f"{sorted(set(np.asarray(self.labels).tolist()))}"
            )

    def metrics(self, probabilities: ArrayLike, threshold: float) -> dict[str, ResampledMetric]:
        """Compute every metric of one classifier on these records.

        Parameters
        ----------
        probabilities
            Probability of label 1, shape (n,), in the order of `labels`.
        threshold
            Records with this probability or more are called positive; used by MCC, accuracy and F1.

        Returns
        -------
        By name: auroc, auprc (average precision), mcc, accuracy, f1, brier, ece (expected
        calibration error), and mcc_at_half, accuracy_at_half and f1_at_half with 0.5 in place of
        `threshold`.

        Raises
        ------
        ValueError
            If the shape differs from that of `labels`, or a probability is not in [0, 1].
        """
        p = np.asarray(probabilities, dtype=np.float64)
        if p.shape != np.shape(self.labels):
            raise ValueError(
                f"probabilities have shape {p.shape}, but labels have shape {np.shape(self.labels)}"
            )
        if not ((p >= 0) & (p <= 1)).all():
            raise ValueError(f"probability {p[~((p >= 0) & (p <= 1))][0]} is not between 0 and 1")
        compute = _Metrics(np.asarray(self.labels), p, threshold, self.bins)
        values = compute(np.ones((1, len(p)), dtype=np.float32))
        rows = [compute(weights) for weights in self._weights()]
        return {
            name: ResampledMetric(
                float(values[name][0]), np.concatenate([row[name] for row in rows]), RANGES[name]
            )
            for name in RANGES
        }

    def _weights(self) -> Iterator[NDArray[np.float32]]:
        """Yield chunks of sampling counts, (rows, n), the same on every call."""
        rng, labels, left = np.random.default_rng(self.seed), np.asarray(self.labels), self.draws
        members = [np.flatnonzero(labels == label) for label in (0, 1)]
        number = 0 if self.blocks is None else int(self.blocks.max()) + 1
        rows_at_once = max(1, CHUNK // len(labels))
        while left:
            rows = min(left, rows_at_once)
            left -= rows
            if self.blocks is not None:
                yield self._draw_blocks(rng, rows, number).astype(np.float32)[:, self.blocks]
                continue
            weights = np.zeros((rows, len(labels)), dtype=np.float32)
            for member in members:
                sampled = rng.integers(len(member), size=(rows, len(member))) + np.arange(rows)[
                    :, None
                ] * len(member)
                weights[:, member] = np.bincount(
                    sampled.ravel(), minlength=rows * len(member)
                ).reshape(rows, -1)
            yield weights

    def _draw_blocks(self, rng: np.random.Generator, rows: int, number: int) -> NDArray[np.int64]:
        """Return how often each block is sampled, (rows, number).

        Rows without a record of one of the labels are sampled again.
        """
        assert self.blocks is not None
        holds = np.stack(
            [
                np.bincount(self.blocks, np.asarray(self.labels) == label, number) > 0
                for label in (0, 1)
            ],
            axis=1,
        )
        counts = np.zeros((rows, number), dtype=np.int64)
        while len(lacking := np.flatnonzero((counts @ holds == 0).any(axis=1))):
            counts[lacking] = rng.multinomial(
                number, np.full(number, 1 / number), size=len(lacking)
            )
        return counts


class _Metrics:
    """Compute the metrics of one classifier for weights (rows, n), as arrays (rows,).

    Values that do not depend on weights are computed once.
    """

    def __init__(self, labels: NDArray[np.int64], p: Array, threshold: float, bins: int) -> None:
        self.order = np.argsort(p, kind="stable")
        ranked = p[self.order]
        self.starts = np.flatnonzero(
            np.r_[True, ranked[1:] > ranked[:-1]]
        )  # first of each run of equal probabilities
        self.positive = labels[self.order] == 1
        self.confusion = {
            "": _confusion(labels, p >= threshold),
            AT_HALF: _confusion(labels, p >= 0.5),
        }
        self.squared = ((p - labels) ** 2).astype(np.float32)
        self.excess = np.zeros(
            (len(p), bins), dtype=np.float32
        )  # label - probability, in the column of the probability's bin
        self.excess[np.arange(len(p)), np.minimum((p * bins).astype(int), bins - 1)] = labels - p

    def __call__(self, weights: NDArray[np.float32]) -> dict[str, Array]:
        total = weights.sum(axis=1, dtype=np.float64)
        called = {}
        for ending, confusion in self.confusion.items():
            tp, fp, fn, tn = (weights @ confusion).astype(np.float64).T
            called[f"mcc{ending}"] = _ratio(
                tp * tn - fp * fn, np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
            )
            called[f"accuracy{ending}"] = (tp + tn) / total
            called[f"f1{ending}"] = _ratio(2 * tp, 2 * tp + fp + fn)
        return {
            **self._ranking(weights[:, self.order]),
            **called,
            "brier": (weights @ self.squared) / total,
            "ece": np.abs(weights @ self.excess).sum(axis=1) / total,
        }

    def _ranking(self, ranked: NDArray[np.float32]) -> dict[str, Array]:
        # records of equal probability form one step of the ROC and precision-recall curves, as in
        # scikit-learn
        positives = np.add.reduceat(ranked * self.positive, self.starts, axis=1).astype(np.float64)
        negatives = np.add.reduceat(ranked * ~self.positive, self.starts, axis=1).astype(np.float64)
        below = np.cumsum(negatives, axis=1)
        num_positives, num_negatives = positives.sum(axis=1), below[:, -1]
        auroc = (positives * (below - negatives / 2)).sum(axis=1) / (num_positives * num_negatives)
        true = np.cumsum(positives[:, ::-1], axis=1)[:, ::-1]  # at or above each run
        false = num_negatives[:, None] - below + negatives
        auprc = (positives * _ratio(true, true + false)).sum(axis=1) / num_positives
        return {"auroc": auroc, "auprc": auprc}


def _confusion(labels: NDArray[np.int64], predicted: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Mark each record in one of four columns, (n, 4).

    The columns are true positive, false positive, false negative and true negative.
    """
    actual = labels == 1
    cells = [predicted & actual, predicted & ~actual, ~predicted & actual, ~predicted & ~actual]
    return np.stack(cells, axis=1).astype(np.float32)


def _ratio(numerator: Array, denominator: Array) -> Array:
    """Return the quotient, and 0 where the denominator is 0 (no positive calls or no records)."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


def intervals(
    sampled: dict[str, ResampledMetric], confidence: float = 0.95
) -> dict[str, dict[str, float]]:
    """Return `{metric: {value, low, high}}`, the form of metrics.json."""
    return {name: metric.interval(confidence) for name, metric in sampled.items()}


def differences(
    model: dict[str, ResampledMetric], other: dict[str, ResampledMetric], confidence: float = 0.95
) -> dict[str, dict[str, float]]:
    """Return `{metric: {value, low, high, p}}` of `model` minus `other` on the same records."""
    return {name: model[name].minus(other[name], confidence) for name in model}
