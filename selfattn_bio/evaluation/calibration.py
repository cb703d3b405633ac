"""From logits to probabilities one can believe, and the threshold that turns them into a call. Both are fitted on valid.

Hides: the searches. Used by training (which stores the figures with the model) and by evaluation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, logit

TINY = 1e-12  # a probability nearer to 0 or 1 has the log-odds of this one
LOG_TEMPERATURE = (-4.0, 4.0)  # temperatures of .018 to 55: beyond, the logits say nothing or everything


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """Find the temperature T by which logits must be divided so that sigmoid(logit / T) is the likeliest for the labels.

    A network that is too sure of itself gets T > 1. AUROC does not change.

    Parameters
    ----------
    logits
        Shape (n,), of records that the network was not trained on.
    labels
        0 or 1, shape (n,).

    Raises
    ------
    ValueError
        If the shapes differ, there is no record, or a logit is not finite.

    References
    ----------
    Guo et al. 2017, On calibration of modern neural networks.
    """
    z, y = _checked(logits, labels, "logits")

    def loss(log_temperature: float) -> float:
        scaled = z / np.exp(log_temperature)
        return float(np.mean(np.logaddexp(0, scaled) - y * scaled))

    return float(np.exp(minimize_scalar(loss, bounds=LOG_TEMPERATURE, method="bounded", options={"xatol": 1e-6}).x))


def fit_slope(logits: ArrayLike, labels: ArrayLike) -> float:
    """Find how many log-odds of label 1 a logit is worth: the slope of a logistic regression of the labels on the logits, 0 at least.

    The temperature cannot say it, for it has no intercept: logits that tell nothing, but lie off the labels' base rate, get a temperature
    that moves their mean there. The intercept takes that here, and the slope of such logits is about 0. The targets are smoothed as
    Platt's, so that the slope is finite where the logits separate the labels.

    Parameters
    ----------
    logits
        Shape (n,), of records that the network was not trained on.
    labels
        0 or 1, shape (n,).

    Raises
    ------
    ValueError
        If the shapes differ, there is no record, or a logit is not finite.

    References
    ----------
    Platt 1999, Probabilistic outputs for support vector machines.
    """
    return _platt(*_checked(logits, labels, "logits"))[0]


def calibrate(logits: ArrayLike, temperature: float) -> NDArray[np.float64]:
    """The probability of label 1, sigmoid(logit / temperature), shape as `logits`."""
    return expit(np.asarray(logits, dtype=np.float64) / temperature)


def choose_threshold(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Find the probability at or above which a record should be called 1.

    It is the cut with the highest expected Matthews correlation: a logistic regression of the labels
    on the logits (Platt's) says how likely each record is a 1, and every cut between two neighbouring
    records is tried on these. The cut with the highest correlation with the labels themselves depends
    on a few records near it: chosen on half of the validation records of six sets, it had a
    correlation .008 lower on the other half (docs/decisions.md#baselines).

    Parameters
    ----------
    probabilities
        Of label 1, shape (n,), of validation records.
    labels
        0 or 1, shape (n,).

    Returns
    -------
    A probability, in the middle between two records; 0.5 where no cut is better than chance (all
    probabilities equal, one class, or lower probabilities for label 1).

    Raises
    ------
    ValueError
        If the shapes differ, there is no record, or a probability is not finite.
    """
    p, y = _checked(probabilities, labels, "probabilities")
    ranked = np.sort(p)[::-1]
    gaps = np.flatnonzero(ranked[:-1] > ranked[1:])  # a cut can only fall between unequal neighbours
    if not len(gaps) or y.all() or not y.any():
        return 0.5
    slope, intercept = _platt(_logit(p), y)
    if slope <= 0:
        return 0.5
    chance = expit(slope * _logit(ranked) + intercept)
    positives, called = chance.sum(), gaps + 1
    negatives = len(p) - positives
    tp = np.cumsum(chance)[gaps]
    covariance = tp * (negatives - called + tp) - (called - tp) * (positives - tp)
    best = gaps[int(np.argmax(covariance / np.sqrt(called * (len(p) - called))))]
    return float((ranked[best] + ranked[best + 1]) / 2)


def reliability(probabilities: ArrayLike, labels: ArrayLike, bins: int = 10) -> dict[str, NDArray[np.float64]]:
    """What was predicted against what was seen, in equally wide bins of [0, 1]; bins without a record are left out.

    Returns
    -------
    `predicted` (mean probability), `observed` (share of label 1) and `count`, each of shape (filled bins,), by rising probability.

    Raises
    ------
    ValueError
        If the shapes differ, there is no record, or a probability is not finite.
    """
    p, y = _checked(probabilities, labels, "probabilities")
    bin_of = np.minimum((p * bins).astype(int), bins - 1)
    count, predicted, observed = (np.bincount(bin_of, weights=w, minlength=bins) for w in (np.ones_like(p), p, y))
    filled = count > 0
    return {
        "predicted": predicted[filled] / count[filled],
        "observed": observed[filled] / count[filled],
        "count": count[filled].astype(np.float64),
    }


def _checked(values: ArrayLike, labels: ArrayLike, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = np.asarray(values, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"{name} must be one number a label, shape {y.shape}, got {x.shape}")
    if not len(x):
        raise ValueError(f"{name} must hold at least one record, got none")
    if not np.isfinite(x).all():
        raise ValueError(f"{name} must be finite, got {x[~np.isfinite(x)][0]} at {int(np.flatnonzero(~np.isfinite(x))[0])}")
    return x, y


def _platt(z: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Return slope, 0 at least, and intercept of a logistic regression of the labels on `z`."""
    target = np.where(y == 1, (y.sum() + 1) / (y.sum() + 2), 1 / (len(y) - y.sum() + 2))
    spread = z.std() or 1.0  # logits that are all the same get a slope of 0
    x = (z - z.mean()) / spread

    def loss(line: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        fitted = line[0] * x + line[1]
        error = expit(fitted) - target
        return float(np.mean(np.logaddexp(0, fitted) - target * fitted)), np.array([np.mean(error * x), np.mean(error)])

    slope, intercept = minimize(loss, [0.0, 0.0], jac=True, bounds=[(0, None), (None, None)], method="L-BFGS-B").x
    return float(slope / spread), float(intercept - slope * z.mean() / spread)


def _logit(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return log-odds of probabilities; those of 0 and 1 are finite."""
    return logit(np.clip(p, TINY, 1 - TINY))
