"""Compare the model of task `tss` with its baselines: AUPRC over bins of a chromosome.

The parent task is trained first. The model and its dilated CNN are trained with the same seeds.
Intervals are over blocks of the chromosome, as in metrics.json. `benchmarks/accuracy.py` runs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import pandas as pd
from comparison import DRAWS, FOLDER, Comparison, mean_of, seconds_of, train_seeds
from runs import Study, settings_in

from selfattn_bio.config import read_run_file
from selfattn_bio.evaluation.bins import BLOCK, blocks_of
from selfattn_bio.evaluation.metrics import Bootstrap, ResampledMetric

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
        study, task = Study(FOLDER / name), TASKS / f"{name}.toml"
        values = settings_in(task)
        values["variants"] = {self.other: values["variants"][self.other]}
        seconds = 0.0
        if "transfer" in values:
            parent = self._parent(values["transfer"]["parent"])
            seconds += seconds_of(parent)
            for run in (values, *values["variants"].values()):
                run["transfer"]["parent"] = str(parent)
        study.prepare(task)
        models = train_seeds(values, study, seeds)
        others = train_seeds(values, study, seeds, self.other)
        named = {f"model{seed}": model for seed, model in enumerate(models)}
        named |= {f"other{seed}": other for seed, other in enumerate(others)}
        # Every network gets another name, because networks with the same name would be averaged.
        variants = [f"{each}={path}" for each, path in named.items() if path != models[0]]
        options = ("--model", models[0], "--variant", *variants)
        run_file = study.folder / "seed0.toml"
        study.call("evaluate", run_file, *options, output=study.folder)
        sampled = {
            split: sampled_columns(study.folder, split, draws)
            for split, draws in (("valid", 1), ("test", DRAWS))
        }
        for of_split in sampled.values():
            of_split["model0"] = of_split.pop("model")
        test = sampled["test"]
        each = [test[f"model{seed}"] for seed in range(seeds)]
        model = mean_of(each)
        return Comparison(
            metric=METRIC.upper(),
            valid=mean(sampled["valid"][f"model{seed}"].value for seed in range(seeds)),
            model=model,
            network=model,
            by_seed=[of.value for of in each],
            baselines={name: of for name, of in test.items() if name not in named},
            others={self.title: mean_of(test[f"other{seed}"] for seed in range(seeds))},
            seconds=seconds + seconds_of(models[0]),
        )

    def _parent(self, name: str) -> Path:
        """Train the task that the model starts from."""
        study, task = Study(FOLDER / name), TASKS / f"{name}.toml"
        study.prepare(task)
        return train_seeds(settings_in(task), study, 1)[0]


def sampled_columns(place: Path, split: str, draws: int) -> dict[str, ResampledMetric]:
    """Resample the metric of each model with a column in predictions/SPLIT.tsv."""
    settings = read_run_file(place / "seed0.toml").evaluation
    table = pd.read_csv(place / "predictions" / f"{split}.tsv", sep="\t")
    bootstrap = Bootstrap(
        table["label"].to_numpy(),
        draws,
        settings.seed,
        units=blocks_of(table, settings.block or BLOCK),
    )
    models = table.columns.drop(["chrom", "start", "end", "label"])
    return {name: bootstrap.metrics(table[name], threshold=0.5)[METRIC] for name in models}
