"""Fit baselines of language models and summarise their metrics, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.config import EvaluationSection
from selfattn_bio.evaluation.metrics import Units, intervals
from selfattn_bio.evaluation.targets import resampled_metrics
from selfattn_bio.objectives.language import language_metrics
from selfattn_bio.sequence.alphabet import Alphabet, Letters
from selfattn_bio.sequence.kmers import SPECIAL, KmerTokenizer

MAX_ORDER = 8  # of Markov models of DNA
Array = NDArray[np.float64]


def summarise_language(
    sums: dict[str, dict[str, Array]],
    letters: int | None,
    baselines: dict[str, dict[str, float]],
    settings: EvaluationSection,
    units: Mapping[str, Units],
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
    settings
        Section [evaluation] of the run file.
    units
        Records that are resampled together, by split.
    """

    def measured(of_split: Array) -> Callable[[NDArray[np.int64]], dict[str, float]]:
        def of_rows(rows: NDArray[np.int64]) -> dict[str, float]:
            loss, right, size = of_split[rows].sum(axis=0)
            return language_metrics(loss / max(size, 1), right / max(size, 1), letters)

        return of_rows

    summary: dict[str, Any] = {"bootstraps": settings.bootstraps, "confidence": settings.confidence}
    for split, of_model in sums["model"].items():
        found = {
            name: intervals(
                resampled_metrics(measured(by_split[split]), units[split], settings),
                settings.confidence,
            )
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
            **units[split].entry(),
            "model": found.pop("model"),
            "baselines": simple | found,
        }
    return summary


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
) -> dict[str, float]:
    """Return the loss of a Markov chain over letters, in nats per letter, by split.

    The order is chosen on the validation split; 1 is added to each count. All orders are evaluated
    on the same letters, those preceded by MAX_ORDER known letters (2 in protein).
    """
    size = len(alphabet.letters)
    most = MAX_ORDER if size == 4 else 2
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
