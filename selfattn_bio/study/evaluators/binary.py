"""Evaluate models of two classes, next to the baselines that suit their records."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.baselines import Baseline, suitable
from selfattn_bio.config import RunFile
from selfattn_bio.config.derived import NETWORK, PARTNER
from selfattn_bio.evaluation.calibration import Calibration
from selfattn_bio.evaluation.groups import MOST, groups_of
from selfattn_bio.evaluation.summary import (
    EVALUATED_SPLITS,
    Classifier,
    Role,
    predictions_table,
    summarise,
)
from selfattn_bio.log import LOG
from selfattn_bio.objectives.binary import Binary
from selfattn_bio.scoring.ensemble import Ensemble
from selfattn_bio.scoring.stack import baseline_setup, fitted_parts
from selfattn_bio.sequence.alphabet import Alphabet
from selfattn_bio.sequence.kmers import gc_content
from selfattn_bio.sequence.policy import policy_of
from selfattn_bio.study.evaluators.candidates import Candidate, inputs_by_split
from selfattn_bio.study.evaluators.records import EvaluationRecords, Letters, Measured

Labels = dict[str, NDArray[np.int64]]


class Fitted(NamedTuple):
    """A baseline and its predictions for the validation and test splits."""

    baseline: Baseline
    classifier: Classifier


def evaluate_binary(
    objective: Binary,
    candidates: Mapping[str, Candidate],
    records: EvaluationRecords,
    task: RunFile,
) -> Measured:
    """Evaluate two classes: metrics with intervals, calibration, differences, slices.

    Baselines are fitted to the same records, and for two inputs to each input. Those of a private
    run are not returned for saving, because their weights would reveal its records.
    """
    corpus, labels = records.corpus, records.labels()
    classifiers: dict[str, Classifier] = {}
    for name, candidate in candidates.items():
        classifiers |= score_networks(name, candidate, records, labels)
    parts = fitted_parts(candidates["model"].folders[0])
    fitted = fit_baselines(corpus.alphabet, records.letters, labels, task, parts)
    if corpus.partner and corpus.partner.alphabet.name != "levels":
        partners = {
            split: [corpus.partner_letters(int(i)) for i in of_split]
            for split, of_split in records.rows.items()
        }
        fitted |= fit_baselines(
            corpus.partner.alphabet, partners, labels, task, parts, prefix=PARTNER
        )
    classifiers |= {name: of.classifier for name, of in fitted.items()}
    metrics = summarise(
        classifiers,
        labels,
        _properties(records),
        task.evaluation,
        _groups(candidates["model"].runs()[0], records, task),
        records.units(),
    )
    tables = {
        split: predictions_table(records.ids(split), labels[split], classifiers, split)
        for split in EVALUATED_SPLITS
    }
    saved = {} if task.privacy else {name: of.baseline for name, of in fitted.items()}
    return Measured(metrics, tables, saved)


def score_networks(
    name: str, candidate: Candidate, records: EvaluationRecords, labels: Labels
) -> dict[str, Classifier]:
    """Score with a model folder, or with the mean logit of several.

    If the model is stacked, its network alone is also evaluated, under the name NETWORK.
    """
    start, scorers = time.monotonic(), candidate.members()
    first = scorers[0]
    role: Role = "model" if name == "model" else "control" if first.run.is_control() else "baseline"
    inputs = [inputs_by_split(scorer, records) for scorer in scorers]
    alone, logits = {}, {}  # arrays (members, records) by split
    for split in EVALUATED_SPLITS:
        alone[split] = np.stack(
            [
                scorer.network_outputs(of[split])[:, :, 0].mean(1)
                for scorer, of in zip(scorers, inputs, strict=True)
            ]
        )
        pairs = zip(scorers, alone[split], inputs, strict=True)
        logits[split] = np.stack(
            [scorer.stacked(network, of[split]) for scorer, network, of in pairs]
        )
    shown = name if name == role else f"{name} ({role})"
    LOG.info(f"{shown} scored in {time.monotonic() - start:.1f} s")
    if len(scorers) == 1:
        of_one = {split: of_split[0] for split, of_split in logits.items()}
        found = {name: Classifier.of_logits(role, of_one, first.calibration)}
    else:  # nothing is fitted again, so that the output of `score` is evaluated
        mean = Ensemble(tuple(scorers))
        found = {name: Classifier.of_members(role, logits, mean.calibration)}
    if role == "model" and any(scorer.stack for scorer in scorers):
        of_networks = {split: of_split.mean(axis=0) for split, of_split in alone.items()}
        fitted = Calibration.fit(of_networks["valid"], labels["valid"])
        found[NETWORK] = Classifier.of_logits("baseline", of_networks, fitted)
    return found


def fit_baselines(
    alphabet: Alphabet,
    letters: Letters,
    labels: Labels,
    task: RunFile,
    parts: Mapping[str, Baseline],
    *,
    prefix: str = "",
) -> dict[str, Fitted]:
    """Fit the baselines that suit the records, and score the validation and test splits.

    `parts` were fitted to the same records for the model's stack. They are not fitted again if
    their strands and database are those of the run file.
    """
    policy = replace(policy_of(task.data), alphabet=alphabet)
    setup = baseline_setup(task, policy, threads=0)
    found: dict[str, Fitted] = {}
    for kind, obstacle in suitable(setup, letters["train"]):
        name = prefix + kind.name
        if obstacle:
            LOG.info(f"{name} (baseline, {kind.title}) left out: {obstacle}")
            continue
        start = time.monotonic()
        baseline = parts.get(name)
        if baseline is None or not baseline.fitted_as(setup):
            baseline = kind(setup).fit(
                letters["train"], labels["train"], letters["valid"], labels["valid"]
            )
        logits = {split: baseline.logits(letters[split]) for split in EVALUATED_SPLITS}
        classifier = Classifier.of_logits(
            "baseline", logits, baseline.calibration, baseline.chosen()
        )
        found[name] = Fitted(baseline, classifier)
        LOG.info(f"{name} (baseline, {kind.title}) fitted in {time.monotonic() - start:.1f} s")
    return found


def _properties(records: EvaluationRecords) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Return the properties by which the test records are sliced.

    For DNA this is GC content. For proteins it is length, and whether a record begins with M, as
    complete chains do but fragments usually do not.
    """
    letters = records.letters
    if records.corpus.alphabet.name == "dna":
        return {"gc": {split: gc_content(letters[split]) for split in ("train", "test")}}
    of_record: dict[str, Any] = {
        "length": len,
        "begins_with_m": lambda record: record[0] == ord("M"),
    }
    return {
        name: {
            split: np.array([of(record) for record in letters[split]], dtype=float)
            for split in ("train", "test")
        }
        for name, of in of_record.items()
    }


def _groups(
    run: RunFile, records: EvaluationRecords, task: RunFile
) -> dict[str, NDArray[np.object_]]:
    """Return the groups of the test records.

    GC content (DNA), length and chromosome are used if they have several groups; thousands of
    contigs are left out. The columns of [evaluation] groups, and the column by which the training
    of `run` was balanced, are always used.
    """
    corpus, settings, balance = records.corpus, task.evaluation, run.training.balance
    known = {
        "gc": corpus.alphabet.name == "dna",
        "length": True,
        # fewer, because records without a chromosome form one more group
        "chrom": len(set(corpus.records["chrom"].dropna())) < MOST,
    }
    requested = {*settings.groups, *([balance.by] if balance else [])}
    by_default = [name for name, fits in known.items() if fits]
    found = {}
    for by in dict.fromkeys([*by_default, *sorted(requested)]):
        bins = balance.bins if balance and balance.by == by else settings.gc_slices
        test = groups_of(by, corpus, records.rows, bins)["test"]
        if by in requested or len(set(test)) > 1:
            found[by] = test
    return found
