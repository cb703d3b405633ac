"""metrics.json: the model beside baselines and controls on valid and test, their differences, and slices.

Hides: the form of the file. Works on predictions alone, so that a classifier of any kind is judged by the same lines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import logit as _logit
from sklearn.metrics import roc_auc_score

from selfattn_bio.config import Evaluation
from selfattn_bio.evaluation.calibration import calibrate
from selfattn_bio.evaluation.groups import Names, group_metrics
from selfattn_bio.evaluation.metrics import Bootstrap, Sampled, differences, intervals
from selfattn_bio.evaluation.slices import quantile_edges, slice_metrics

SIDES = ("valid", "test")
Role = Literal["model", "baseline", "control"]
NETWORK = "network"  # the network of a stacked model, without the stack


@dataclass(frozen=True)
class Classifier:
    """What one classifier said of each side's records.

    Parameters
    ----------
    role
        The model, a baseline beside it, or a control that must fail.
    probabilities
        By side ("valid", "test"): of label 1, shape (n,).
    threshold
        A probability at or above it is a call; from valid.
    logits, temperature
        Of a network, by side, and what calibration divides them by; None where there are none.
    chosen
        What valid chose, for the report.
    members
        By side: the logits (M, n) of each of several networks, of which `logits` are the mean; none of a single one.
    """

    role: Role
    probabilities: dict[str, NDArray[np.float64]]
    threshold: float
    logits: dict[str, NDArray[np.float64]] | None = None
    temperature: float | None = None
    chosen: dict[str, Any] = field(default_factory=dict)
    members: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    @classmethod
    def of_logits(
        cls,
        role: Role,
        logits: dict[str, NDArray[np.float64]],
        temperature: float,
        threshold: float,
        chosen: Mapping[str, Any] = MappingProxyType({}),
    ) -> Classifier:
        """Make one of logits: `threshold` is one of calibrated probabilities, `probabilities` are those before calibration."""
        before = float(calibrate(_logit(threshold), 1 / temperature))
        fitted = {"temperature": temperature, "calibrated_threshold": threshold}
        return cls(role, {side: calibrate(z, 1.0) for side, z in logits.items()}, before, logits, temperature, fitted | dict(chosen))

    @classmethod
    def of_members(cls, role: Role, members: dict[str, NDArray[np.float64]], temperature: float, threshold: float) -> Classifier:
        """The classifier of the mean logit of several networks."""
        mean = cls.of_logits(role, {side: each.mean(axis=0) for side, each in members.items()}, temperature, threshold)
        return replace(mean, members=members)

    def calibrated(self, side: str) -> NDArray[np.float64] | None:
        """Probabilities after temperature scaling, or None for a classifier without logits."""
        return None if self.logits is None or self.temperature is None else calibrate(self.logits[side], self.temperature)


def summarise(
    classifiers: dict[str, Classifier],
    labels: dict[str, NDArray[np.int64]],
    properties: dict[str, dict[str, NDArray[np.float64]]],
    settings: Evaluation,
    groups: Mapping[str, Names] = MappingProxyType({}),
) -> dict[str, Any]:
    """Judge every classifier on valid and test.

    Parameters
    ----------
    classifiers
        By name; exactly one, "model", has the role of the model.
    labels
        By side: 0 or 1, shape (n,).
    properties
        What to slice test by: name -> {"train": (n,), "test": (n,)}; edges come from train.
    settings
        The run file's [evaluation].
    groups
        By what they are groups of: the group of each record of test, (n,).

    Returns
    -------
    The content of metrics.json: `test` and `valid` with `model`, `baselines`, `controls` (each `{metric: {value, low, high}}` with
    `chosen` and `threshold`, which comes from valid: mcc, accuracy and f1 use it, and mcc_at_half, accuracy_at_half and f1_at_half use
    0.5) and, of what is the mean of several networks, `members`; `differences` on test (model minus
    baseline; the best baseline is the one with the highest AUROC on test, the hardest to beat), `slices`,
    `groups` (`groups.group_metrics` of each).
    """
    summary: dict[str, Any] = {"bootstraps": settings.bootstraps, "confidence": settings.confidence}
    for side in SIDES:
        bootstrap = Bootstrap(labels[side], settings.bootstraps, settings.seed, settings.calibration_bins)
        sampled = {name: bootstrap.metrics(c.probabilities[side], classifiers[name].threshold) for name, c in classifiers.items()}
        summary[side] = _side(bootstrap, classifiers, sampled, side, settings.confidence)
    summary["differences"] = _differences(classifiers, sampled, settings.confidence)  # of test, the last side
    shown = ["model", summary["differences"]["best_baseline"]]
    predictions = {name: (classifiers[name].probabilities["test"], classifiers[name].threshold) for name in shown if name}
    summary["slices"] = {
        name: slice_metrics(
            values["test"],
            quantile_edges(values["train"], settings.gc_slices),
            labels["test"],
            predictions,
            settings.bootstraps,
            settings.confidence,
        )
        for name, values in properties.items()
    }
    summary["groups"] = {
        by: group_metrics(names, labels["test"], predictions, settings.bootstraps, settings.confidence) for by, names in groups.items()
    }
    return summary


def predictions_table(ids: list[str], labels: NDArray[np.int64], classifiers: dict[str, Classifier], side: str) -> pd.DataFrame:
    """One row a record: id, label, the probability of each classifier by name, `model_logit`, `model_calibrated`, `model_spread`."""
    table = pd.DataFrame({"id": ids, "label": labels})
    for name, classifier in classifiers.items():
        table[name] = classifier.probabilities[side]
    model = classifiers["model"]
    if model.logits is not None:
        table["model_logit"], table["model_calibrated"] = model.logits[side], model.calibrated(side)
    if model.members:
        table["model_spread"] = spread(model.members[side])
    return table


def spread(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores (M, ...) of the members -> (...) their standard deviation over the members."""
    return scores.std(axis=0, ddof=1)


def members_entry(metric: str, each: list[float], scores: NDArray[np.float64]) -> dict[str, Any]:
    """What metrics.json says of members alone: the metric of each, and the spread of a score (M, ...), mean over the records.

    None where the metric is not defined.
    """
    known = [value for value in each if np.isfinite(value)]
    low, high = (min(known), max(known)) if known else (None, None)
    shown = [value if np.isfinite(value) else None for value in each]
    return {"metric": metric, "each": shown, "min": low, "max": high, "spread": float(spread(scores).mean())}


def _side(
    bootstrap: Bootstrap,
    classifiers: dict[str, Classifier],
    sampled: dict[str, dict[str, Sampled]],
    side: str,
    confidence: float,
) -> dict[str, Any]:
    found: dict[str, Any] = {"n": len(bootstrap.labels), "positives": int(bootstrap.labels.sum()), "baselines": {}, "controls": {}}
    for name, classifier in classifiers.items():
        entry: dict[str, Any] = {
            **intervals(sampled[name], confidence),
            "threshold": classifiers[name].threshold,
            "chosen": classifier.chosen,
        }
        if (calibrated := classifier.calibrated(side)) is not None:
            after = intervals(bootstrap.metrics(calibrated, classifiers[name].threshold), confidence)
            entry["calibrated"] = {metric: after[metric] for metric in ("brier", "ece")}  # the others need no calibrated probability
        if classifier.role == "model":
            found["model"] = entry
        else:
            found[f"{classifier.role}s"][name] = entry
        if classifier.members:
            each = [float(roc_auc_score(bootstrap.labels, logits)) for logits in classifier.members[side]]
            found.setdefault("members", {})[name] = members_entry("auroc", each, classifier.members[side])
    return found


def _differences(classifiers: dict[str, Classifier], sampled: dict[str, dict[str, Sampled]], confidence: float) -> dict[str, Any]:
    beside = [name for name, classifier in classifiers.items() if classifier.role == "baseline"]
    best = max((name for name in beside if name != NETWORK), key=lambda name: sampled[name]["auroc"].value, default=None)
    return {"best_baseline": best, "baselines": {name: differences(sampled["model"], sampled[name], confidence) for name in beside}}
