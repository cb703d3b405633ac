"""Predict with the networks of an evaluation, and fit the simple models that it compares."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.baselines import Baseline, suitable
from selfattn_bio.config import PretrainedModel, RunFile
from selfattn_bio.config.derived import NETWORK, PARTNER, STACKED
from selfattn_bio.evaluation.calibration import Calibration
from selfattn_bio.evaluation.summary import COVERAGE, EVALUATED_SPLITS, Classifier, Role
from selfattn_bio.log import LOG
from selfattn_bio.objectives import Objective
from selfattn_bio.objectives.base import Examples
from selfattn_bio.objectives.language import LanguageModel
from selfattn_bio.objectives.numbers import Regression
from selfattn_bio.scoring.reference import fit_chain, log_likelihoods
from selfattn_bio.scoring.stack import baseline_setup
from selfattn_bio.scoring.table import prediction_sets
from selfattn_bio.sequence.alphabet import Alphabet, Letters
from selfattn_bio.sequence.kmers import SPECIAL, KmerTokenizer, tokenizer_of
from selfattn_bio.sequence.policy import policy_of
from selfattn_bio.study.evaluated import Candidate, EvaluationRecords
from selfattn_bio.training.stacking import fit_part, fit_stack

Array = NDArray[np.float64]
Split = Mapping[str, Letters]  # by name of the split
MAX_ORDER = 8  # of Markov models of DNA


class Fitted(NamedTuple):
    """A fitted baseline: its predictions, and the model if it can be saved."""

    classifier: Classifier
    model: Baseline | None = None


def predict_networks(
    objective: Objective[Any],
    name: str,
    candidate: Candidate,
    records: EvaluationRecords,
    examples: Mapping[str, Examples],
    targets: Mapping[str, NDArray],
    parts: Sequence[Baseline],
) -> dict[str, Classifier]:
    """Predict with the networks of a candidate, alone and with the simple models of a stack.

    If the model is stacked, its network alone has the name NETWORK. Variants are trained without a
    stack, so they get the fitted `parts` of the model, with weights fitted to validation records:
    the name then ends with STACKED. Stacked predictions of a validation record are from weights
    fitted to the others, as those of `fit_stack`.
    """
    start, scorers, letters = time.monotonic(), candidate.members(), records.letters
    model = scorers[0].run.model
    if isinstance(model, PretrainedModel) and model.weights == "random":  # control of pretraining
        parts = [part for part in parts if "pretrained" not in part.reads]
    control = scorers[0].run.is_control()
    role: Role = "model" if name == "model" else "control" if control else "baseline"
    alone: dict[str, list[Any]] = {split: [] for split in examples}
    for split, scorer in product(examples, scorers):
        alone[split].append(replace(scorer, stack=None).read(records.inputs(scorer.run, split)))
    valid, stacks = examples["valid"].targets, [scorer.stack for scorer in scorers]
    calibrations = [scorer.calibration for scorer in scorers]

    def averaged(outputs: dict[str, list[Any]], role: Role = role) -> Classifier:
        of_examples = {
            split: [*map(examples[split].of_records, of)] for split, of in outputs.items()
        }
        mean = Calibration.mean(calibrations)
        return Classifier.of_outputs(objective, role, of_examples, valid, mean)

    found, complete, fits = {name: averaged(alone)}, alone, []
    if parts and not control and (role == "baseline" or all(stacks)):
        answers = objective.answers(targets["valid"])
        fits = [fit_stack(of, parts, letters["valid"], answers) for of in alone["valid"]]
    if fits and role == "baseline":
        stacks = [stack for stack, _ in fits]
        if objective.has_log_odds:
            calibrations = [Calibration.fit(held_out[:, 0], valid) for _, held_out in fits]
    if any(stacks):
        complete = {
            split: [
                stack.outputs(of, letters[split]) if stack else of
                for stack, of in zip(stacks, of_split, strict=True)
            ]
            for split, of_split in alone.items()
        }
        if fits:
            complete["valid"] = [held_out for _, held_out in fits]
        found[f"{name}{STACKED if role == 'baseline' else ''}"] = averaged(complete)
    if role == "model" and any(stacks):
        if objective.has_log_odds:
            calibrations = [Calibration.fit(np.mean(alone["valid"], axis=0)[:, 0], valid)]
        found[NETWORK] = averaged(alone, "baseline")
    if role == "model" and isinstance(objective, Regression) and all(s.reference for s in scorers):
        bounds = {
            split: prediction_sets(scorers, np.stack(of), COVERAGE)
            for split, of in complete.items()
        }
        found[name] = replace(found[name], bounds=bounds)
    shown = name if name == role else f"{name} ({role})"
    LOG.info(f"{shown} scored in {time.monotonic() - start:.1f} s")
    return found


def fit_baselines(
    objective: Objective[Any],
    records: EvaluationRecords,
    task: RunFile,
    targets: Mapping[str, NDArray],
    parts: Mapping[str, Baseline],
    examples: Mapping[str, Examples],
) -> tuple[dict[str, Fitted], dict[str, list[str]]]:
    """Fit the baselines of an objective, and predict the validation and test splits.

    They are fitted to the training split, and the validation split chooses their settings. Those of
    `parts` are not fitted again if their strands and database are those of the run file.

    Parameters
    ----------
    objective, records, task
        The objective, the records and the run file.
    targets
        Targets of the records by split, from `Objective.targets`.
    parts
        Baselines of the model's stack, which were fitted to the same records.
    examples
        What metrics count in the validation and test splits.

    Returns
    -------
    The baselines by name, and the names of those that cannot be fitted by the reason, which ends a
    sentence.
    """
    found: dict[str, Fitted] = {}
    left_out: dict[str, list[str]] = {}
    if isinstance(objective, LanguageModel):
        start, valid = time.monotonic(), examples["valid"].targets
        name, predictions = language_predictions(objective, tokenizer_of(task), records.letters)
        LOG.info(f"baselines fitted in {time.monotonic() - start:.1f} s")
        found[name] = Fitted(Classifier.of_predictions(objective, "baseline", predictions, valid))
    # the others learn the answers, which a language model does not have
    inputs = _inputs(records) if objective.answers(targets["train"]) else ()
    for prefix, alphabet, letters in inputs:
        policy = replace(policy_of(task.data), alphabet=alphabet)
        setup = baseline_setup(task, policy, objective.section, threads=0)
        for kind, obstacle in suitable(setup, letters["train"]):
            name, start = prefix + kind.name, time.monotonic()
            if obstacle:
                if not kind.is_special:
                    LOG.info(f"{name} (baseline, {kind.title}) left out: {obstacle}")
                    left_out.setdefault(obstacle, []).append(name)
                continue
            baseline, origin = parts.get(name), "reused from the stack of the model"
            if baseline is None or not baseline.fitted_as(setup):
                baseline = fit_part(setup, kind.name, letters, targets)
                origin = f"fitted in {time.monotonic() - start:.1f} s"
            found[name] = _predicted(objective, baseline, letters, examples)
            LOG.info(f"{name} (baseline, {kind.title}) {origin}")
    return found, left_out


def _inputs(records: EvaluationRecords) -> Iterator[tuple[str, Alphabet, Split]]:
    """Yield the prefix of baselines, alphabet and letters of the first input, then the partner."""
    corpus = records.corpus
    yield "", corpus.alphabet, records.letters
    if corpus.partner:
        of_partner = {
            split: [corpus.partner_letters(int(i)) for i in rows]
            for split, rows in records.rows.items()
        }
        yield PARTNER, corpus.partner.alphabet, of_partner


def _predicted(
    objective: Objective[Any], baseline: Baseline, letters: Split, examples: Mapping[str, Examples]
) -> Fitted:
    """Predict the validation and test splits with a fitted baseline."""
    outputs = {
        split: [of.of_records(baseline.read(letters[split]))] for split, of in examples.items()
    }
    classifier = Classifier.of_outputs(
        objective, "baseline", outputs, examples["valid"].targets, baseline.calibration
    )
    return Fitted(replace(classifier, chosen=classifier.chosen | baseline.chosen()), baseline)


def language_predictions(
    objective: LanguageModel[Any], tokenizer: KmerTokenizer, letters: Split
) -> tuple[str, dict[str, Array]]:
    """Fit a Markov chain of letters, or token frequencies if predicted tokens overlap.

    Returns
    -------
    The name of the baseline, and for valid and test the sums of each record as from
    `LanguageModel.read`, (n, 4), with an unknown number of correct tokens.
    """
    if width := objective.language_loss(tokenizer).letters:
        name = "markov"
        nats = markov_nats(tokenizer.alphabet, letters["train"], letters["valid"])
    else:
        name, nats = "unigram", unigram_nats(tokenizer, letters["train"])
    found = {}
    for split in EVALUATED_SPLITS:
        total, number = nats(letters[split])
        unknown = np.full(len(total), np.nan)
        columns = [total, unknown, number / max(width, 1), number * (width > 0)]
        found[split] = np.stack(columns, axis=1)
    return name, found


# letters of records -> sum of the loss in nats and number of predictions, both (n,)
Nats = Callable[[Letters], tuple[Array, Array]]


def unigram_nats(tokenizer: KmerTokenizer, train: Letters) -> Nats:
    """Predict each token by its frequency in the training split, with 1 added to each count."""

    def counted(row: NDArray[np.uint8]) -> Array:
        tokens = tokenizer.encode(tokenizer.alphabet.codes(row)[None])[0]
        return np.bincount(tokens, minlength=tokenizer.vocabulary_size)[len(SPECIAL) :].astype(
            float
        )

    logs = np.log1p(np.sum([counted(row) for row in train], axis=0))
    logs -= np.log(np.exp(logs).sum())

    def nats(letters: Letters) -> tuple[Array, Array]:
        counts = np.stack([counted(row) for row in letters])
        return -counts @ logs, counts.sum(axis=1)

    return nats


def markov_nats(alphabet: Alphabet, train: Letters, valid: Letters) -> Nats:
    """Predict each letter by the ones before it, with a Markov chain.

    The order is chosen on the validation split; 1 is added to each count. All orders are evaluated
    on the same letters, those preceded by MAX_ORDER known letters (2 in protein).
    """
    most = MAX_ORDER if alphabet.is_nucleic else 2
    found: list[tuple[float, Nats]] = []
    for order in range(most + 1):
        chain = fit_chain(alphabet, train, order)

        def nats(letters: Letters, chain: Array = chain) -> tuple[Array, Array]:
            total, number = log_likelihoods(alphabet, chain, letters, most)
            return -total, number

        total, number = nats(valid)
        found.append((total.sum() / number.sum() if number.any() else np.inf, nats))
    return min(found, key=lambda each: each[0])[1]
