"""Compare the model of task `tss` with its baselines: AUPRC over bins of a chromosome.

The parent task is trained first. The model and its dilated CNN are trained with the same seeds.
Intervals are over blocks of the chromosome, as in metrics.json. `benchmarks/accuracy.py` runs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import pandas as pd
from comparison import DRAWS, FOLDER, Comparison, code_hash, mean_of
from runs import prepared, seconds_of, settings_in, train_all, with_training

from selfattn_bio import Study
from selfattn_bio.config import EvaluationSection
from selfattn_bio.evaluation.metrics import Bootstrap, ResampledMetric
from selfattn_bio.objectives.bins import BinsOfPoints
from selfattn_bio.study.evaluated import blocks_of

TASKS = Path("workflows/tasks")
METRIC = "auprc"


@dataclass(frozen=True)
class BinsTask:
    """A task of objective bins that ships with the project.

    Parameters
    ----------
    other
        The variant that is trained with the same seeds and named in the row.
    title
        Its readable name.
    """

    other: str = "dilated_3500"
    title: str = "dilated CNN"
    published: str = ""
    seeds: int = 3
    reason: str = ""

    def measure(self, name: str, folder: Path, seeds: int) -> Comparison:
        """Train, evaluate once, and resample the predictions."""
        values, seconds = settings_in(TASKS / f"{name}.toml"), 0.0
        other = values["variants"][self.other]
        if "transfer" in values:
            parent = self._parent(values["transfer"]["parent"])
            seconds += seconds_of(parent)
            for each in (values, other):
                each["transfer"]["parent"] = str(parent.files.model)
        # Each training is a variant, because the outputs of members would be averaged.
        models = ["model", *(f"model{seed}" for seed in range(1, seeds))]
        others = [f"other{seed}" for seed in range(seeds)]
        values = with_training(values, seed=0, seeds=1)
        values["variants"] = {
            variant: with_training(each, seed=seed, seeds=1)
            for each, variants in (({}, models), (other, others))
            for seed, variant in enumerate(variants)
            if variant != "model"
        }
        study = prepared(FOLDER / name, values)
        train_all([study, *study.variants.values()], code_hash())
        predictions, settings = study.evaluate().predictions, study.task.evaluation
        valid = sampled_columns(predictions["valid"], settings, 1)
        test = sampled_columns(predictions["test"], settings, DRAWS)
        model = mean_of(test[each] for each in models)
        return Comparison(
            metric=METRIC.upper(),
            valid=mean(valid[each].value for each in models),
            model=model,
            network=model,
            by_seed=[test[each].value for each in models],
            baselines={name: of for name, of in test.items() if name not in (*models, *others)},
            others={self.title: mean_of(test[each] for each in others)},
            seconds=seconds + seconds_of(study),
        )

    def _parent(self, name: str) -> Study:
        """Train the task that the model starts from."""
        values = with_training(settings_in(TASKS / f"{name}.toml"), seeds=1)
        study = prepared(FOLDER / name, values)
        train_all([study], code_hash())
        return study


def sampled_columns(
    table: pd.DataFrame, settings: EvaluationSection, draws: int
) -> dict[str, ResampledMetric]:
    """Resample the metric of each model with a column in a table of predictions."""
    bootstrap = Bootstrap(
        table["label"].to_numpy(),
        draws,
        settings.seed,
        units=blocks_of(table, settings.block or BinsOfPoints.block),
    )
    models = table.columns.drop(["chrom", "start", "end", "label", "predicted"])
    return {name: bootstrap.metrics(table[name], threshold=0.5)[METRIC] for name in models}
