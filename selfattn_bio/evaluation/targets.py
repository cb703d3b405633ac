"""Fit baselines and summarise metrics for every objective except `binary` and `bins`.

The summary is the content of metrics.json, with bootstrap intervals over records.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge

from selfattn_bio import config
from selfattn_bio.evaluation.composition import KmerCounts, Letters
from selfattn_bio.evaluation.measures import (
    MAIN,
    UNKNOWN,
    confusion,
    confusion_metrics,
    measure,
    predictions_of,
)
from selfattn_bio.evaluation.summary import members_entry
from selfattn_bio.sequence.alphabet import Alphabet
from selfattn_bio.sequence.kmers import SPECIAL, KmerTokenizer

Array = NDArray[np.float64]
Predictions = Array | list[Array]  # (n, C), or n arrays (L, C) for labels per position
Predict = Callable[[Letters], Predictions]
STRENGTHS = (0.1, 1.0, 10.0, 100.0)  # of the penalty; one is chosen on the validation split
REACH = 7  # positions on each side in the baseline for labels per position
MAX_LETTERS = 200_000  # maximum number of positions that baseline is fitted to


def fit_baselines(
    objective: config.AnyObjective,
    alphabet: Alphabet,
    train: Letters,
    targets: NDArray,
    valid: Letters,
    valid_targets: NDArray,
) -> dict[str, Predict]:
    """Fit simple baselines to the training split.

    `constant` predicts the class fractions or means. The other baseline is a linear model of
    k-mers, or of the neighbouring positions for labels per position. Its penalty is chosen on the
    validation split. If the objective has several parts, each part has its own baselines.

    Parameters
    ----------
    objective
        Section [objective] of the run file.
    alphabet
        Alphabet of the sequences.
    train, valid
        ASCII sequences of each split, one array per record.
    targets, valid_targets
        Targets of their records, as from `targets_of`.

    Returns
    -------
    Baseline name -> function from sequences to predictions.
    """
    if isinstance(objective, config.SeveralObjective):
        each = [
            fit_baselines(part, alphabet, train, targets[name], valid, valid_targets[name])
            for name, part in objective.parts.items()
        ]
        return {name: _side_by_side([of_part[name] for of_part in each]) for name in each[0]}
    constant = _constant(objective, targets)
    if isinstance(objective, config.LabelsObjective):
        return {
            "constant": lambda letters: [np.tile(constant, (len(row), 1)) for row in letters],
            "window_logistic": _window_logistic(alphabet, len(objective.classes), train, targets),
        }
    k = 6 if alphabet.name == "dna" else 2
    counts = KmerCounts(alphabet, k)
    linear, on_valid = _linear(objective, counts(train), targets), counts(valid)
    fitted = max(
        map(linear, STRENGTHS), key=lambda model: _worth(objective, model(on_valid), valid_targets)
    )
    return {
        "constant": lambda letters: np.tile(constant, (len(letters), 1)),
        f"kmer{k}_linear": lambda letters: fitted(counts(letters)),
    }


def _side_by_side(parts: Sequence[Predict]) -> Predict:
    return lambda letters: np.concatenate([predict(letters) for predict in parts], axis=1)


def _worth(objective: config.AnyObjective, predictions: Array, targets: NDArray) -> float:
    value = measure(objective, predictions, targets)[MAIN[objective.kind][0]]
    return value if np.isfinite(value) else -np.inf


def _constant(objective: config.AnyObjective, targets: NDArray) -> Array:
    """Return the fraction of each class or label, or the mean of each number, on train, (C,)."""
    match objective:
        case config.MulticlassObjective(classes=classes):
            return np.bincount(targets[targets != UNKNOWN], minlength=len(classes)) / max(
                1, (targets != UNKNOWN).sum()
            )
        case config.LabelsObjective(classes=classes):
            labels = np.concatenate(list(targets))
            return np.bincount(labels[labels != UNKNOWN], minlength=len(classes)) / max(
                1, (labels != UNKNOWN).sum()
            )
        case _:
            return np.nanmean(targets, axis=0)


def _linear(
    objective: config.AnyObjective, x: sparse.csr_matrix, targets: NDArray
) -> Callable[[float], Callable[[sparse.csr_matrix], Array]]:
    """Return a function that fits a linear model to counts `x` with a given penalty strength.

    The fitted model is a function from counts (n, k-mers) to predictions (n, C).
    """

    def classes(strength: float) -> Callable[[sparse.csr_matrix], Array]:
        known = targets != UNKNOWN
        model = LogisticRegression(C=10 / strength, max_iter=500).fit(x[known], targets[known])
        width = len(objective.classes)  # type: ignore[union-attr]

        def predict(counts: sparse.csr_matrix) -> Array:
            found = np.zeros((counts.shape[0], width))
            found[:, model.classes_] = model.predict_proba(counts)
            return found

        return predict

    def columns(strength: float) -> Callable[[sparse.csr_matrix], Array]:
        models = []
        for column in targets.T:
            known = np.isfinite(column)
            if isinstance(objective, config.RegressionObjective):
                models.append(Ridge(alpha=strength).fit(x[known], column[known]).predict)
            elif len(set(column[known])) == 2:
                fitted = LogisticRegression(C=10 / strength, max_iter=500).fit(
                    x[known], column[known]
                )
                models.append(lambda counts, fitted=fitted: fitted.predict_proba(counts)[:, 1])
            else:
                mean = float(column[known].mean())
                models.append(lambda counts, mean=mean: np.full(counts.shape[0], mean))
        return lambda counts: np.stack([predict(counts) for predict in models], axis=1)

    return classes if isinstance(objective, config.MulticlassObjective) else columns


def _window_logistic(
    alphabet: Alphabet, num_classes: int, train: Letters, targets: NDArray
) -> Predict:
    """Fit a logistic regression of the label of a position on the positions around it."""
    x = np.concatenate([_around(alphabet, row) for row in train])
    y = np.concatenate(list(targets))
    rows = np.flatnonzero(y != UNKNOWN)
    rows = np.random.default_rng(0).permutation(rows)[:MAX_LETTERS]
    size = len(alphabet.letters) + 2

    def coded(windows: NDArray) -> sparse.csr_matrix:
        columns = windows + np.arange(windows.shape[1]) * size
        ends = np.arange(len(windows) + 1) * windows.shape[1]
        return sparse.csr_matrix(
            (np.ones(columns.size), columns.ravel(), ends),
            shape=(len(windows), windows.shape[1] * size),
        )

    with warnings.catch_warnings():
        # A hundred iterations are enough for a baseline
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = LogisticRegression(max_iter=100).fit(coded(x[rows]), y[rows])

    def predict(letters: Letters) -> list[Array]:
        found = []
        for row in letters:
            of_row = np.zeros((len(row), num_classes))
            of_row[:, model.classes_] = model.predict_proba(coded(_around(alphabet, row)))
            found.append(of_row)
        return found

    return predict


def _around(alphabet: Alphabet, row: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the codes of the positions around each position, (L, 2 REACH + 1).

    Ambiguous letters and positions beyond the ends have one additional code each.
    """
    codes = alphabet.codes(row).astype(np.int64)
    padded = np.pad(codes, REACH, constant_values=len(alphabet.letters) + 1)
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * REACH + 1)


def summarise_targets(
    objective: config.AnyObjective,
    predictions: dict[str, dict[str, Predictions]],
    targets: dict[str, NDArray],
    settings: config.EvaluationSection,
) -> dict[str, Any]:
    """Evaluate every model on the validation and test splits.

    Parameters
    ----------
    objective
        Section [objective] of the run file.
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
        entry: dict[str, Any] = {"n": len(truth), "baselines": {}}
        for name, by_split in predictions.items():
            found = intervals_over_records(
                _measurer(objective, by_split[split], truth), len(truth), settings
            )
            if name == "model":
                entry["model"] = found
            else:
                entry["baselines"][name] = found
        summary[split] = entry
    return summary


def mean_predictions(objective: config.AnyObjective, outputs: Sequence[Predictions]) -> Predictions:
    """Return the predictions from the mean of the members' outputs, in the units of the targets."""
    if isinstance(outputs[0], list):
        return [
            predictions_of(objective, np.mean(of_row, axis=0))
            for of_row in zip(*outputs, strict=True)
        ]
    return predictions_of(objective, np.mean(outputs, axis=0))


def summarise_members(
    objective: config.AnyObjective, outputs: Sequence[Predictions], targets: NDArray
) -> dict[str, Any]:
    """Compute the metric of each member alone, and how much the members' predictions differ.

    The difference is the standard deviation over members, averaged over records and columns.
    """
    alone = [mean_predictions(objective, [of_member]) for of_member in outputs]
    metric, everything = MAIN[objective.kind][0], np.arange(len(targets))
    each = [_measurer(objective, predictions, targets)(everything)[metric] for predictions in alone]
    return members_entry(
        metric,
        each,
        np.stack([np.concatenate(list(predictions), axis=None) for predictions in alone]),
    )


def _measurer(
    objective: config.AnyObjective, predictions: Predictions, truth: NDArray
) -> Callable[[NDArray[np.int64]], dict[str, float]]:
    """Return a function from rows to the metrics of these records."""
    if isinstance(predictions, list):
        counts = np.stack(
            [
                confusion(predicted, known)
                for predicted, known in zip(predictions, truth, strict=True)
            ]
        )
        return lambda rows: confusion_metrics(counts[rows].sum(axis=0))
    return lambda rows: measure(objective, predictions[rows], truth[rows])


def intervals_over_records(
    measured: Callable[[NDArray[np.int64]], dict[str, float]],
    num_records: int,
    settings: config.EvaluationSection,
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


def summarise_language(
    sums: dict[str, dict[str, Array]],
    letters: int | None,
    baselines: dict[str, dict[str, float]],
    settings: config.EvaluationSection,
) -> dict[str, Any]:
    """Return the content of metrics.json for a language model.

    Parameters
    ----------
    sums
        Name ("model", variants) -> split -> (n, 3) with one row per record: sum of losses in nats,
        number of correct tokens, number of predicted tokens.
    letters
        Number of new positions that a predicted token covers, for bits per letter; None if tokens
        overlap.
    baselines
        Name -> split -> nats per predicted token.
    """

    def measured(of_split: Array) -> Callable[[NDArray[np.int64]], dict[str, float]]:
        def of_rows(rows: NDArray[np.int64]) -> dict[str, float]:
            loss, right, size = of_split[rows].sum(axis=0)
            return language_metrics(loss / max(size, 1), right / max(size, 1), letters)

        return of_rows

    summary: dict[str, Any] = {"bootstraps": settings.bootstraps, "confidence": settings.confidence}
    for split, of_model in sums["model"].items():
        found = {
            name: intervals_over_records(measured(by_split[split]), len(of_model), settings)
            for name, by_split in sums.items()
        }
        simple: dict[str, Any] = {
            name: {
                metric: {"value": value}
                for metric, value in language_metrics(nats[split], None, letters).items()
            }
            for name, nats in baselines.items()
        }
        summary[split] = {
            "n": len(of_model),
            "model": found.pop("model"),
            "baselines": simple | found,
        }
    return summary


def language_metrics(loss: float, accuracy: float | None, letters: int | None) -> dict[str, float]:
    """Return accuracy, perplexity per token and bits per letter for a mean loss in nats per token.

    Unknown values are left out.
    """
    found = {
        "accuracy": accuracy,
        "perplexity": np.exp(loss),
        "bits_per_letter": letters and loss / np.log(2) / letters,
    }
    return {
        name: float(value)
        for name, value in found.items()
        if value is not None and np.isfinite(value)
    }


def unigram_nats(
    tokenizer: KmerTokenizer, train: Letters, splits: Mapping[str, Letters]
) -> dict[str, float]:
    """Return the loss of predicting each token by its frequency, in nats per token, by split.

    Frequencies are those of the training split, with 1 added to each count.
    """

    def counted(letters: Letters) -> Array:
        counts = np.zeros(tokenizer.vocabulary_size)
        for row in letters:
            np.add.at(counts, tokenizer.encode(tokenizer.alphabet.codes(row)[None])[0], 1)
        return counts[len(SPECIAL) :]

    logs = np.log1p(counted(train))
    logs -= np.log(np.exp(logs).sum())
    return {
        split: float(-(of_split := counted(letters)) @ logs / of_split.sum())
        for split, letters in splits.items()
    }


def markov_nats(
    alphabet: Alphabet,
    train: Letters,
    valid: Letters,
    splits: Mapping[str, Letters],
    max_order: int = 8,
) -> dict[str, float]:
    """Return the loss of a Markov chain over letters, in nats per letter, by split.

    The order is chosen on the validation split; 1 is added to each count. All orders are evaluated
    on the same letters, those preceded by `max_order` known letters (2 in protein).
    """
    size = len(alphabet.letters)
    most = max_order if size == 4 else 2
    best: tuple[float, Callable[[Letters], float]] = (np.inf, lambda _: np.inf)
    for order in range(most + 1):
        counts = np.ones((size**order, size))
        for row in train:
            context, following = _contexts(alphabet, row, order, order)
            np.add.at(counts, (context, following), 1)
        logs = np.log(counts / counts.sum(axis=1, keepdims=True))

        def nats(letters: Letters, order: int = order, logs: Array = logs) -> float:
            found = np.concatenate([logs[_contexts(alphabet, row, order, most)] for row in letters])
            return -float(found.mean()) if len(found) else float("nan")

        if (on_valid := nats(valid)) < best[0]:
            best = (on_valid, nats)
    return {split: best[1](letters) for split, letters in splits.items()}


def _contexts(
    alphabet: Alphabet, row: NDArray[np.uint8], order: int, reach: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the numbers of the preceding `order` letters and the codes of the letters, both (m,).

    Only letters that are known and preceded by `reach` known letters are included.
    """
    size, codes = len(alphabet.letters), alphabet.codes(row).astype(np.int64)
    if len(codes) <= reach:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(codes, reach + 1)
    windows = windows[(windows < size).all(axis=1)][:, reach - order :]
    return windows[:, :-1] @ (size ** np.arange(order)[::-1]), windows[:, -1]


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
