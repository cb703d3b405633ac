"""Evaluate models of classes, labels or numbers, per sequence or per position."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selfattn_bio.config import RunFile
from selfattn_bio.evaluation.summary import EVALUATED_SPLITS
from selfattn_bio.evaluation.targets import (
    mean_predictions,
    summarise_members,
    summarise_targets,
    target_predictions,
)
from selfattn_bio.objectives import Objective
from selfattn_bio.objectives.base import Predictions, Sample
from selfattn_bio.study.evaluators.candidates import Candidate, inputs_by_split
from selfattn_bio.study.evaluators.records import EvaluationRecords, Measured


def evaluate_targets(
    objective: Objective[Any],
    candidates: Mapping[str, Candidate],
    records: EvaluationRecords,
    task: RunFile,
) -> Measured:
    """Evaluate metrics with intervals, next to simple baselines and the variants."""
    models = {name: candidate.load() for name, candidate in candidates.items()}
    corpus, letters = records.corpus, records.letters
    columns = objective.section.target_columns
    table, place = corpus.targets(columns), corpus.summary["targets"]["path"]
    targets = {
        split: objective.targets(table.iloc[of], corpus.records.iloc[of], place)
        for split, of in records.rows.items()
    }
    fitted = objective.fit_baselines(
        corpus.alphabet,
        Sample(letters["train"], targets["train"]),
        Sample(letters["valid"], targets["valid"]),
    )
    predictions: dict[str, dict[str, Any]] = {
        name: {split: predict(letters[split]) for split in EVALUATED_SPLITS}
        for name, predict in fitted.items()
    }
    each: dict[str, dict[str, list[Predictions]]] = {}  # outputs of each member by name and split
    for name, model in models.items():
        each[name] = {split: [] for split in EVALUATED_SPLITS}
        for member in model.members:
            inputs = inputs_by_split(member, records)
            for split in EVALUATED_SPLITS:
                each[name][split].append(objective.read(member, inputs[split]))
        predictions[name] = {
            split: mean_predictions(objective, of_members)
            for split, of_members in each[name].items()
        }
    metrics = summarise_targets(
        objective,
        predictions,
        {split: targets[split] for split in EVALUATED_SPLITS},
        task.evaluation,
        records.units(),
    )
    tables = {}
    for split in EVALUATED_SPLITS:
        several = {name: of[split] for name, of in each.items() if len(of[split]) > 1}
        if several:
            metrics[split]["members"] = {
                name: summarise_members(objective, of, targets[split])
                for name, of in several.items()
            }
        tables[split] = target_predictions(
            records.ids(split),
            table.iloc[records.rows[split]],
            {name: predictions[name][split] for name in metrics["outputs"]},
            objective.section.output_names,
        )
    return Measured(metrics, tables, {})
