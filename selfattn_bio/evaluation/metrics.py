"""Compute metrics with bootstrap intervals, and paired differences between classifiers.

Every metric is a function of (labels, probabilities, threshold, weights), where the weight of a
record is the number of times it was sampled. If all weights are 1, the result is the value of the
metric. The bootstrap evaluates thousands of resamples at once, one per row of weights. All
classifiers on one set of records use the same resamples, so that differences form a paired
bootstrap. Records that are not independent, such as those of one locus, are resampled together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, ndtri

from selfattn_bio.evaluation.calibration import bins_of, log_odds, logistic_line
from selfattn_bio.evaluation.units import Units
from selfattn_bio.objectives.ranking import AREAS, curve_areas

Array = NDArray[np.float64]
CHUNK = 2_000_000  # maximum number of weights in memory
SIMULATIONS = 200  # for the floor of the calibration error
# lowest and highest possible value of each metric of two classes
OF_CALLS = dict.fromkeys(("auroc", "auprc", "mcc", "accuracy", "f1", "brier", "ece"), (0, 1))
OF_CALLS["mcc"] = (-1, 1)
CALLED = ("mcc", "accuracy", "f1")  # metrics that depend on a threshold
AT_HALF = "_at_half"  # suffix of their names at a threshold of 0.5
OF_CALLS |= {f"{name}{AT_HALF}": OF_CALLS[name] for name in CALLED}
RANGES = OF_CALLS | {  # of all metrics with a range
    **dict.fromkeys(("macro_f1", "precision", "recall"), (0, 1)),
    **dict.fromkeys(("pearson", "pearson_across", "spearman"), (-1, 1)),
    "r2": (-np.inf, 1),
    "mse": (0, np.inf),
    **dict.fromkeys(("jsd", "jsd_replicates"), (0, np.sqrt(np.log(2)))),
}
TITLES = {  # in the order of tables; other metrics are shown with their names
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "mcc": "MCC",
    "accuracy": "accuracy",
    "f1": "F1",
    "mcc_at_half": "MCC at 0.5",
    "accuracy_at_half": "accuracy at 0.5",
    "f1_at_half": "F1 at 0.5",
    "brier": "Brier",
    "ece": "ECE",
    "calibration_slope": "calibration slope",
    "calibration_intercept": "calibration intercept",
    "worst_auroc": "AUROC of the worst group",
    "pearson": "Pearson's r",
    "pearson_across": "Pearson's r across columns",
    "spearman": "Spearman's rho",
    "r2": "R²",
    "mse": "MSE",
    "macro_f1": "macro F1",
    "bits_per_letter": "bits per letter",
    "mean": "mean of the parts",
    "jsd": "JS distance of profiles",
    "jsd_replicates": "JS distance of pseudo-replicates",
}
ANY_VALUE = (-np.inf, np.inf)
LOWER_IS_BETTER = frozenset(
    {"brier", "ece", "mse", "perplexity", "bits_per_letter", "loss", "jsd", "jsd_replicates"}
)


def title_of(metric: str) -> str:
    """Return the name of a metric for logs, reports and plots.

    The metric of a part, such as activity.r2, becomes "activity: R²".
    """
    part, _, name = metric.rpartition(".")
    return f"{part}: {TITLES.get(name, name)}" if part else TITLES.get(name, name)


def estimates(entry: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the metrics of an entry of metrics.json, without its threshold and settings."""
    for metric, found in entry.items():
        if isinstance(found, Mapping) and "value" in found:
            yield metric, found


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
    floor
        Value that a perfect classifier would have, or None if that is the best value.
    """

    value: float
    draws: Array
    low_high: tuple[float, float] = ANY_VALUE
    floor: float | None = None

    def interval(self, confidence: float = 0.95) -> dict[str, Any]:
        """Return `{value, low, high}`, a percentile interval centred on the value, and the `floor`.

        The interval is shifted so that the mean of the resamples equals the value. This removes the
        bias of the bootstrap. Without it, the calibration error, which resampling inflates, would
        be outside its own interval. The ends are clipped to the range of the metric. An undefined
        value, such as the correlation with a constant, and its ends are None. Resamples in which
        the metric is undefined are left out.

        References
        ----------
        Efron and Tibshirani 1993, chapters 10 and 13.
        """
        if not np.isfinite(self.value):
            return dict.fromkeys(("value", "low", "high"))
        tail, known = (1 - confidence) / 2, self.draws[np.isfinite(self.draws)]
        low, high = np.quantile(known, [tail, 1 - tail]) - (known.mean() - self.value)
        return {
            "value": self.value,
            "low": float(max(low, self.low_high[0])),
            "high": float(min(high, self.low_high[1])),
            **({} if self.floor is None else {"floor": self.floor}),
        }

    def minus(self, other: ResampledMetric, confidence: float = 0.95) -> dict[str, Any]:
        """Return `{value, low, high, p}` of this metric minus `other`.

        Both must come from the same `Bootstrap`. p is two-sided and at least 2 / (draws + 1).
        Resamples in which one of them is undefined are left out. The interval includes 0 if more
        than (1 - confidence) / 2 of the resamples reach it. Its shift could move it beyond 0, for
        example if two classifiers differ in one of few records.
        """
        draws = self.draws - other.draws
        draws = draws[np.isfinite(draws)]
        beyond = min(int((draws <= 0).sum()), int((draws >= 0).sum()))
        difference = ResampledMetric(self.value - other.value, draws).interval(confidence)
        if difference["value"] is None:
            return {**difference, "p": None}
        if 2 * beyond > (1 - confidence) * len(draws):
            difference |= {"low": min(0.0, difference["low"]), "high": max(0.0, difference["high"])}
        return {**difference, "p": min(1.0, 2 * (1 + beyond) / (len(draws) + 1))}


Sampled = dict[str, ResampledMetric]  # by metric


def resamples(
    units: NDArray[np.int64], draws: int, seed: int, labels: NDArray[np.int64] | None = None
) -> Iterator[NDArray[np.float32]]:
    """Yield chunks of sampling counts, (rows, n), the same on every call.

    Parameters
    ----------
    units
        Number of each record's unit, from 0, (n,). Complete units are sampled.
    draws, seed
        Number of resamples; the same seed gives the same resamples.
    labels
        0 or 1, (n,). If units are single records, they are sampled within each class. Otherwise,
        resamples with only one label are replaced.
    """
    rng, number = np.random.default_rng(seed), int(units.max()) + 1
    strata, holds = [np.arange(number)], np.ones((number, 1), dtype=bool)
    if labels is not None:
        holds = np.stack([np.bincount(units, labels == k, number) > 0 for k in (0, 1)], axis=1)
        if number == len(units):
            strata = [np.flatnonzero(of_class) for of_class in holds.T]
    rows_at_once = max(1, CHUNK // len(units))
    while draws:
        rows = min(draws, rows_at_once)
        draws -= rows
        counts = np.zeros((rows, number), dtype=np.float32)
        while len(lacking := np.flatnonzero((counts @ holds == 0).any(axis=1))):
            for members in strata:
                size = len(lacking), len(members)
                sampled = rng.integers(size[1], size=size) + np.arange(size[0])[:, None] * size[1]
                counts[np.ix_(lacking, members)] = np.bincount(
                    sampled.ravel(), minlength=size[0] * size[1]
                ).reshape(size)
        yield counts[:, units]


@dataclass(frozen=True)
class Bootstrap:
    """Resample labelled records, or units of records, and compute metrics.

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
    units
        Number of each record's unit, from 0, (n,), as for `resamples`. None for single records,
        sampled within each class.

    Raises
    ------
    ValueError
        If `labels` contains values other than 0 and 1, or only one of them.
    """

    labels: NDArray[np.int64]
    draws: int = 1000
    seed: int = 0
    bins: int = 15
    units: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if (found := sorted(set(np.asarray(self.labels).tolist()))) != [0, 1]:
            raise ValueError(f"labels must contain both 0 and 1 and nothing else; found {found}")

    def metrics(self, probabilities: ArrayLike, threshold: float) -> Sampled:
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
        calibration error, with the `floor` of `ece_floor`), and mcc_at_half, accuracy_at_half and
        f1_at_half with 0.5 in place of `threshold`.

        Raises
        ------
        ValueError
            If a probability is not in [0, 1].
        """
        p = np.asarray(probabilities, dtype=np.float64)
        if not ((p >= 0) & (p <= 1)).all():
            raise ValueError(f"probability {p[~((p >= 0) & (p <= 1))][0]} is not between 0 and 1")
        labels = np.asarray(self.labels)
        units = np.arange(len(labels)) if self.units is None else self.units
        compute = _Metrics(labels, p, threshold, self.bins)
        values = compute(np.ones((1, len(p)), dtype=np.float32))
        rows = [compute(weights) for weights in resamples(units, self.draws, self.seed, labels)]
        return {
            name: ResampledMetric(
                float(values[name][0]),
                np.concatenate([row[name] for row in rows]),
                OF_CALLS[name],
                ece_floor(p, self.bins) if name == "ece" else None,
            )
            for name in OF_CALLS
        }


def ece_floor(probabilities: Array, bins: int) -> float:
    """Return the expected calibration error that a perfectly calibrated model would have.

    Labels are simulated from the probabilities (n,). The error of few records is far from 0 by
    chance: 0.016 for the 5,396 test records of the promoters.
    """
    bin_of = bins_of(probabilities, bins)
    order = np.argsort(bin_of, kind="stable")
    p, starts = probabilities[order], np.flatnonzero(np.diff(bin_of[order], prepend=-1))
    rng = np.random.default_rng(0)
    errors = [
        np.abs(np.add.reduceat((rng.random(len(p)) < p) - p, starts)).sum()
        for _ in range(SIMULATIONS)
    ]
    return float(np.mean(errors) / len(p))


def calibration_line(
    labels: NDArray[np.int64], probabilities: Array, units: Units, confidence: float = 0.95
) -> dict[str, dict[str, float | None]]:
    """Regress labels on the log-odds of probabilities; slope 1 and intercept 0 are perfect.

    A slope below 1 means that probabilities are too extreme, an intercept below 0 that they are too
    high. Labels are not smoothed as in `calibration.fit_platt`: with 40 records, smoothing would
    lower the slope of a perfect model to 0.7.

    Returns
    -------
    `{"calibration_slope": {value, low, high}, "calibration_intercept": ...}`. Intervals are normal,
    with the variance over units. A constant probability has slope 0. Values are None if the
    probabilities separate the labels completely, because the slope is then infinite.

    References
    ----------
    Cox 1958, Two further applications of a model for binary regression; Liang and Zeger 1986
    (variance over units).
    """
    x = np.stack([log_odds(probabilities), np.ones(len(labels))], axis=1)
    positives, negatives = (x[labels == k, 0] for k in (1, 0))
    if np.ptp(x[:, 0]) and (
        negatives.max() <= positives.min() or positives.max() <= negatives.min()
    ):
        undefined = dict.fromkeys(("value", "low", "high"))
        return {"calibration_slope": undefined, "calibration_intercept": undefined}
    line = logistic_line(x[:, 0], labels)
    fitted = expit(x @ line)
    curvature = (x * (fitted * (1 - fitted))[:, None]).T @ x
    influence = (x * (labels - fitted)[:, None]) @ np.linalg.pinv(curvature)
    sums = np.stack([np.bincount(units.numbers, column) for column in influence.T])
    widths = ndtri((1 + confidence) / 2) * np.sqrt((sums**2).sum(axis=1))
    return {
        f"calibration_{name}": {
            "value": float(value),
            "low": float(value - half),
            "high": float(value + half),
        }
        for name, value, half in zip(("slope", "intercept"), line, widths, strict=True)
    }


class _Metrics:
    """Compute the metrics of one classifier for weights (rows, n), as arrays (rows,).

    Values that do not depend on weights are computed once.
    """

    def __init__(self, labels: NDArray[np.int64], p: Array, threshold: float, bins: int) -> None:
        self.areas = curve_areas(p, labels)
        self.confusion = {
            "": _confusion(labels, p >= threshold),
            AT_HALF: _confusion(labels, p >= 0.5),
        }
        self.squared = ((p - labels) ** 2).astype(np.float32)
        # label - probability, in the column of the probability's bin
        self.excess = np.zeros((len(p), bins), dtype=np.float32)
        self.excess[np.arange(len(p)), bins_of(p, bins)] = labels - p

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
            **dict(zip(AREAS, self.areas(weights), strict=True)),
            **called,
            "brier": (weights @ self.squared) / total,
            "ece": np.abs(weights @ self.excess).sum(axis=1) / total,
        }


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


def intervals(sampled: Sampled, confidence: float = 0.95) -> dict[str, dict[str, Any]]:
    """Return `{metric: {value, low, high}}`, the form of metrics.json."""
    return {name: metric.interval(confidence) for name, metric in sampled.items()}


def differences(model: Sampled, other: Sampled, confidence: float) -> dict[str, dict[str, Any]]:
    """Return `{metric: {value, low, high, p}}` of `model` minus `other` on the same records."""
    return {name: model[name].minus(other[name], confidence) for name in model}
