"""Calibrate the probabilities of a binary classifier and choose its decision threshold.

All functions that fit something take logits or probabilities of validation records, which the
network was not trained on.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, logit

TINY = 1e-12  # probabilities are clipped to [TINY, 1 - TINY], so that log-odds are finite
# Temperatures from 0.018 to 55. Beyond these limits all probabilities are near 0.5, or near 0 or 1.
LOG_TEMPERATURE = (-4.0, 4.0)


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """Find the temperature T that maximises the likelihood of sigmoid(logit / T).

    An overconfident network gets T > 1. AUROC does not change.

    Parameters
    ----------
    logits
        Shape (n,), of validation records.
    labels
        0 or 1, shape (n,).

    Returns
    -------
    The temperature, within the limits of `LOG_TEMPERATURE`.

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

    return float(
        np.exp(
            minimize_scalar(
                loss, bounds=LOG_TEMPERATURE, method="bounded", options={"xatol": 1e-6}
            ).x
        )
    )


def fit_slope(logits: ArrayLike, labels: ArrayLike) -> float:
    """Fit the slope of a logistic regression of the labels on the logits.

    The slope is the increase in the log-odds of label 1 per unit of logit. It is about 0 if the
    logits do not separate the labels, because the regression has an intercept. 1 / temperature
    cannot be used instead: without an intercept, the temperature of such logits only moves their
    mean towards the base rate of the labels. Targets are smoothed as in Platt's method, so that the
    slope is finite even if the logits separate the labels completely.

    Parameters
    ----------
    logits
        Shape (n,), of validation records.
    labels
        0 or 1, shape (n,).

    Returns
    -------
    The slope, at least 0.

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
    """Return the probabilities of label 1, sigmoid(logits / temperature), in the given shape."""
    return expit(np.asarray(logits, dtype=np.float64) / temperature)


def choose_threshold(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Choose the threshold: records with at least this probability are called positive.

    The threshold maximises the expected Matthews correlation. A logistic regression of the labels
    on the log-odds of the probabilities (Platt's method) estimates how likely each record is
    positive. Every cut between two records of neighbouring probabilities is evaluated with these
    estimates. Maximising the observed correlation instead would make the threshold depend on the
    few records near it: on six data sets such thresholds, chosen on half of the validation records,
    had a correlation lower by 0.008 on the other half (docs/decisions.md#baselines).

    Parameters
    ----------
    probabilities
        Probabilities of label 1, shape (n,), of validation records.
    labels
        0 or 1, shape (n,).

    Returns
    -------
    The probability midway between two records. It is 0.5 if no cut is better than chance: all
    probabilities are equal, there is only one class, or label 1 has lower probabilities.

    Raises
    ------
    ValueError
        If the shapes differ, there is no record, or a probability is not finite.
    """
    p, y = _checked(probabilities, labels, "probabilities")
    ranked = np.sort(p)[::-1]
    # a cut after record i of the ranking, only possible if the next probability differs
    gaps = np.flatnonzero(ranked[:-1] > ranked[1:])
    if not len(gaps) or y.all() or not y.any():
        return 0.5
    slope, intercept = _platt(_logit(p), y)
    if slope <= 0:
        return 0.5
    expected = expit(slope * _logit(ranked) + intercept)  # probability that each record is positive
    positives, called = expected.sum(), gaps + 1  # called: number of records above the cut
    negatives = len(p) - positives
    tp = np.cumsum(expected)[gaps]
    # TP x TN - FP x FN; divided by the factors of the Matthews correlation that depend on the cut
    covariance = tp * (negatives - called + tp) - (called - tp) * (positives - tp)
    best = gaps[int(np.argmax(covariance / np.sqrt(called * (len(p) - called))))]
    return float((ranked[best] + ranked[best + 1]) / 2)


def reliability(
    probabilities: ArrayLike, labels: ArrayLike, bins: int = 10
) -> dict[str, NDArray[np.float64]]:
    """Compare predicted probabilities with observed fractions in equally wide bins of [0, 1].

    Parameters
    ----------
    probabilities
        Probabilities of label 1, shape (n,).
    labels
        0 or 1, shape (n,).
    bins
        Number of bins.

    Returns
    -------
    `predicted` (mean probability), `observed` (fraction of label 1) and `count` (records) of each
    non-empty bin, by increasing probability.

    Raises
    ------
    ValueError
        If the shapes differ, there is no record, or a probability is not finite.
    """
    p, y = _checked(probabilities, labels, "probabilities")
    bin_of = np.minimum((p * bins).astype(int), bins - 1)
    count, predicted, observed = (
        np.bincount(bin_of, weights=w, minlength=bins) for w in (np.ones_like(p), p, y)
    )
    filled = count > 0
    return {
        "predicted": predicted[filled] / count[filled],
        "observed": observed[filled] / count[filled],
        "count": count[filled].astype(np.float64),
    }


def _checked(
    values: ArrayLike, labels: ArrayLike, name: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return values and labels as float64 (n,), or raise ValueError; `name` is for the message."""
    x, y = np.asarray(values, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(
            f"{name} have shape {x.shape} and labels {y.shape}; both need one number per record"
        )
    if not len(x):
        raise ValueError(f"{name} are empty")
    if not np.isfinite(x).all():
        first = int(np.flatnonzero(~np.isfinite(x))[0])
        raise ValueError(f"{name} contain {x[first]} at index {first}; all must be finite")
    return x, y


def _platt(z: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Return slope (at least 0) and intercept of a logistic regression of the labels on `z`."""
    target = np.where(y == 1, (y.sum() + 1) / (y.sum() + 2), 1 / (len(y) - y.sum() + 2))
    spread = z.std() or 1.0  # if all logits are equal, the slope becomes 0
    x = (z - z.mean()) / spread

    def loss(line: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        fitted = line[0] * x + line[1]
        error = expit(fitted) - target
        return float(np.mean(np.logaddexp(0, fitted) - target * fitted)), np.array(
            [np.mean(error * x), np.mean(error)]
        )

    slope, intercept = minimize(
        loss, [0.0, 0.0], jac=True, bounds=[(0, None), (None, None)], method="L-BFGS-B"
    ).x
    return float(slope / spread), float(intercept - slope * z.mean() / spread)


def _logit(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the log-odds of probabilities, clipped so that they are finite for 0 and 1."""
    return logit(np.clip(p, TINY, 1 - TINY))
