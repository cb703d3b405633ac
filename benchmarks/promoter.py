"""Train the model and the CNN of the promoter task with three seeds and evaluate them on test.

Prints the test AUROC of each seed, the means, and the AUROC of the mean prediction of the seeds
("ensemble": of three CNNs, and of three times two attention networks). Then it prints the
paired-bootstrap difference between each model and the best baseline of its seed, and between the
means over the seeds. As many trainings run at the same time as there are cores, each with one
thread. An interrupted benchmark continues where it stopped.

    make bench-promoter
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pandas as pd
from harness import Row, Table, interval, listed, run
from numpy.typing import NDArray
from runs import Study, settings_of, write_run_file
from sklearn.metrics import roc_auc_score

from selfattn_bio.evaluation.metrics import Bootstrap, ResampledMetric

SEEDS = (0, 1, 2)
TASK = Path("workflows/tasks/promoter.toml")
FOLDER = Path("results/bench_promoter")
STUDY = Study(FOLDER)
VARIANTS = {"model": "", "cnn": "cnn"}  # model folder -> variant of the run file


def write_seed(seed: int) -> Path:
    """Write the task with another seed, for the model and its variants."""
    values = settings_of(TASK)
    values.setdefault("training", {})["seed"] = seed
    return write_run_file(FOLDER / f"seed{seed}" / "run.toml", values)


def judged(run_file: Path) -> dict[str, Any]:
    """Return metrics.json of a seed."""
    model, cnn = (run_file.with_name(name) for name in VARIANTS)
    return STUDY.evaluate(run_file, model, "--variant", f"cnn={cnn}")


def predictions(seed: int) -> pd.DataFrame:
    """Read the predictions for the test records, in the same order for every seed."""
    return pd.read_csv(FOLDER / f"seed{seed}" / "predictions" / "test.tsv", sep="\t")


def lead_of_means(
    of_model: Sequence[pd.Series],
    of_baseline: Sequence[pd.Series],
    labels: pd.Series,
    units: NDArray[np.int64],
) -> dict[str, float]:
    """Return the mean test AUROC of several models minus that of several baselines.

    Blocks of the chromosome are resampled (`units`, (n,)), the same for all.
    """
    bootstrap = Bootstrap(labels.to_numpy(), units=units)
    means = []
    for group in (of_model, of_baseline):
        sampled = [bootstrap.metrics(each, threshold=0.5)["auroc"] for each in group]
        draws = np.mean([each.draws for each in sampled], axis=0)
        means.append(ResampledMetric(mean(each.value for each in sampled), draws))
    return means[0].minus(means[1])


def of_mean_prediction(name: str, tables: Sequence[pd.DataFrame]) -> float:
    """Return the test AUROC of the mean probability of classifier `name` over seeds."""
    return roc_auc_score(tables[0]["label"], sum(table[name] for table in tables))


def auroc_rows(
    results: Sequence[dict[str, Any]], names: Sequence[str], tables: Sequence[pd.DataFrame]
) -> Iterator[Row]:
    """Return the AUROC by seed, their mean, and that of the mean prediction."""
    for name in names:
        tests = [each["test"] for each in results]
        values = [
            (test["model"] if name == "model" else test["baselines"][name])["auroc"]["value"]
            for test in tests
        ]
        yield {
            "test AUROC": name,
            "by seed": listed(values, 4),
            "mean": f"{mean(values):.4f}",
            "ensemble": f"{of_mean_prediction(name, tables):.4f}",
        }


def lead_rows(results: Sequence[dict[str, Any]], tables: Sequence[pd.DataFrame]) -> Iterator[Row]:
    """Return the difference to the best baseline by seed, and between means over seeds."""
    for seed, metrics in zip(SEEDS, results, strict=True):
        best = metrics["differences"]["best_baseline"]
        lead = metrics["differences"]["baselines"][best]["auroc"]
        yield {"model - baseline": f"seed {seed}: {best}", "AUROC": interval(lead, 4, "+")}
    baselines = {
        name: mean(each["test"]["baselines"][name]["auroc"]["value"] for each in results)
        for name in results[0]["test"]["baselines"]
    }
    best = max(baselines, key=lambda name: baselines[name])
    models, labels = [table["model"] for table in tables], tables[0]["label"]
    cnn_pairs = [(one["cnn"] + other["cnn"]) / 2 for one, other in combinations(tables, 2)]
    for name, of in ((best, [table[best] for table in tables]), ("two CNNs averaged", cnn_pairs)):
        lead = lead_of_means(models, of, labels, STUDY.units(TASK))
        yield {"model - baseline": f"means: {name}", "AUROC": interval(lead, 4, "+")}


def measure(_: object) -> Iterator[Table | str]:
    """Train and evaluate what is missing."""
    files = [write_seed(seed) for seed in SEEDS]
    STUDY.prepare(TASK)
    STUDY.train_all(
        (path, path.with_name(name), variant)
        for path in files
        for name, variant in VARIANTS.items()
    )
    results = [judged(path) for path in files]
    tables = [predictions(seed) for seed in SEEDS]
    names = ["model", *results[0]["test"]["baselines"]]
    yield Table("", auroc_rows(results, names, tables))
    pairs = [of_mean_prediction("cnn", pair) for pair in combinations(tables, 2)]
    yield (
        f"two CNNs averaged (the model has two networks): {listed(pairs, 4)}, "
        f"mean {mean(pairs):.4f}"
    )
    yield Table("", lead_rows(results, tables))


if __name__ == "__main__":
    run(__doc__, measure)
