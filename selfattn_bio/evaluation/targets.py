"""Summarise metrics of predictions per record or position, with bootstrap intervals over records.

This is the content of metrics.json for all objectives except two classes, bins and language models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.config import EvaluationSection
from selfattn_bio.evaluation.summary import members_entry
from selfattn_bio.objectives import Objective
from selfattn_bio.objectives.base import Predictions


def summarise_targets(
    objective: Objective[Any],
    predictions: dict[str, dict[str, Predictions]],
    targets: dict[str, NDArray],
    settings: EvaluationSection,
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

    Returns
    -------
    The content of metrics.json: `test` and `valid` with `n` (records), `model` and `baselines`; the
    last two as `{metric: {value, low, high}}`.
    """
    summary: dict[str, Any] = {
        "objective": objective.kind,
        "bootstraps": settings.bootstraps,
        "confidence": settings.confidence,
    }
    for split, truth in targets.items():
        found = {
            name: intervals_over_records(
                objective.measurer(by_split[split], truth), len(truth), settings
            )
            for name, by_split in predictions.items()
        }
        summary[split] = {"n": len(truth), "model": found.pop("model"), "baselines": found}
    return summary


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


def intervals_over_records(
    measured: Callable[[NDArray[np.int64]], dict[str, float]],
    num_records: int,
    settings: EvaluationSection,
) -> dict[str, dict[str, float | None]]:
    """Compute metrics on all records with bootstrap intervals over records.

    Parameters
    ----------
    measured
        Function from the numbers of records to the metrics of these records.
    num_records
        Number of records.
    settings
        Section [evaluation]: number of resamples, confidence level and seed.

    Returns
    -------
    `{metric: {value, low, high}}`. Undefined metrics are None, for example the correlation with a
    constant.
    """
    rng = np.random.default_rng(settings.seed)
    value = measured(np.arange(num_records))
    draws = [
        measured(rng.integers(num_records, size=num_records)) for _ in range(settings.bootstraps)
    ]
    tail = (1 - settings.confidence) / 2
    found: dict[str, dict[str, float | None]] = {}
    for name in value:
        if np.isfinite(value[name]):
            low, high = np.nanquantile([draw[name] for draw in draws], [tail, 1 - tail])
            found[name] = {"value": value[name], "low": float(low), "high": float(high)}
        else:
            found[name] = dict.fromkeys(("value", "low", "high"))
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
