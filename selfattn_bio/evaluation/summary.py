"""Summarise the predictions of the model, baselines and controls as metrics.json.

The summary covers the validation and test splits and paired differences. It is made from
predictions only, so every objective and every kind of classifier is evaluated by the same code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from selfattn_bio.arrays import Floats, Integers
from selfattn_bio.config import EvaluationSection
from selfattn_bio.config.derived import NETWORK, STACKED
from selfattn_bio.evaluation.calibration import Calibration, choose_threshold
from selfattn_bio.evaluation.metrics import (
    ANY_VALUE,
    RANGES,
    Bootstrap,
    ResampledMetric,
    Sampled,
    calibration_line,
    differences,
    intervals,
    resamples,
)
from selfattn_bio.evaluation.units import Units
from selfattn_bio.objectives import Objective
from selfattn_bio.objectives.base import Predictions
from selfattn_bio.objectives.outputs import ClassOutput, spread

EVALUATED_SPLITS = ("valid", "test")
COVERAGE = 0.9  # of the prediction intervals in the tables of predictions
TRUE = "true."  # prefix of the columns with targets in the tables of predictions
Role = Literal["model", "baseline", "control"]
NameT = TypeVar("NameT", str, tuple[str, str])


@dataclass(frozen=True)
class Classifier:
    """The predictions of one classifier for the validation and test splits.

    Parameters
    ----------
    role
        The model, a baseline for comparison, or a control that should fail.
    predictions
        Predictions by split ("valid", "test"), as `Objective.measure` takes them. For objectives
        with calls, the probability of label 1, (n,).
    threshold
        Examples with this probability or more are called positive; chosen on the validation split.
        None for objectives without calls.
    logits, calibration
        Logits by split, (n,), and their calibration; None for objectives without log-odds.
    chosen
        Settings chosen on the validation split, for the report.
    members
        By split, the predictions of each of several models whose outputs are averaged; with
        calibration their logits (n,). Empty for a single model.
    bounds
        By split, columns of prediction intervals: low_COLUMN and high_COLUMN. Empty without any.
    """

    role: Role
    predictions: dict[str, Predictions]
    threshold: float | None = None
    logits: dict[str, Floats] | None = None
    calibration: Calibration | None = None
    chosen: dict[str, Any] = field(default_factory=dict)
    members: dict[str, list[Predictions]] = field(default_factory=dict)
    bounds: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def of_logits(
        cls, role: Role, logits: dict[str, Floats], calibration: Calibration
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
            fitted,
        )

    @classmethod
    def of_predictions(
        cls, objective: Objective[Any], role: Role, predictions: dict[str, Any], valid: NDArray
    ) -> Classifier:
        """Create a classifier from predictions; targets of `valid` may choose its threshold."""
        threshold = choose_threshold(predictions["valid"], valid) if objective.has_calls else None
        return cls(role, predictions, threshold)

    @classmethod
    def of_outputs(
        cls,
        objective: Objective[Any],
        role: Role,
        outputs: dict[str, list[Predictions]],
        valid: NDArray,
        calibration: Calibration,
    ) -> Classifier:
        """Create a classifier from the outputs of one or more models, which are averaged.

        Nothing is fitted again to the mean, so that the output of `score` is evaluated.

        Parameters
        ----------
        objective, role
            The objective of the models, and their role.
        outputs
            Outputs of each model by split, as from `Objective.read`.
        valid
            Targets of the validation split.
        calibration
            Calibration of the model, or the mean of those of the models.
        """

        def mean(of: Sequence[Any]) -> Any:
            if objective.has_log_odds:  # logits, because their mean is calibrated
                return np.mean(of, axis=0)[:, 0]
            if isinstance(of[0], list):
                means = [np.mean(of_row, axis=0) for of_row in zip(*of, strict=True)]
                return objective.predictions_of(means)
            return objective.predictions(np.mean(of, axis=0))

        means = {split: mean(of) for split, of in outputs.items()}
        members = {split: [mean([each]) for each in of] for split, of in outputs.items()}
        if objective.has_log_odds:
            found = cls.of_logits(role, means, calibration)
        else:
            found = cls.of_predictions(objective, role, means, valid)
        return replace(found, members=members if len(outputs["valid"]) > 1 else {})

    def calibrated(self, split: str) -> Floats:
        """Return calibrated probabilities of a classifier with logits."""
        assert self.logits is not None
        assert self.calibration is not None
        return self.calibration.probabilities(self.logits[split])


def summarise(
    objective: Objective[Any],
    classifiers: Mapping[str, Classifier],
    targets: Mapping[str, NDArray],
    settings: EvaluationSection,
    units: Mapping[str, Units],
    sizes: Mapping[str, Mapping[str, int]] = MappingProxyType({}),
) -> dict[str, Any]:
    """Evaluate every classifier on the validation and test splits.

    Parameters
    ----------
    objective
        The objective, with its metrics.
    classifiers
        Classifiers by name. Exactly one of them, "model", has the role of the model.
    targets
        Targets of the examples by split, (n,) or (n, C).
    settings
        Section [evaluation] of the run file.
    units
        Examples that are resampled together, by split.
    sizes
        Number of networks and trainings of the model and its variants, by name.

    Returns
    -------
    The content of metrics.json (docs/files.md).

    `test` and `valid` contain the number `n` of examples, the resampled `unit` and the number of
    `units`, and `model`, `baselines` and `controls`, each as `{metric: {value, low, high}}`, with
    `threshold` and `chosen` if there are any. The threshold comes from the validation split and
    applies to mcc, accuracy and f1; mcc_at_half, accuracy_at_half and f1_at_half use 0.5.
    `members` describes the members of ensembles.

    `differences` is the model minus each baseline on the test split, by paired bootstrap. The best
    baseline is the one with the best main metric on the test split, which is the hardest to beat.
    If the model has a stack, it is compared with the variants that have one. `networks` compares
    networks without a stack, see `_Evaluator.networks`. `outputs` has the test metrics of each
    class, label or column, of the model and the best baseline.
    """
    evaluator = _Evaluator(objective, targets, settings, units)
    summary: dict[str, Any] = {
        "objective": objective.kind,
        "bootstraps": settings.bootstraps,
        "confidence": settings.confidence,
    }
    sampled: dict[str, dict[str, Sampled]] = {}
    for split in EVALUATED_SPLITS:
        sampled[split] = {
            name: evaluator.sampled(split, classifier) for name, classifier in classifiers.items()
        }
        summary[split] = evaluator.of_split(split, classifiers, sampled[split])
    baselines = {
        name: sampled["test"][name]
        for name, classifier in classifiers.items()
        if classifier.role == "baseline" and f"{name}{STACKED}" not in classifiers
    }
    best = _best_baseline(objective, baselines)
    summary["differences"] = {
        "best_baseline": best,
        "baselines": {
            name: differences(sampled["test"]["model"], of, settings.confidence)
            for name, of in baselines.items()
        },
        "networks": evaluator.networks(classifiers, sampled, sizes),
    }
    summary["sizes"] = sizes
    outputs = {name: evaluator.by_output(classifiers[name]) for name in ("model", best) if name}
    return summary | ({"outputs": outputs} if outputs["model"] else {})


@dataclass(frozen=True)
class _Evaluator:
    """Evaluate predictions; the attributes are arguments of `summarise`."""

    objective: Objective[Any]
    targets: Mapping[str, NDArray]
    settings: EvaluationSection
    units: Mapping[str, Units]

    def bootstrap(self, split: str) -> Bootstrap:
        return Bootstrap(
            self.targets[split],
            self.settings.bootstraps,
            self.settings.seed,
            self.settings.calibration_bins,
            self.units[split].numbers,
        )

    def sampled(self, split: str, classifier: Classifier) -> Sampled:
        """Return the metrics of a classifier on a split."""
        predictions = classifier.predictions[split]
        if classifier.threshold is not None:
            return self.bootstrap(split).metrics(predictions, classifier.threshold)
        measurer = self.objective.measurer(predictions, self.targets[split])
        return resampled_metrics(measurer, self.units[split], self.settings)

    def first(self, classifier: Classifier) -> Classifier:
        """Return the first member of an ensemble, and other classifiers unchanged."""
        if not classifier.members:
            return classifier
        first: dict[str, Any] = {split: of[0] for split, of in classifier.members.items()}
        valid = self.targets["valid"]
        if classifier.logits is None:
            return Classifier.of_predictions(self.objective, classifier.role, first, valid)
        return Classifier.of_logits(classifier.role, first, Calibration.fit(first["valid"], valid))

    def networks(
        self,
        classifiers: Mapping[str, Classifier],
        sampled: Mapping[str, Mapping[str, Sampled]],
        sizes: Mapping[str, Mapping[str, int]],
    ) -> dict[str, Any]:
        """Return the network of the model minus that of each variant, without simple models.

        If their numbers of trainings differ, the first training of each is compared, because
        averaging improves any network.

        Returns
        -------
        `{name: {of, first, valid, test}}`: the name of the network that is compared with it,
        whether only first trainings are compared, and the differences on both splits.
        """
        own = NETWORK if NETWORK in classifiers else "model"
        found: dict[str, dict[str, Any]] = {}
        for name, size in sizes.items():
            if name == "model" or classifiers[name].role != "baseline":
                continue
            first = size["trainings"] != sizes["model"]["trainings"]
            found[name] = {"of": own, "first": first}
            for split, each in sampled.items():
                model, other = (
                    self.sampled(split, self.first(classifiers[of])) if first else each[of]
                    for of in (own, name)
                )
                found[name][split] = differences(model, other, self.settings.confidence)
        return found

    def of_split(
        self, split: str, classifiers: Mapping[str, Classifier], sampled: Mapping[str, Sampled]
    ) -> dict[str, Any]:
        """Return the entry of a split."""
        found: dict[str, Any] = {"n": len(self.targets[split]), **self.units[split].entry()}
        if self.objective.has_calls:
            found["positives"] = int(self.targets[split].sum())
        found |= {"baselines": {}, "controls": {}}
        for name, classifier in classifiers.items():
            entry = self.entry(split, classifier, sampled[name])
            if classifier.role == "model":
                found["model"] = entry
            else:
                found[f"{classifier.role}s"][name] = entry
            if classifier.members:
                found.setdefault("members", {})[name] = self.of_members(split, classifier)
        return found

    def entry(self, split: str, classifier: Classifier, sampled: Sampled) -> dict[str, Any]:
        """Return the metrics of a classifier with intervals, threshold and calibration."""
        confidence, labels = self.settings.confidence, self.targets[split]
        entry: dict[str, Any] = intervals(sampled, confidence)
        if classifier.threshold is not None:
            entry["threshold"] = classifier.threshold
        if classifier.chosen:
            entry["chosen"] = classifier.chosen
        if classifier.calibration is not None and classifier.threshold is not None:
            before, after = np.asarray(classifier.predictions[split]), classifier.calibrated(split)
            entry |= calibration_line(labels, before, self.units[split], confidence)
            metrics = self.bootstrap(split).metrics(after, classifier.threshold)
            found = intervals(metrics, confidence)
            # calibration does not change the other metrics
            entry["calibrated"] = {metric: found[metric] for metric in ("brier", "ece")}
            entry["calibrated"] |= calibration_line(labels, after, self.units[split], confidence)
        return entry

    def of_members(self, split: str, classifier: Classifier) -> dict[str, Any]:
        """Return the main metric of each member alone, and how much the members differ.

        The spread is the standard deviation over members, averaged over examples and outputs.
        Undefined metrics are None.
        """
        members, targets = classifier.members[split], self.targets[split]
        metric, rows = self.objective.main_metric, np.arange(len(targets))
        each = [float(self.objective.measurer(of, targets)(rows)[metric]) for of in members]
        known = [value for value in each if np.isfinite(value)]
        scores = [
            np.concatenate(of, axis=None) if isinstance(of, list) else np.ravel(of)
            for of in members
        ]
        return {
            "metric": metric,
            "each": [value if np.isfinite(value) else None for value in each],
            "min": min(known, default=None),
            "max": max(known, default=None),
            "spread": float(spread(np.stack(scores)).mean()),
        }

    def by_output(self, classifier: Classifier) -> dict[str, dict[str, Any]]:
        """Return the test metrics of each output, `{output: {metric: {value, low, high}}}`.

        An output of one score per record also has `n`, its number of test records with a value. A
        class or label also has `positives`, the number of these that belong to it.
        """
        found: dict[str, dict[str, Any]] = {}
        measurer = self.objective.output_measurer(
            classifier.predictions["test"], self.targets["test"]
        )
        sampled = resampled_metrics(measurer, self.units["test"], self.settings)
        for (output, metric), of in sampled.items():
            found.setdefault(output, {})[metric] = of.interval(self.settings.confidence)
        for each in self.objective.outputs if found else ():
            if each.name in found:
                truth = each.truth(self.targets["test"])
                found[each.name]["n"] = int(np.isfinite(truth).sum())
                if isinstance(each, ClassOutput):
                    found[each.name]["positives"] = int((truth == 1).sum())
        return found


def _best_baseline(objective: Objective[Any], sampled: Mapping[str, Sampled]) -> str | None:
    """Return the baseline with the best main metric.

    The network of a model with a stack, and baselines without the metric, are not candidates.
    """
    values = {
        name: of[objective.main_metric].value for name, of in sampled.items() if name != NETWORK
    }
    known = [name for name, value in values.items() if np.isfinite(value)]
    best = max if objective.higher_is_better else min
    return best(known, key=lambda name: values[name], default=None)


def resampled_metrics(
    measured: Callable[[Integers], dict[NameT, float]], units: Units, settings: EvaluationSection
) -> dict[NameT, ResampledMetric]:
    """Compute metrics on all examples and on resampled units of examples.

    Parameters
    ----------
    measured
        Function from the numbers of examples to the metrics of these examples.
    units
        Examples that are resampled together.
    settings
        Section [evaluation]: number of resamples and seed.
    """
    rows = np.arange(len(units.numbers))
    if not (values := measured(rows)):
        return {}
    draws = [
        measured(np.repeat(rows, counts.astype(int)))
        for chunk in resamples(units.numbers, settings.bootstraps, settings.seed)
        for counts in chunk
    ]
    found = {}
    for name, value in values.items():
        metric = name if isinstance(name, str) else name[1]
        low_high = RANGES.get(metric.rpartition(".")[2], ANY_VALUE)
        found[name] = ResampledMetric(value, np.array([draw[name] for draw in draws]), low_high)
    return found
