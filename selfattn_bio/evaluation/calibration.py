"""Calibrate models on validation records: probabilities, thresholds and prediction sets.

Functions that fit something take outputs of validation records, which the network was not trained
on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import scipy
from numpy.typing import ArrayLike, NDArray

from selfattn_bio.arrays import Floats, Integers
from selfattn_bio.errors import ArgumentError
from selfattn_bio.objectives import Objective
from selfattn_bio.stored import LEAST_SLOPE

BINS = 10  # of the comparison of probabilities with observed fractions
TINY = 1e-12  # probabilities are clipped to [TINY, 1 - TINY], so that log-odds are finite
KEPT = 999  # scores per class; enough to meet the coverage to 0.001


@dataclass(frozen=True)
class Calibration:
    """How logits become probabilities and calls, fitted to validation records.

    Attributes
    ----------
    slope, intercept
        log-odds of label 1 = slope x logit + intercept.
    threshold
        Records with this probability or more are called positive.
    positive_fraction
        Fraction of positives for which the probabilities hold, that of the validation records. None
        if unknown.
    """

    slope: float = 1.0
    intercept: float = 0.0
    threshold: float = 0.5
    positive_fraction: float | None = None

    @classmethod
    def fit(cls, logits: ArrayLike, labels: ArrayLike) -> Calibration:
        """Fit slope, intercept and threshold to validation records.

        Arguments and errors are those of `fit_platt`.
        """
        line = cls(*fit_platt(logits, labels))
        threshold = choose_threshold(line.probabilities(np.asarray(logits)), labels)
        positive_fraction = float(np.asarray(labels).mean())
        return replace(line, threshold=threshold, positive_fraction=positive_fraction)

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Calibration:
        """Select the values of a calibration that was checked (`stored.StoredCalibration`).

        Those that are not stored have their defaults, which change nothing.
        """
        return cls(**{name: stored[name] for name in vars(cls()) if name in stored})

    @classmethod
    def mean(cls, several: Sequence[Calibration]) -> Calibration:
        """Average the calibrations of models whose logits are averaged.

        A calibration of the mean logit cannot be fitted when sequences are scored, because the
        validation records are not available then.
        """
        values = zip(*(vars(each).values() for each in several), strict=True)
        means: list[Any] = [None if None in each else float(np.mean(each)) for each in values]
        return cls(*means)

    @property
    def uncalibrated_threshold(self) -> float:
        """Return the threshold for sigmoid(logit) that gives the same calls."""
        fitted = scipy.special.logit(self.threshold) - self.intercept
        return float(scipy.special.expit(fitted / self.slope))

    def shift(self, prior: float | None) -> float:
        """Return the shift of calibrated log-odds for a different fraction of positives.

        Adding it to the log-odds adapts them to data in which the fraction `prior` is positive. It
        is 0 if `prior` is None. Calibrated log-odds hold for the fraction of positives in the
        validation split, whatever the fraction, class weights or balanced groups of training: the
        intercept corrects for these.

        Raises
        ------
        ArgumentError
            If `prior` is not in (0, 1), or the fraction of positives in validation is unknown.
        """
        if prior is None:
            return 0.0
        if not 0 < prior < 1:
            raise ArgumentError(f"prior {prior} is not between 0 and 1")
        if self.positive_fraction is None:
            raise ArgumentError(
                "prior cannot be used with this model, which does not store the fraction of "
                "positives in its validation split",
                hint="Train it again with this version",
            )
        return float(scipy.special.logit(prior) - scipy.special.logit(self.positive_fraction))

    def log_odds(self, logits: Floats) -> Floats:
        """Return calibrated log-odds of label 1, in the given shape."""
        return self.slope * logits + self.intercept

    def probabilities(self, logits: Floats) -> Floats:
        """Return calibrated probabilities of label 1, in the given shape."""
        return scipy.special.expit(self.log_odds(logits))


def fit_platt(logits: ArrayLike, labels: ArrayLike) -> tuple[float, float]:
    """Fit slope and intercept of a logistic regression of the labels on the logits.

    The slope is the increase in the log-odds of label 1 per unit of logit; it is about 0 if the
    logits do not separate the labels. The intercept corrects the fraction of positives, which is
    wrong after training with class weights or balanced groups. In a simulation with 11 % positives
    and balanced class weights, the expected calibration error is 0.008, and 0.265 with a
    temperature, which has no intercept. Targets are smoothed as in Platt's method, so that the
    slope is finite even if the logits separate the labels completely. AUROC does not change.

    Parameters
    ----------
    logits
        Shape (n,), of validation records.
    labels
        0 or 1, shape (n,).

    Returns
    -------
    The slope, at least `LEAST_SLOPE`, and the intercept.

    Raises
    ------
    ValueError
        If a logit is not finite.

    References
    ----------
    Platt 1999, Probabilistic outputs for support vector machines.
    """
    slope, intercept = platt_line(*_checked(logits, labels, "logits"))
    return max(slope, LEAST_SLOPE), intercept


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
        If a probability is not finite.
    """
    p, y = _checked(probabilities, labels, "probabilities")
    ranked = np.sort(p)[::-1]
    # a cut after record i of the ranking, only possible if the next probability differs
    gaps = np.flatnonzero(ranked[:-1] > ranked[1:])
    if not len(gaps) or y.all() or not y.any():
        return 0.5
    slope, intercept = platt_line(log_odds(p), y)
    if slope <= 0:
        return 0.5
    # expected: probability of being positive
    expected = scipy.special.expit(slope * log_odds(ranked) + intercept)
    positives, called = expected.sum(), gaps + 1  # called: number of records above the cut
    negatives = len(p) - positives
    tp = np.cumsum(expected)[gaps]
    # TP x TN - FP x FN; divided by the factors of the Matthews correlation that depend on the cut
    covariance = tp * (negatives - called + tp) - (called - tp) * (positives - tp)
    best = gaps[int(np.argmax(covariance / np.sqrt(called * (len(p) - called))))]
    return float((ranked[best] + ranked[best + 1]) / 2)


def reliability(probabilities: ArrayLike, labels: ArrayLike) -> pd.DataFrame:
    """Compare predicted probabilities with observed fractions in ten bins of [0, 1].

    Parameters
    ----------
    probabilities
        Probabilities of label 1, shape (n,).
    labels
        0 or 1, shape (n,).

    Returns
    -------
    One row per non-empty bin, by increasing probability: `predicted` (mean probability), `observed`
    (fraction of label 1) and `count` (records).

    Raises
    ------
    ValueError
        If a probability is not finite.
    """
    p, y = _checked(probabilities, labels, "probabilities")
    bins = pd.DataFrame({"predicted": p, "observed": y}).groupby(bins_of(p, BINS))
    return bins.mean().assign(count=bins.size())


def bins_of(p: Floats, bins: int) -> Integers:
    """Return the bin of [0, 1] of each probability; the last one includes 1."""
    return np.minimum((p * bins).astype(int), bins - 1)


def _checked(values: ArrayLike, labels: ArrayLike, name: str) -> tuple[Floats, Floats]:
    """Return values and labels as float64 (n,), or raise ValueError; `name` is for the message."""
    x, y = np.asarray(values, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    if not np.isfinite(x).all():
        first = int(np.flatnonzero(~np.isfinite(x))[0])
        raise ValueError(f"{name} contain {x[first]} at index {first}; all must be finite")
    return x, y


def platt_line(z: Floats, y: NDArray[Any]) -> tuple[float, float]:
    """Return slope (at least 0) and intercept of a regression of smoothed labels on `z`."""
    target = np.where(y == 1, (y.sum() + 1) / (y.sum() + 2), 1 / (len(y) - y.sum() + 2))
    return logistic_line(z, target, least=0.0)


def logistic_line(
    z: Floats, target: NDArray[Any], least: float | None = None
) -> tuple[float, float]:
    """Return slope (at least `least`) and intercept of a logistic regression of `target` on `z`.

    If the targets are labels that `z` separates, the slope has no maximum and the result is
    arbitrary.
    """
    spread = z.std() or 1.0  # if all logits are equal, the slope becomes 0
    x = (z - z.mean()) / spread

    def loss(line: Floats) -> tuple[float, Floats]:
        fitted = line[0] * x + line[1]
        error = scipy.special.expit(fitted) - target
        gradient = np.array([np.mean(error * x), np.mean(error)])
        return float(np.mean(np.logaddexp(0, fitted) - target * fitted)), gradient

    slope, intercept = scipy.optimize.minimize(
        loss, [0.0, 0.0], jac=True, bounds=[(least, None), (None, None)], method="L-BFGS-B"
    ).x
    return float(slope / spread), float(intercept - slope * z.mean() / spread)


def log_odds(p: Floats) -> Floats:
    """Return the log-odds of probabilities, clipped so that they are finite for 0 and 1."""
    return scipy.special.logit(np.clip(p, TINY, 1 - TINY))


def fit_conformal(
    objective: Objective[Any], outputs: Floats, targets: NDArray
) -> dict[str, Floats]:
    """Return the sorted nonconformity scores of the validation records, by class or column.

    The score of a record for its class is high if the model gives that class a low output. For
    numeric columns it is the absolute error. More than KEPT scores are reduced to KEPT quantiles,
    each rounded up to the next score. This can enlarge prediction sets but never shrinks them.

    Parameters
    ----------
    outputs
        Network outputs on the validation split, (n, C), as from `Scorer.outputs`.
    targets
        Targets as from `Objective.targets`.

    Returns
    -------
    Scores by class or column. Empty for objectives without prediction sets; classes without a
    record are left out.

    References
    ----------
    Vovk, Gammerman and Shafer 2005, Algorithmic learning in a random world; by class (Mondrian):
    Vovk 2012.
    """
    found = {}
    for name, scores in objective.nonconformity(outputs, targets).items():
        if len(scores):
            found[name] = np.sort(scores)
            if len(scores) > KEPT:
                found[name] = np.quantile(scores, np.linspace(0, 1, KEPT), method="higher")
    return found


def quantiles_of(fitted: Mapping[str, Floats], names: Sequence[str], coverage: float) -> Floats:
    """Return scores that a new record exceeds with a probability of at most 1 - `coverage`.

    Parameters
    ----------
    fitted
        Scores from `fit_conformal`.
    names
        Classes or numeric columns.
    coverage
        Between 0 and 1.

    Returns
    -------
    One score per name, (C,); infinite if the validation split has too few records of it.
    """
    return np.array([_quantile(fitted.get(name, np.empty(0)), coverage) for name in names])


def _quantile(scores: Floats, coverage: float) -> float:
    """Return the smallest calibration score with at least this coverage; infinite if too few."""
    rank = math.ceil((len(scores) + 1) * coverage)
    return float(scores[rank - 1]) if rank <= len(scores) else math.inf
