"""Summarise the predictions of the model, baselines and controls as metrics.json.

The summary covers the validation and test splits, paired differences, slices and groups. It is made
from predictions only, so every kind of classifier is evaluated by the same code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from selfattn_bio.config import EvaluationSection
from selfattn_bio.config.derived import NETWORK
from selfattn_bio.evaluation.calibration import Calibration
from selfattn_bio.evaluation.groups import Names, group_metrics, quantile_edges, slice_metrics
from selfattn_bio.evaluation.metrics import (
    Bootstrap,
    ResampledMetric,
    Units,
    calibration_line,
    differences,
    intervals,
)
from selfattn_bio.objectives.base import spread

EVALUATED_SPLITS = ("valid", "test")
Role = Literal["model", "baseline", "control"]


@dataclass(frozen=True)
class Classifier:
    """The predictions of one classifier for the validation and test splits.

    Parameters
    ----------
    role
        The model, a baseline for comparison, or a control that should fail.
    probabilities
        Probability of label 1 by split ("valid", "test"), shape (n,).
    threshold
        Records with this probability or more are called positive; chosen on the validation split.
    logits, calibration
        Logits by split, and their calibration; None for classifiers without logits.
    chosen
        Settings chosen on the validation split, for the report.
    members
        By split, the logits (M, n) of several networks whose mean is `logits`; empty for a single
        network.
    """

    role: Role
    probabilities: dict[str, NDArray[np.float64]]
    threshold: float
    logits: dict[str, NDArray[np.float64]] | None = None
    calibration: Calibration | None = None
    chosen: dict[str, Any] = field(default_factory=dict)
    members: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    @classmethod
    def of_logits(
        cls,
        role: Role,
        logits: dict[str, NDArray[np.float64]],
        calibration: Calibration,
        chosen: Mapping[str, Any] = MappingProxyType({}),
    ) -> Classifier:
        """Create a classifier from logits.

        It stores the probabilities before calibration, and the threshold converted to these.
        """
        fitted = {
            "slope": calibration.slope,
            "intercept": calibration.intercept,
            "calibrated_threshold": calibration.threshold,
        }
        return cls(
            role,
            {split: expit(z) for split, z in logits.items()},
            calibration.uncalibrated_threshold,
            logits,
            calibration,
            fitted | dict(chosen),
        )

    @classmethod
    def of_members(
        cls,
        role: Role,
        members: dict[str, NDArray[np.float64]],
        calibration: Calibration,
    ) -> Classifier:
        """Create a classifier from the mean logit of several networks."""
        mean = {split: each.mean(axis=0) for split, each in members.items()}
        return replace(cls.of_logits(role, mean, calibration), members=members)

    def calibrated(self, split: str) -> NDArray[np.float64] | None:
        """Return calibrated probabilities; None for a classifier without logits."""
        if self.logits is None or self.calibration is None:
            return None
        return self.calibration.probabilities(self.logits[split])


def summarise(
    classifiers: dict[str, Classifier],
    labels: dict[str, NDArray[np.int64]],
    properties: dict[str, dict[str, NDArray[np.float64]]],
    settings: EvaluationSection,
    groups: Mapping[str, Names] = MappingProxyType({}),
    units: Mapping[str, Units] = MappingProxyType({}),
) -> dict[str, Any]:
    """Evaluate every classifier on the validation and test splits.

    Parameters
    ----------
    classifiers
        Classifiers by name. Exactly one of them, "model", has the role of the model.
    labels
        0 or 1 by split, shape (n,).
    properties
        Properties to slice the test split by: name -> {"train": (n,), "test": (n,)}. Edges come
        from the training split.
    settings
        The [evaluation] section of the run file.
    groups
        The group of each test record, (n,), by the property that defines the groups.
    units
        Records that are resampled together, by split; single records if not given.

    Returns
    -------
    The content of metrics.json.

    `test` and `valid` contain the resampled `unit` and the number of `units`, and `model`,
    `baselines` and `controls`, each as `{metric: {value, low, high}}` with `chosen` and
    `threshold`. The threshold comes from the validation split and applies
    to mcc, accuracy and f1; mcc_at_half, accuracy_at_half and f1_at_half use 0.5. `members`
    describes the networks of ensembles.

    `differences` is the model minus each baseline on the test split. The best baseline is the one
    with the highest AUROC on the test split, which is the hardest to beat.

    `slices` and `groups` contain metrics by slice and group (`groups.group_metrics`).
    """
    summary: dict[str, Any] = {"bootstraps": settings.bootstraps, "confidence": settings.confidence}
    sampled: dict[str, dict[str, dict[str, ResampledMetric]]] = {}  # by split and classifier
    units = {split: units.get(split) or Units.single(len(of)) for split, of in labels.items()}
    for split in EVALUATED_SPLITS:
        bootstrap = Bootstrap(
            labels[split],
            settings.bootstraps,
            settings.seed,
            settings.calibration_bins,
            units[split].numbers,
        )
        sampled[split] = {
            name: bootstrap.metrics(c.probabilities[split], c.threshold)
            for name, c in classifiers.items()
        }
        summary[split] = _split_entry(
            bootstrap, classifiers, sampled[split], split, units[split], settings.confidence
        )
    baselines = [name for name, classifier in classifiers.items() if classifier.role == "baseline"]
    summary["differences"] = compared(sampled["test"], baselines, "auroc", settings.confidence)
    shown = ["model", summary["differences"]["best_baseline"]]
    predictions = {
        name: (classifiers[name].probabilities["test"], classifiers[name].threshold)
        for name in shown
        if name
    }
    summary["slices"] = {
        name: slice_metrics(
            values["test"],
            quantile_edges(values["train"], settings.gc_slices),
            labels["test"],
            predictions,
            units["test"],
            settings,
        )
        for name, values in properties.items()
    }
    summary["groups"] = {
        by: group_metrics(names, labels["test"], predictions, units["test"], settings)
        for by, names in groups.items()
    }
    return summary


def predictions_table(
    ids: list[str], labels: NDArray[np.int64], classifiers: dict[str, Classifier], split: str
) -> pd.DataFrame:
    """Return a table with one row per record.

    Columns: id; label; the probability from each classifier, under its name; `model_logit` and
    `model_calibrated` (calibrated probability), if the model has logits; `model_spread`, the
    standard deviation of the logits over the members, if it has several.
    """
    table = pd.DataFrame({"id": ids, "label": labels})
    for name, classifier in classifiers.items():
        table[name] = classifier.probabilities[split]
    model = classifiers["model"]
    if model.logits is not None:
        table["model_logit"] = model.logits[split]
        table["model_calibrated"] = model.calibrated(split)
    if model.members:
        table["model_spread"] = spread(model.members[split])
    return table


def members_entry(metric: str, each: list[float], scores: NDArray[np.float64]) -> dict[str, Any]:
    """Return the entry of metrics.json for ensemble members.

    Parameters
    ----------
    metric
        Name of the metric.
    each
        Its value for each member; values that are not finite become None.
    scores
        Scores (M, ...); their spread is averaged over records.
    """
    known = [value for value in each if np.isfinite(value)]
    low, high = (min(known), max(known)) if known else (None, None)
    shown = [value if np.isfinite(value) else None for value in each]
    return {
        "metric": metric,
        "each": shown,
        "min": low,
        "max": high,
        "spread": float(spread(scores).mean()),
    }


def _split_entry(
    bootstrap: Bootstrap,
    classifiers: dict[str, Classifier],
    sampled: dict[str, dict[str, ResampledMetric]],
    split: str,
    units: Units,
    confidence: float,
) -> dict[str, Any]:
    labels = bootstrap.labels
    found: dict[str, Any] = {
        "n": len(labels),
        "positives": int(labels.sum()),
        **units.entry(),
        "baselines": {},
        "controls": {},
    }
    for name, classifier in classifiers.items():
        entry: dict[str, Any] = {
            **intervals(sampled[name], confidence),
            **calibration_line(labels, classifier.probabilities[split], units, confidence),
            "threshold": classifier.threshold,
            "chosen": classifier.chosen,
        }
        if (calibrated := classifier.calibrated(split)) is not None:
            after = intervals(bootstrap.metrics(calibrated, classifier.threshold), confidence)
            # calibration does not change the other metrics
            entry["calibrated"] = {metric: after[metric] for metric in ("brier", "ece")}
            entry["calibrated"] |= calibration_line(labels, calibrated, units, confidence)
        if classifier.role == "model":
            found["model"] = entry
        else:
            found[f"{classifier.role}s"][name] = entry
        if classifier.members:
            each = [float(roc_auc_score(labels, logits)) for logits in classifier.members[split]]
            found.setdefault("members", {})[name] = members_entry(
                "auroc", each, classifier.members[split]
            )
    return found


def compared(
    sampled: dict[str, dict[str, ResampledMetric]],
    baselines: Sequence[str],
    metric: str,
    confidence: float,
    *,
    higher_is_better: bool = True,
) -> dict[str, Any]:
    """Return the baseline with the best metric, and the model's difference to each baseline.

    The network of a model with a stack, and baselines without the metric, are not candidates for
    the best baseline.
    """
    candidates = (
        name for name in baselines if name != NETWORK and np.isfinite(sampled[name][metric].value)
    )
    best = max if higher_is_better else min
    return {
        "best_baseline": best(
            candidates, key=lambda name: sampled[name][metric].value, default=None
        ),
        "baselines": {
            name: differences(sampled["model"], sampled[name], confidence) for name in baselines
        },
    }
