"""Summarise metrics of predictions per record or position, with bootstrap intervals.

This is the content of metrics.json for all objectives except two classes, bins and language models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.config import EvaluationSection
from selfattn_bio.evaluation.metrics import (
    ANY_VALUE,
    ResampledMetric,
    Units,
    intervals,
    resamples,
)
from selfattn_bio.evaluation.metrics import RANGES as OF_TWO_CLASSES
from selfattn_bio.evaluation.summary import compared, members_entry
from selfattn_bio.objectives import Objective
from selfattn_bio.objectives.base import Predictions

NameT = TypeVar("NameT", str, tuple[str, str])
RANGES = OF_TWO_CLASSES | {
    "macro_f1": (0, 1),
    "precision": (0, 1),
    "recall": (0, 1),
    "pearson": (-1, 1),
    "spearman": (-1, 1),
    "r2": (-np.inf, 1),
    "mse": (0, np.inf),
}
TRUE = "true."  # prefix of the columns with targets in the tables of predictions


def summarise_targets(
    objective: Objective[Any],
    predictions: dict[str, dict[str, Predictions]],
    targets: dict[str, NDArray],
    settings: EvaluationSection,
    units: Mapping[str, Units],
) -> dict[str, Any]:
    """Evaluate every model on the validation and test splits.

    Parameters
    ----------
    objective
        The objective, with its metrics.
    predictions
        Name ("model", baselines) -> split -> predictions for the records of the split.
    targets
        Split -> targets of its records.
    settings
        Section [evaluation] of the run file.
    units
        Records that are resampled together, by split.

    Returns
    -------
    The content of metrics.json: `test` and `valid` with `n` (records), the resampled `unit` and the
    number of `units`, `model` and `baselines`; the last two as `{metric: {value, low, high}}`.
    `differences` is the model minus each baseline on the test split, by paired bootstrap. `outputs`
    has the test metrics of each class, label or column, of the model and the best baseline.
    """
    summary: dict[str, Any] = {
        "objective": objective.kind,
        "bootstraps": settings.bootstraps,
        "confidence": settings.confidence,
    }
    for split, truth in targets.items():
        sampled = {
            name: resampled_metrics(
                objective.measurer(by_split[split], truth), units[split], settings
            )
            for name, by_split in predictions.items()
        }
        found = {name: intervals(of, settings.confidence) for name, of in sampled.items()}
        summary[split] = {
            "n": len(truth),
            **units[split].entry(),
            "model": found.pop("model"),
            "baselines": found,
        }
        if split == "test":
            summary["differences"] = compared(
                sampled,
                list(found),
                objective.main_metric,
                settings.confidence,
                higher_is_better=objective.higher_is_better,
            )
    best = summary["differences"]["best_baseline"]
    summary["outputs"] = {
        name: _by_output(
            resampled_metrics(
                objective.output_measurer(predictions[name]["test"], targets["test"]),
                units["test"],
                settings,
            ),
            settings.confidence,
        )
        for name in ("model", best)
        if name
    }
    return summary


def _by_output(
    sampled: Mapping[tuple[str, str], ResampledMetric], confidence: float
) -> dict[str, dict[str, Any]]:
    """Return `{output: {metric: {value, low, high}}}`."""
    found: dict[str, dict[str, Any]] = {}
    for (output, metric), of in sampled.items():
        found.setdefault(output, {})[metric] = of.interval(confidence)
    return found


def target_predictions(
    ids: Sequence[str],
    truth: pd.DataFrame,
    predictions: Mapping[str, Predictions],
    names: Sequence[str],
) -> pd.DataFrame:
    """Return a table with one row per record: predictions of the model and others, and the truth.

    Parameters
    ----------
    ids
        The ids of the records.
    truth
        Their rows of the table of targets; the columns become true.COLUMN.
    predictions
        Predictions by name of the classifier. "model" has columns with the `names`, others have
        CLASSIFIER.NAME.
    names
        Names of the outputs.
    """
    columns = {
        (name if classifier == "model" else f"{classifier}.{name}"): values
        for classifier, of in predictions.items()
        for name, values in as_rows(of, names).items()
    }
    return pd.DataFrame(
        {"id": ids, **columns, **{f"{TRUE}{name}": _as_read(truth[name]) for name in truth}}
    )


def _as_read(column: pd.Series) -> NDArray[Any]:
    """Return a column of text as numbers, (n,), if all known values are numbers."""
    numbers = pd.to_numeric(column, errors="coerce")
    return (numbers if (numbers.isna() == column.isna()).all() else column).to_numpy()


def mean_predictions(objective: Objective[Any], outputs: Sequence[Predictions]) -> Predictions:
    """Return the predictions from the mean of the members' outputs, in the units of the targets."""
    if isinstance(outputs[0], list):
        return [
            objective.predictions(np.mean(of_row, axis=0)) for of_row in zip(*outputs, strict=True)
        ]
    return objective.predictions(np.mean(outputs, axis=0))


def summarise_members(
    objective: Objective[Any], outputs: Sequence[Predictions], targets: NDArray
) -> dict[str, Any]:
    """Compute the metric of each member alone, and how much the members' predictions differ.

    The difference is the standard deviation over members, averaged over records and columns.
    """
    alone = [mean_predictions(objective, [of_member]) for of_member in outputs]
    metric, everything = objective.main_metric, np.arange(len(targets))
    each = [objective.measurer(predictions, targets)(everything)[metric] for predictions in alone]
    return members_entry(
        metric,
        each,
        np.stack([np.concatenate(list(predictions), axis=None) for predictions in alone]),
    )


def resampled_metrics(
    measured: Callable[[NDArray[np.int64]], dict[NameT, float]],
    units: Units,
    settings: EvaluationSection,
) -> dict[NameT, ResampledMetric]:
    """Compute metrics on all records and on resampled units of records.

    Parameters
    ----------
    measured
        Function from the numbers of records to the metrics of these records.
    units
        Records that are resampled together.
    settings
        Section [evaluation]: number of resamples and seed.
    """
    rows = np.arange(len(units.numbers))
    values = measured(rows)
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


def as_rows(predictions: Predictions, columns: Sequence[str]) -> dict[str, Any]:
    """Return the predictions as columns of a table: name -> one value per record.

    For labels per position there is one column, `predicted`, with the most probable classes of each
    record as text.
    """
    if isinstance(predictions, list):
        return {
            "predicted": ["".join(columns[i] for i in row.argmax(axis=1)) for row in predictions]
        }
    return dict(zip(columns, predictions.T, strict=True))
