"""metrics.json of every objective but `binary`: the model beside baselines on valid and test, with bootstrap intervals over records.

Hides: scikit-learn, the form of the file. `evaluate` calls `fit_baselines` and `summarise_targets`.
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
from selfattn_bio.evaluation.measures import MAIN, UNKNOWN, confusion, measure, of_confusion, predictions_of
from selfattn_bio.evaluation.summary import members_entry
from selfattn_bio.sequence.alphabet import Alphabet
from selfattn_bio.sequence.kmers import SPECIAL, KmerTokenizer

Array = NDArray[np.float64]
Predictions = Array | list[Array]  # (n, C), or of labels a letter n of (L, C)
Predict = Callable[[Letters], Predictions]
STRENGTHS = (0.1, 1.0, 10.0, 100.0)  # of the penalty; chosen on valid
REACH = 7  # letters on each side that the baseline of labels a letter sees
MAX_LETTERS = 200_000  # it is fitted on


def fit_baselines(
    objective: config.Objective, alphabet: Alphabet, train: Letters, targets: NDArray, valid: Letters, valid_targets: NDArray
) -> dict[str, Predict]:
    """Simple ways to the same predictions, fitted on train: shares or means, and a linear model of k-mers or of the letters around.

    The strength of its penalty is chosen on valid. Of several parts each has its own.
    """
    if isinstance(objective, config.SeveralObjective):
        each = [fit_baselines(part, alphabet, train, targets[name], valid, valid_targets[name]) for name, part in objective.parts.items()]
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
    fitted = max(map(linear, STRENGTHS), key=lambda model: _worth(objective, model(on_valid), valid_targets))
    return {"constant": lambda letters: np.tile(constant, (len(letters), 1)), f"kmer{k}_linear": lambda letters: fitted(counts(letters))}


def _side_by_side(parts: Sequence[Predict]) -> Predict:
    return lambda letters: np.concatenate([predict(letters) for predict in parts], axis=1)


def _worth(objective: config.Objective, predictions: Array, targets: NDArray) -> float:
    value = measure(objective, predictions, targets)[MAIN[objective.kind][0]]
    return value if np.isfinite(value) else -np.inf


def _constant(objective: config.Objective, targets: NDArray) -> Array:
    """(C,) the share of each class or label, or the mean of each number, on train."""
    match objective:
        case config.MulticlassObjective(classes=classes):
            return np.bincount(targets[targets != UNKNOWN], minlength=len(classes)) / max(1, (targets != UNKNOWN).sum())
        case config.LabelsObjective(classes=classes):
            labels = np.concatenate(list(targets))
            return np.bincount(labels[labels != UNKNOWN], minlength=len(classes)) / max(1, (labels != UNKNOWN).sum())
        case _:
            return np.nanmean(targets, axis=0)


def _linear(objective: config.Objective, x: sparse.csr_matrix, targets: NDArray) -> Callable[[float], Callable[[sparse.csr_matrix], Array]]:
    """Strength of the penalty -> a fitted model: counts (n, k-mers) -> predictions (n, C)."""

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
                fitted = LogisticRegression(C=10 / strength, max_iter=500).fit(x[known], column[known])
                models.append(lambda counts, fitted=fitted: fitted.predict_proba(counts)[:, 1])
            else:
                models.append(lambda counts, share=float(column[known].mean()): np.full(counts.shape[0], share))  # noqa: B008
        return lambda counts: np.stack([predict(counts) for predict in models], axis=1)

    return classes if isinstance(objective, config.MulticlassObjective) else columns


def _window_logistic(alphabet: Alphabet, num_classes: int, train: Letters, targets: NDArray) -> Predict:
    """A logistic regression of a letter's label on the letters around it."""
    x = np.concatenate([_around(alphabet, row) for row in train])
    y = np.concatenate(list(targets))
    rows = np.flatnonzero(y != UNKNOWN)
    rows = np.random.default_rng(0).permutation(rows)[:MAX_LETTERS]
    size = len(alphabet.letters) + 2

    def coded(windows: NDArray) -> sparse.csr_matrix:
        columns = windows + np.arange(windows.shape[1]) * size
        ends = np.arange(len(windows) + 1) * windows.shape[1]
        return sparse.csr_matrix((np.ones(columns.size), columns.ravel(), ends), shape=(len(windows), windows.shape[1] * size))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a hundred rounds are enough for a baseline
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
    """(L, 2 REACH + 1) codes of the letters around each: the alphabet's, one for ambiguous ones, one for beyond the ends."""
    codes = alphabet.codes(row).astype(np.int64)
    padded = np.pad(codes, REACH, constant_values=len(alphabet.letters) + 1)
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * REACH + 1)


def summarise_targets(
    objective: config.Objective, predictions: dict[str, dict[str, Predictions]], targets: dict[str, NDArray], settings: config.Evaluation
) -> dict[str, Any]:
    """Judge every model on valid and test.

    Parameters
    ----------
    predictions
        Name ("model", baselines) -> side -> what it says of the side's records.
    targets
        Side -> targets of its records.

    Returns
    -------
    The content of metrics.json: `test` and `valid` with `n`, `model` and `baselines`, each `{metric: {value, low, high}}`.
    """
    summary: dict[str, Any] = {"objective": objective.kind, "bootstraps": settings.bootstraps, "confidence": settings.confidence}
    for side, truth in targets.items():
        entry: dict[str, Any] = {"n": len(truth), "baselines": {}}
        for name, by_side in predictions.items():
            found = intervals_over_records(_measurer(objective, by_side[side], truth), len(truth), settings)
            if name == "model":
                entry["model"] = found
            else:
                entry["baselines"][name] = found
        summary[side] = entry
    return summary


def mean_predictions(objective: config.Objective, outputs: Sequence[Predictions]) -> Predictions:
    """What the mean of the members' outputs says, in the units of the targets; of one member, what that says."""
    if isinstance(outputs[0], list):
        return [predictions_of(objective, np.mean(of_row, axis=0)) for of_row in zip(*outputs, strict=True)]
    return predictions_of(objective, np.mean(outputs, axis=0))


def summarise_members(objective: config.Objective, outputs: Sequence[Predictions], targets: NDArray) -> dict[str, Any]:
    """How well each member does alone, and how far they differ (of what is predicted, mean over records and columns)."""
    alone = [mean_predictions(objective, [of_member]) for of_member in outputs]
    metric, everything = MAIN[objective.kind][0], np.arange(len(targets))
    each = [_measurer(objective, predictions, targets)(everything)[metric] for predictions in alone]
    return members_entry(metric, each, np.stack([np.concatenate(list(predictions), axis=None) for predictions in alone]))


def _measurer(objective: config.Objective, predictions: Predictions, truth: NDArray) -> Callable[[NDArray[np.int64]], dict[str, float]]:
    """Rows -> metrics of these records."""
    if isinstance(predictions, list):
        counts = np.stack([confusion(predicted, known) for predicted, known in zip(predictions, truth, strict=True)])
        return lambda rows: of_confusion(counts[rows].sum(axis=0))
    return lambda rows: measure(objective, predictions[rows], truth[rows])


def intervals_over_records(
    measured: Callable[[NDArray[np.int64]], dict[str, float]], num_records: int, settings: config.Evaluation
) -> dict[str, dict[str, float | None]]:
    """`{metric: {value, low, high}}`: the value on all records, and percentiles over `bootstraps` draws of as many with replacement.

    None where a metric is not defined, as a correlation with what is everywhere the same.
    """
    rng = np.random.default_rng(settings.seed)
    value = measured(np.arange(num_records))
    draws = [measured(rng.integers(num_records, size=num_records)) for _ in range(settings.bootstraps)]
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
    sums: dict[str, dict[str, Array]], letters: int | None, baselines: dict[str, dict[str, float]], settings: config.Evaluation
) -> dict[str, Any]:
    """metrics.json of a language model.

    Parameters
    ----------
    sums
        Name ("model", variants) -> side -> (n, 3) of each record: sum of the losses in nats, tokens that were right, tokens that were
        wanted.
    letters
        New letters that a wanted token brings, for bits a letter; None where tokens overlap.
    baselines
        Name -> side -> nats a wanted token.
    """

    def measured(of_side: Array) -> Callable[[NDArray[np.int64]], dict[str, float]]:
        def of_rows(rows: NDArray[np.int64]) -> dict[str, float]:
            loss, right, size = of_side[rows].sum(axis=0)
            return language_metrics(loss / max(size, 1), right / max(size, 1), letters)

        return of_rows

    summary: dict[str, Any] = {"bootstraps": settings.bootstraps, "confidence": settings.confidence}
    for side, of_model in sums["model"].items():
        found = {name: intervals_over_records(measured(by_side[side]), len(of_model), settings) for name, by_side in sums.items()}
        beside: dict[str, Any] = {
            name: {metric: {"value": value} for metric, value in language_metrics(nats[side], None, letters).items()}
            for name, nats in baselines.items()
        }
        summary[side] = {"n": len(of_model), "model": found.pop("model"), "baselines": beside | found}
    return summary


def language_metrics(loss: float, accuracy: float | None, letters: int | None) -> dict[str, float]:
    """Of a mean loss in nats a token: accuracy, perplexity of a token, bits a letter; without what is not known."""
    found = {"accuracy": accuracy, "perplexity": np.exp(loss), "bits_per_letter": letters and loss / np.log(2) / letters}
    return {name: float(value) for name, value in found.items() if value is not None and np.isfinite(value)}


def unigram_nats(tokenizer: KmerTokenizer, train: Letters, sides: Mapping[str, Letters]) -> dict[str, float]:
    """Side -> nats a token of the share of each token on train (add-one counts)."""

    def counted(letters: Letters) -> Array:
        counts = np.zeros(tokenizer.vocabulary_size)
        for row in letters:
            np.add.at(counts, tokenizer.encode(tokenizer.alphabet.codes(row)[None])[0], 1)
        return counts[len(SPECIAL) :]

    logs = np.log1p(counted(train))
    logs -= np.log(np.exp(logs).sum())
    return {side: float(-(of_side := counted(letters)) @ logs / of_side.sum()) for side, letters in sides.items()}


def markov_nats(alphabet: Alphabet, train: Letters, valid: Letters, sides: Mapping[str, Letters], max_order: int = 8) -> dict[str, float]:
    """Side -> nats a letter of a Markov chain of letters, its order chosen on valid (add-one counts).

    All orders are scored on the same letters, those that have `max_order` known ones before them (2 in protein).
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
    return {side: best[1](letters) for side, letters in sides.items()}


def _contexts(alphabet: Alphabet, row: NDArray[np.uint8], order: int, reach: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(m,) number of the `order` letters before, (m,) code of the letter, where it and the `reach` before it are no ambiguous ones."""
    size, codes = len(alphabet.letters), alphabet.codes(row).astype(np.int64)
    if len(codes) <= reach:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(codes, reach + 1)
    windows = windows[(windows < size).all(axis=1)][:, reach - order :]
    return windows[:, :-1] @ (size ** np.arange(order)[::-1]), windows[:, -1]


def as_rows(predictions: Predictions, columns: Sequence[str]) -> dict[str, Any]:
    """Columns of a predictions table: of (n, C) one each."""
    if isinstance(predictions, list):
        return {"predicted": ["".join(columns[i] for i in row.argmax(axis=1)) for row in predictions]}
    return dict(zip(columns, predictions.T, strict=True))
