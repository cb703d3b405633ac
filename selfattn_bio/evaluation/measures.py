"""Read targets, convert outputs to predictions and compute metrics for non-binary objectives.

Training chooses the best weights with these metrics on the validation split, and `evaluate` reports
them for the test split. Binary runs use `evaluation.metrics`, whose bootstrap is about a thousand
times faster.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, softmax
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, roc_auc_score

from selfattn_bio import config
from selfattn_bio.errors import CorpusError
from selfattn_bio.evaluation.points import points_of
from selfattn_bio.files import sha256_of
from selfattn_bio.sequence.readers.table import MISSING

Array = NDArray[np.float64]
# Unknown class in integer targets; torch's cross-entropy ignores this value
UNKNOWN = -100
# Main metric of each objective, which chooses the best weights; True if higher is better
MAIN = {
    "binary": ("auroc", True),
    "multiclass": ("mcc", True),
    "multilabel": ("auroc", True),
    "regression": ("pearson", True),
    # Mean of the main metrics of the parts; parts can only be of kinds where higher is better
    "several": ("mean", True),
    "labels": ("accuracy", True),
    "bins": ("auprc", True),
    "masked": ("perplexity", False),
    "causal": ("perplexity", False),
}


def complete_objective(
    objective: config.AnyObjective, train: pd.DataFrame, records: pd.DataFrame, place: str
) -> config.AnyObjective:
    """Return the objective with settings filled in from the training records.

    These are the class names of a multiclass objective, the mean and standard deviation of the
    columns of a regression, and the SHA-256 of the points file of a bins objective. Settings that
    already have a value are kept.

    Parameters
    ----------
    train
        The `target_columns` of the training records, n rows of text.
    records, place
        As in `targets_of`.

    Raises
    ------
    CorpusError
        If there are fewer than two classes, a column has no number, or as in `targets_of`.
    """
    match objective:
        case config.SeveralObjective(parts=parts):
            return objective.model_copy(
                update={
                    "parts": {
                        name: complete_objective(part, train, records, place)
                        for name, part in parts.items()
                    }
                }
            )
        case config.BinsObjective(points_sha256=""):
            return objective.model_copy(update={"points_sha256": sha256_of(Path(objective.points))})
        case config.MulticlassObjective(classes=()):
            classes = tuple(sorted(train[objective.column].dropna().unique()))
            if len(classes) < 2:
                message = (
                    f"column {objective.column!r} has {len(classes)} classes in the training "
                    "split, but at least 2 are needed"
                )
                raise CorpusError(message, place=place)
            return objective.model_copy(update={"classes": classes})
        case config.RegressionObjective(center=(), scale=()):
            values = targets_of(objective, train, records, place)
            for column, known in zip(objective.columns, np.isfinite(values).T, strict=True):
                if not known.any():
                    raise CorpusError(
                        f"column {column!r} has no number in the training split", place=place
                    )
            center, scale = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
            return objective.model_copy(
                update={
                    "center": tuple(center.tolist()),
                    "scale": tuple(np.where(scale > 0, scale, 1.0).tolist()),
                }
            )
        case _:
            return objective


def targets_of(
    objective: config.AnyObjective, targets: pd.DataFrame, records: pd.DataFrame, place: str
) -> NDArray:
    """Convert the target columns of n records to an array.

    Parameters
    ----------
    targets
        The `target_columns` of the objective, n rows of text.
    records
        id and length of the same records; for bins also chrom, start and strand.
    place
        Path of the table, for error messages.

    Returns
    -------
    Depends on the kind of the objective:

    - multiclass: index of the class, int (n,), UNKNOWN if missing
    - multilabel, regression: floats (n, C), NaN if missing
    - labels: objects (n,), each an int array (L,) with the index of each position's label,
      UNKNOWN if missing
    - several: structured array (n,) with one field per part, under the name of the part
    - bins: objects (n,), the `Points` of each record
    - masked, causal: floats (n, 0), as there are no targets

    Raises
    ------
    CorpusError
        If a value is not valid for the objective, or the number of labels differs from the length
        of the sequence.
    IntervalError
        If the points file of a bins objective cannot be read.
    """
    match objective:
        case config.MulticlassObjective(column=column, classes=classes):
            index_of = {name: index for index, name in enumerate(classes)}
            texts = targets[column].dropna()
            if (invalid := texts[~texts.isin(index_of)]).size:
                message = (
                    f"unknown class {invalid.iloc[0]!r} in column {column!r} (known: "
                    f"{', '.join(classes)})"
                )
                raise CorpusError(
                    message,
                    place=place,
                    hint="List all classes in objective.classes, or move the record to train",
                )
            return (
                texts.map(index_of)
                .reindex(targets.index, fill_value=UNKNOWN)
                .to_numpy(dtype=np.int64)
            )
        case (
            config.MultilabelObjective(columns=columns)
            | config.RegressionObjective(columns=columns)
        ):
            return np.stack(
                [_numbers(objective, targets[column], place) for column in columns], axis=1
            )
        case config.SeveralObjective(parts=parts):
            by_part = {
                name: targets_of(part, targets, records, place) for name, part in parts.items()
            }
            fields = [(name, array.dtype, array.shape[1:]) for name, array in by_part.items()]
            together = np.empty(len(targets), dtype=fields)
            for name, array in by_part.items():
                together[name] = array
            return together
        case config.LabelsObjective(column=column, classes=classes):
            codes = np.full(256, -1)  # by byte; -1 is invalid
            codes[list(classes.encode())] = range(len(classes))
            codes[ord("-")] = UNKNOWN
            found = np.empty(len(targets), dtype=object)
            rows = zip(targets[column].fillna(""), records["id"], records["length"], strict=True)
            for row, (text, name, length) in enumerate(rows):
                found[row] = codes[list(text.encode())] if text else np.full(length, UNKNOWN)
                if (found[row] == -1).any():
                    wrong = text[int(np.argmax(found[row] == -1))]
                    raise CorpusError(
                        f"unknown label {wrong!r} in column {column!r} of record {name!r}; the "
                        f"labels are {', '.join(classes)} and -",
                        place=place,
                    )
                if len(found[row]) != length:
                    raise CorpusError(
                        f"record {name!r} has {length} positions, but labels for {len(text)}",
                        place=place,
                    )
            return found
        case config.BinsObjective(points=path):
            return points_of(path, records)
        case _:
            return np.zeros((len(targets), 0))


def object_array(items: Sequence[object]) -> NDArray[np.object_]:
    """Return the items as an object array (n,), even if they are arrays of equal length."""
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


def _numbers(objective: config.AnyObjective, values: pd.Series, place: str) -> Array:
    """Convert a column of text to numbers (n,), NaN where missing; raise if a value is invalid."""
    values = values.mask(values.astype("str").str.strip().str.lower().isin(MISSING))
    numbers = pd.to_numeric(values, errors="coerce").astype(np.float64)
    rule, invalid = "a finite number", values[values.notna() & ~np.isfinite(numbers)]
    if isinstance(objective, config.MultilabelObjective):
        rule, invalid = "0 or 1", values[values.notna() & ~numbers.isin([0, 1])]
    elif isinstance(objective, config.RegressionObjective) and objective.loss == "poisson":
        rule, invalid = (
            "a count of 0 or more",
            values[values.notna() & ~((numbers >= 0) & np.isfinite(numbers))],
        )
    if invalid.size:
        raise CorpusError(
            f"invalid value {invalid.tolist()[0]!r} in column {values.name!r}; use {rule} or leave "
            "it empty",
            place=place,
        )
    return np.asarray(numbers, dtype=np.float64)


def count_known(targets: NDArray) -> int:
    """Count the known targets in an array from `targets_of`, or in one field of `several`."""
    if targets.dtype == object:
        return sum(map(count_known, targets))
    return int(
        (targets != UNKNOWN).sum() if targets.dtype.kind == "i" else np.isfinite(targets).sum()
    )


def check_known(objective: config.AnyObjective, targets: NDArray, split: str, place: str) -> None:
    """Refuse a split without a known target of the objective, or of one of its parts.

    Parameters
    ----------
    targets
        Targets of the records of the split, from `targets_of`.
    split
        Name of the split, for error messages.
    place
        Path of the table of targets, for error messages.

    Raises
    ------
    CorpusError
        If no target is known.
    """
    if isinstance(objective, config.SeveralObjective):
        for name, part in objective.parts.items():
            check_known(part, targets[name], split, place)
    elif isinstance(objective, config.BinsObjective):
        if not sum(len(points.at) for points in targets):
            raise CorpusError(
                f"no record of the {split} split contains a point",
                place=objective.points,
            )
    elif objective.target_columns and not count_known(targets):
        raise CorpusError(
            f"no record of the {split} split has a value in column "
            f"{' or '.join(objective.target_columns)}",
            place=place,
        )


def predictions_of(objective: config.AnyObjective, outputs: Array) -> Array:
    """Convert network outputs (..., C) to predictions of the same shape.

    Predictions are probabilities of classes or labels, or numbers in the units of the targets.

    Raises
    ------
    ValueError
        If the objective is binary, bins, masked or causal.
    """
    match objective:
        case config.MulticlassObjective() | config.LabelsObjective():
            return softmax(outputs, axis=-1)
        case config.MultilabelObjective():
            return expit(outputs)
        case config.RegressionObjective(loss="poisson"):
            return np.exp(outputs)
        case config.RegressionObjective(center=center, scale=scale):
            return outputs * np.array(scale) + np.array(center)
        case config.SeveralObjective(parts=parts):
            return np.concatenate(
                [
                    predictions_of(parts[name], outputs[..., columns])
                    for name, columns in objective.slices().items()
                ],
                axis=-1,
            )
        case _:
            raise ValueError(f"objective {objective.kind!r} has no predictions to measure")


def measure(
    objective: config.AnyObjective, predictions: Array, targets: NDArray
) -> dict[str, float]:
    """Compute the metrics of predictions.

    Parameters
    ----------
    predictions
        From `predictions_of`, (n, C). For labels, n counts positions, not records.
    targets
        Targets from `targets_of`, n rows; for labels, the class indices of all positions, (n,).

    Returns
    -------
    Value by name of the metric. Undefined values are NaN, for example the correlation with a
    constant.

    - multiclass, labels: accuracy, macro_f1, mcc
    - multilabel: auroc and auprc, averaged over the columns that contain both 0 and 1
    - regression: pearson, spearman, r2 and mse, averaged over columns
    - several: the metrics of each part as PART.METRIC, and `mean`, the mean over the parts of
      their main metrics

    Raises
    ------
    ValueError
        If the objective is binary, bins, masked or causal.
    """
    match objective:
        case config.MulticlassObjective() | config.LabelsObjective():
            return confusion_metrics(confusion(predictions, targets))
        case config.MultilabelObjective():
            return {
                "auroc": _over_columns(_both(roc_auc_score), predictions, targets),
                "auprc": _over_columns(_both(average_precision_score), predictions, targets),
            }
        case config.RegressionObjective():
            return {
                name: _over_columns(metric, predictions, targets)
                for name, metric in REGRESSION.items()
            }
        case config.SeveralObjective(parts=parts):
            by_part = {
                name: measure(parts[name], predictions[:, columns], targets[name])
                for name, columns in objective.slices().items()
            }
            main = [metrics[MAIN[parts[name].kind][0]] for name, metrics in by_part.items()]
            return {
                "mean": float(np.mean(main)),
                **{
                    f"{name}.{metric}": value
                    for name, metrics in by_part.items()
                    for metric, value in metrics.items()
                },
            }
        case _:
            raise ValueError(f"objective {objective.kind!r} has no predictions to measure")


def confusion(predictions: Array, targets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count how often each true class (row) is predicted as each class (column).

    Maps predictions (n, C) and class indices (n,) to counts (C, C). Unknown targets are left out.
    """
    known, size = targets != UNKNOWN, predictions.shape[-1]
    return np.bincount(
        targets[known] * size + predictions[known].argmax(axis=-1), minlength=size**2
    ).reshape(size, size)


def confusion_metrics(counts: NDArray[np.int64]) -> dict[str, float]:
    """Compute accuracy, macro_f1 and mcc from the counts (C, C) of `confusion`.

    Values are NaN if all counts are 0. macro_f1 averages over the classes that occur or are
    predicted. Results agree with scikit-learn. The bootstrap adds up the counts of the sampled
    records, which is faster than counting again.
    """
    total = counts.sum()
    if not total:
        return dict.fromkeys(("accuracy", "macro_f1", "mcc"), float("nan"))
    correct, true, predicted = (
        np.diag(counts).astype(float),
        counts.sum(axis=1).astype(float),
        counts.sum(axis=0).astype(float),
    )
    occurs = true + predicted > 0
    norm = np.sqrt((total**2 - predicted @ predicted) * (total**2 - true @ true))
    return {
        "accuracy": float(correct.sum() / total),
        "macro_f1": float(np.mean(2 * correct[occurs] / (true + predicted)[occurs])),
        "mcc": float((correct.sum() * total - true @ predicted) / norm) if norm else 0.0,
    }


def _both(metric: Callable[[Array, Array], float]) -> Callable[[Array, Array], float]:
    """Return `metric` as a function of (predicted, truth) that is NaN if truth has one label."""
    return lambda predicted, truth: (
        float(metric(truth, predicted)) if len(np.unique(truth)) == 2 else float("nan")
    )


def _over_columns(
    metric: Callable[[Array, Array], float], predictions: Array, targets: Array
) -> float:
    """Return the mean of a metric over columns (n, C), ignoring missing targets."""
    values = []
    for predicted, truth in zip(predictions.T, targets.T, strict=True):
        known = np.isfinite(truth)
        values.append(metric(predicted[known], truth[known]) if known.any() else float("nan"))
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def _pearson(predicted: Array, truth: Array) -> float:
    if len(truth) < 2 or np.ptp(truth) == 0 or np.ptp(predicted) == 0:
        return float("nan")
    return float(np.corrcoef(predicted, truth)[0, 1])


def _spearman(predicted: Array, truth: Array) -> float:
    if len(truth) < 2 or np.ptp(truth) == 0 or np.ptp(predicted) == 0:
        return float("nan")
    return float(spearmanr(predicted, truth).statistic)


def _r2(predicted: Array, truth: Array) -> float:
    total = float(((truth - truth.mean()) ** 2).sum())
    return 1 - float(((predicted - truth) ** 2).sum()) / total if total else float("nan")


def _mse(predicted: Array, truth: Array) -> float:
    return float(((predicted - truth) ** 2).mean())


REGRESSION: dict[str, Callable[[Array, Array], float]] = {
    "pearson": _pearson,
    "spearman": _spearman,
    "r2": _r2,
    "mse": _mse,
}
