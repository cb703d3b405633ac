"""Evaluate models of classes, labels or numbers, per sequence or per position."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from selfattn_bio.api.evaluators.candidates import Candidate, inputs_by_split
from selfattn_bio.api.evaluators.records import EvaluationRecords, Measured
from selfattn_bio.api.progress import Say
from selfattn_bio.config import LabelsObjective, RunFile
from selfattn_bio.evaluation.measures import targets_of
from selfattn_bio.evaluation.summary import EVALUATED_SPLITS
from selfattn_bio.evaluation.targets import (
    Predictions,
    as_rows,
    fit_baselines,
    mean_predictions,
    summarise_members,
    summarise_targets,
)


def evaluate_targets(
    candidates: Mapping[str, Candidate], records: EvaluationRecords, task: RunFile, say: Say
) -> Measured:
    """Evaluate metrics with intervals, next to simple baselines and the variants."""
    models = {name: candidate.load() for name, candidate in candidates.items()}
    objective = models["model"].run.objective
    corpus, letters = records.corpus, records.letters
    table, place = corpus.targets(objective.target_columns), corpus.summary["targets"]["path"]
    targets = {
        split: targets_of(objective, table.iloc[of], corpus.records.iloc[of], place)
        for split, of in records.rows.items()
    }
    fitted = fit_baselines(
        objective,
        corpus.alphabet,
        letters["train"],
        targets["train"],
        letters["valid"],
        targets["valid"],
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
            predict = (
                member.token_outputs if isinstance(objective, LabelsObjective) else member.outputs
            )
            for split in EVALUATED_SPLITS:
                each[name][split].append(predict(inputs[split]))
        predictions[name] = {
            split: mean_predictions(objective, of_members)
            for split, of_members in each[name].items()
        }
    metrics = summarise_targets(
        objective,
        predictions,
        {split: targets[split] for split in EVALUATED_SPLITS},
        task.evaluation,
    )
    tables = {}
    for split in EVALUATED_SPLITS:
        several = {name: of[split] for name, of in each.items() if len(of[split]) > 1}
        if several:
            metrics[split]["members"] = {
                name: summarise_members(objective, of, targets[split])
                for name, of in several.items()
            }
        columns = as_rows(predictions["model"][split], objective.output_names)
        tables[split] = pd.DataFrame({"id": records.ids(split), **columns})
    return Measured(metrics, tables, {})
