"""Train the model and the CNN of the promoter task with three seeds and evaluate them on test.

Prints the test AUROC of each seed, the means, and the AUROC of the mean prediction of the seeds
("ensemble": three times two networks). Then it prints paired-bootstrap differences, by seed and
between the means over the seeds: the model minus the best simple baseline, and the network of the
model, without its simple models, minus the CNN, which has two networks as well. As many trainings
run at the same time as there are cores, each with one thread. An interrupted benchmark continues
where it stopped.

    make bench-promoter
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import TypeAlias

import numpy as np
from comparison import mean_of
from harness import Row, Table, interval, listed, run
from numpy.typing import NDArray
from runs import prepared, records_of, settings_in, train_all, with_training
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from selfattn_bio.evaluation.metrics import Bootstrap
from selfattn_bio.scoring.loading import load

SEEDS = 3
TASK = Path("workflows/tasks/promoter.toml")
FOLDER = Path("results/bench_promoter")
Scores: TypeAlias = NDArray[np.float64]  # one probability per test record
BySeed: TypeAlias = Mapping[str, Sequence[Scores]]


def lead_of_means(
    of_model: Sequence[Scores], of_baseline: Sequence[Scores], bootstrap: Bootstrap
) -> dict[str, float]:
    """Return the mean test AUROC of several models minus that of several baselines.

    The same blocks of the chromosome are resampled for all.
    """
    means = [
        mean_of(bootstrap.metrics(each, threshold=0.5)["auroc"] for each in group)
        for group in (of_model, of_baseline)
    ]
    return means[0].minus(means[1])


def auroc_rows(scores: BySeed, labels: NDArray[np.int64]) -> Iterator[Row]:
    """Return the AUROC by seed, their mean, and that of the mean prediction."""
    for name, each in scores.items():
        values = [roc_auc_score(labels, of) for of in each]
        yield {
            "test AUROC": name,
            "by seed": listed(values, 4),
            "mean": f"{mean(values):.4f}",
            "ensemble": f"{roc_auc_score(labels, sum(each)):.4f}",
        }


def lead_rows(scores: BySeed, bootstrap: Bootstrap, labels: NDArray[np.int64]) -> Iterator[Row]:
    """Return model minus best simple baseline and network minus CNN, by seed and between means."""
    simple = [name for name in scores if name not in ("model", "network", "cnn")]
    groups = {f"seed {seed}": [seed] for seed in range(SEEDS)} | {"means": list(range(SEEDS))}
    for title, seeds in groups.items():
        chosen = {name: [each[seed] for seed in seeds] for name, each in scores.items()}
        best = max(simple, key=lambda of: mean(roc_auc_score(labels, each) for each in chosen[of]))
        for first, second in (("model", best), ("network", "cnn")):
            lead = lead_of_means(chosen[first], chosen[second], bootstrap)
            yield {"difference": f"{title}: {first} - {second}", "AUROC": interval(lead, 4, "+")}


def measure(_: object) -> Iterator[Table | str]:
    """Train what is missing, and evaluate."""
    values = with_training(settings_in(TASK), seeds=SEEDS)
    study = prepared(FOLDER, {**values, "variants": {"cnn": {"model": {"kind": "cnn"}}}})
    trained = {"model": study.members, "cnn": study.variant("cnn").members}
    train_all(each for members in trained.values() for each in members)
    records = records_of(study)
    labels, letters = records.labels()["test"], records.letters["test"]
    scorers = {name: [load(each.files.model) for each in of] for name, of in trained.items()}
    scorers["network"] = [replace(scorer, stack=None) for scorer in scorers["model"]]
    scores = {
        name: [expit(scorer.logits(letters)) for scorer in of] for name, of in scorers.items()
    }
    study.evaluate()  # fits the baselines
    for folder in sorted(study.root.baselines.iterdir()):
        scores[folder.name] = [expit(load(folder).logits(letters))] * SEEDS
    yield Table("", auroc_rows(scores, labels))
    bootstrap = Bootstrap(labels, units=records.units()["test"].numbers)
    yield Table("", lead_rows(scores, bootstrap, labels))


if __name__ == "__main__":
    run(__doc__, measure)
