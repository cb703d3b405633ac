"""Calibrate probabilities and choose the decision threshold.

Both are fitted to validation records.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, logit

TINY = 1e-12  # probabilities are clipped to [TINY, 1 - TINY] for log-odds
# Temperatures of .018 to 55; beyond, the probabilities would all be 0.5, or 0 and 1
LOG_TEMPERATURE = (-4.0, 4.0)


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """Find the temperature T that maximises the likelihood of sigmoid(logit / T).

    An overconfident network gets T > 1. AUROC does not change.

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

    return float(
        np.exp(
            minimize_scalar(
                loss, bounds=LOG_TEMPERATURE, method="bounded", options={"xatol": 1e-6}
            ).x
        )
    )


def fit_slope(logits: ArrayLike, labels: ArrayLike) -> float:
    """Fit the slope of a logistic regression of the labels on the logits; at least 0.

    The slope is the number of log-odds of label 1 that a logit is worth. The temperature cannot
    replace it, because it has no intercept. Uninformative logits that differ from the base rate of
    the labels get a temperature that moves their mean there. With an intercept, the slope of such
    logits is about 0. Targets are smoothed as in Platt's method, so that the slope is finite if the
    logits separate the labels.

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
    """Return the probability of label 1, sigmoid(logit / temperature), in the shape of `logits`."""
    return expit(np.asarray(logits, dtype=np.float64) / temperature)


def choose_threshold(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Find the probability at or above which a record should be called positive.

    The threshold maximises the expected Matthews correlation. A logistic regression of the labels
    on the logits (Platt's method) estimates how likely each record is positive, and every cut
    between two neighbouring records is evaluated with these estimates. The cut with the highest
    observed correlation would depend on a few records near it: chosen on half of the validation
    records of six sets, its correlation was .008 lower on the other half
    (docs/decisions.md#baselines).

    Parameters
    ----------
    probabilities
        Probabilities of label 1, shape (n,), of validation records.
    labels
        0 or 1, shape (n,).

    Returns
    -------
    A probability, in the middle between two records. It is 0.5 if no cut is better than chance (all
    probabilities equal, one class, or lower probabilities for label 1).

    Raises
    ------
    ValueError
        If the shapes differ, there is no record, or a probability is not finite.
    """
    p, y = _checked(probabilities, labels, "probabilities")
    ranked = np.sort(p)[::-1]
    gaps = np.flatnonzero(ranked[:-1] > ranked[1:])  # a cut can only be between unequal neighbours
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


def reliability(
    probabilities: ArrayLike, labels: ArrayLike, bins: int = 10
) -> dict[str, NDArray[np.float64]]:
    """Compare predicted probabilities with observed fractions in equally wide bins of [0, 1].

    Returns
    -------
    `predicted` (mean probability), `observed` (fraction of label 1) and `count`, each of shape
    (non-empty bins,), by increasing probability.

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
