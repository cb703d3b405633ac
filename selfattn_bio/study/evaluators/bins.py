"""Evaluate models that predict whether bins of a chromosome contain a point."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np

from selfattn_bio.config import BinsObjective, RunFile
from selfattn_bio.errors import ModelFolderError
from selfattn_bio.evaluation.bins import BLOCK, check_blocks, fit_bin_baselines, summarise_bins
from selfattn_bio.evaluation.summary import EVALUATED_SPLITS
from selfattn_bio.files import sha256_of
from selfattn_bio.log import LOG
from selfattn_bio.objectives.bins import BinsOfPoints
from selfattn_bio.objectives.points import Bins, chance, points_of
from selfattn_bio.scoring.scorer import Ensemble, Scorer
from selfattn_bio.study.evaluators.candidates import Candidate
from selfattn_bio.study.evaluators.records import EvaluationRecords, Measured


def evaluate_bins(
    objective: BinsOfPoints,
    candidates: Mapping[str, Candidate],
    records: EvaluationRecords,
    task: RunFile,
) -> Measured:
    """Evaluate whether bins contain a point, next to baselines and the variants.

    The baselines read base content and 5-mers. Intervals resample blocks of chromosomes. The tables
    have one row per bin.
    """
    models = {name: candidate.load() for name, candidate in candidates.items()}
    section, corpus, letters = objective.section, records.corpus, records.letters
    _check_points(models, section)
    points = {
        split: points_of(section.points, corpus.records.iloc[of])
        for split, of in records.rows.items()
    }
    for split in EVALUATED_SPLITS:
        objective.check_evaluated(points[split], split, str(corpus.path))
    bins = {split: Bins.of(points[split], section.bin) for split in EVALUATED_SPLITS}
    check_blocks(bins, task.evaluation.block or BLOCK)
    chances, members = {}, {}
    for name, model in models.items():
        start = time.monotonic()
        rates = {
            split: np.stack(
                [bins[split].joined(objective.read(each, letters[split])) for each in model.members]
            )
            for split in EVALUATED_SPLITS
        }
        chances[name] = {split: chance(of_split.mean(axis=0)) for split, of_split in rates.items()}
        if len(model.members) > 1:
            members[name] = {split: chance(of_split) for split, of_split in rates.items()}
        LOG.info(f"{name} scored in {time.monotonic() - start:.1f} s")
    start = time.monotonic()
    chances |= fit_bin_baselines(corpus.alphabet, letters, points, section.bin)
    LOG.info(f"sequence baselines fitted in {time.monotonic() - start:.1f} s")
    metrics = summarise_bins(chances, members, bins, task.evaluation)
    metrics["costs"] = {name: candidate.cost() for name, candidate in candidates.items()}
    tables = {}
    for split in EVALUATED_SPLITS:
        table, columns = bins[split].table, {name: of[split] for name, of in chances.items()}
        tables[split] = table.assign(end=table["start"] + section.bin, **columns)
    return Measured(metrics, tables, {})


def _check_points(models: Mapping[str, Scorer | Ensemble], section: BinsObjective) -> None:
    """Refuse models that were trained on other points than those of the file."""
    found = sha256_of(section.points)
    for name, model in models.items():
        if (learnt := getattr(model.run.objective, "points_sha256", "")) != found:
            message = (
                f"{name} was trained on other points: their sha256 begins with {learnt[:12]}, "
                f"that of this file with {found[:12]}"
            )
            raise ModelFolderError(message, place=section.points, hint="Train it again")
