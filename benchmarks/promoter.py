"""Train the model and the CNN of the promoter task with three seeds and evaluate them on test.

Prints the test AUROC of each seed, the means, and the AUROC of the mean prediction of the seeds
("ensemble": of three CNNs, and of three times two attention networks). Then it prints the
paired-bootstrap difference between each model and the best baseline of its seed, and between the
means over the seeds. As many trainings run at the same time as there are cores, each with one
thread. An interrupted benchmark continues where it stopped.

    make bench-promoter
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path
from statistics import mean

import numpy as np
import pandas as pd
import tomli_w
from sklearn.metrics import roc_auc_score

from selfattn_bio.config import BinsObjective, RunFile, read_run_file
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.errors import ModelFolderError
from selfattn_bio.evaluation.metrics import Bootstrap, ResampledMetric
from selfattn_bio.files import sha256_of
from selfattn_bio.model.checkpoint import check_trained_on

SEEDS = (0, 1, 2)
TASK = Path("workflows/tasks/promoter.toml")
FOLDER = Path("results/bench_promoter")
VARIANTS = {"model": "", "cnn": "cnn"}  # model folder -> variant of the run file


def command(*arguments: object) -> None:
    subprocess.run(
        [sys.executable, "-m", "selfattn_bio.cli.main", *map(str, arguments)], check=True
    )


def trained_at_once(jobs: Sequence[tuple[Path, str, Path]], corpus: Path, split: Path) -> None:
    """Train each (run file, variant or "", model folder) with one thread.

    Finished models with equal settings and data are left out.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        todo = [
            pool.submit(
                command,
                *(
                    "train",
                    "--run-file",
                    run_file,
                    "--corpus",
                    corpus,
                    "--split",
                    split,
                    "--threads",
                    1,
                    "--output",
                    output,
                ),
                *(("--variant", variant) if variant else ()),
            )
            for run_file, variant, output in jobs
            if not is_trained(run_file, variant, output, corpus, split)
        ]
    for job in todo:
        job.result()


def is_trained(run_file: Path, variant: str, output: Path, corpus: Path, split: Path) -> bool:
    """Return whether the model folder exists with these settings and data.

    Changes of the code are not detected.
    """
    run = read_run_file(run_file)
    wanted = run.variant(variant) if variant else run.model_copy(update={"variants": {}})
    if isinstance(
        objective := wanted.objective, BinsObjective
    ):  # the training adds the checksum of its points
        objective = objective.model_copy(update={"points_sha256": sha256_of(objective.points)})
        wanted = wanted.model_copy(update={"objective": objective})
    if not output.exists() or read_run_file(output / "run.toml") != wanted:
        return False
    try:
        check_trained_on(output, Corpus.open(corpus).fingerprint, sha256_of(split))
    except ModelFolderError:
        return False
    return True


def write_run_file(run: RunFile, seed: int) -> Path:
    """Write the task with another seed, for the model and its variants."""
    path = FOLDER / f"seed{seed}" / "run.toml"
    values = run.model_dump(mode="json", exclude_unset=True)
    values.setdefault("training", {})["seed"] = seed
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(tomli_w.dumps(values), encoding="utf-8")
    return path


def judged(seed: int, corpus: Path, split: Path) -> dict:
    """Return metrics.json of a seed; evaluate if it is missing or older than the models."""
    folder = FOLDER / f"seed{seed}"
    metrics, models = (
        folder / "metrics.json",
        [folder / name / "provenance.json" for name in VARIANTS],
    )
    if not metrics.exists() or metrics.stat().st_mtime < max(
        path.stat().st_mtime for path in models
    ):
        shared = ("--run-file", folder / "run.toml", "--corpus", corpus, "--split", split)
        command(
            "evaluate",
            *shared,
            "--model",
            folder / "model",
            "--variant",
            f"cnn={folder / 'cnn'}",
            "--output",
            folder,
        )
    return json.loads(metrics.read_text(encoding="utf-8"))


def predictions(seed: int) -> pd.DataFrame:
    """Read the predictions for the test records, in the same order for every seed."""
    return pd.read_csv(FOLDER / f"seed{seed}" / "predictions" / "test.tsv", sep="\t")


def lead_of_means(
    of_model: Sequence[pd.Series], of_baseline: Sequence[pd.Series], labels: pd.Series
) -> dict[str, float]:
    """Return the mean test AUROC of several models minus that of several baselines.

    The interval is over test records, with the same bootstrap samples for all.
    """
    bootstrap = Bootstrap(labels.to_numpy())
    means = []
    for group in (of_model, of_baseline):
        sampled = [bootstrap.metrics(each, threshold=0.5)["auroc"] for each in group]
        means.append(
            ResampledMetric(
                mean(each.value for each in sampled),
                np.mean([each.draws for each in sampled], axis=0),
            )
        )
    return means[0].minus(means[1])


def with_interval(lead: dict[str, float]) -> str:
    """Format a difference with its interval."""
    return f"{lead['value']:+.4f} ({lead['low']:+.4f} to {lead['high']:+.4f})"


def of_mean_prediction(name: str, seeds: Sequence[int]) -> float:
    """Return the test AUROC of the mean probability of classifier `name` over `seeds`."""
    tables = [predictions(seed) for seed in seeds]
    return roc_auc_score(tables[0]["label"], sum(table[name] for table in tables))


def prepare() -> tuple[Path, Path]:
    """Write corpus and split table of the task."""
    run = read_run_file(TASK)
    corpus, split = FOLDER / "corpus", FOLDER / "split.tsv"
    files, labels = zip(*run.data.files, strict=True)
    alphabet = run.data.alphabet
    command(
        "ingest",
        "--fasta",
        *files,
        "--label",
        *labels,
        "--alphabet",
        alphabet,
        "--assembly",
        run.data.assembly,
        "--output",
        corpus,
    )
    command("split", "--run-file", TASK, "--corpus", corpus, "--output", split)
    return corpus, split


def main() -> None:
    run = read_run_file(TASK)
    files = {seed: write_run_file(run, seed) for seed in SEEDS}
    corpus, split = prepare()
    trained_at_once(
        [
            (path, variant, path.with_name(name))
            for path in files.values()
            for name, variant in VARIANTS.items()
        ],
        corpus,
        split,
    )
    results = {seed: judged(seed, corpus, split) for seed in SEEDS}

    baselines = list(results[SEEDS[0]]["test"]["baselines"])
    print("\ntest AUROC".ljust(13) + "".join(f"{name:>29}" for name in ["model", *baselines]))
    table: dict[str, list[float]] = {name: [] for name in ["model", *baselines]}
    for seed, metrics in results.items():
        entries = {"model": metrics["test"]["model"], **metrics["test"]["baselines"]}
        for name, entry in entries.items():
            table[name].append(entry["auroc"]["value"])
        print(f"seed {seed}".ljust(12) + "".join(f"{table[name][-1]:29.4f}" for name in table))
    print("mean".ljust(12) + "".join(f"{mean(values):29.4f}" for values in table.values()))
    print(
        "ensemble".ljust(12) + "".join(f"{of_mean_prediction(name, SEEDS):29.4f}" for name in table)
    )
    pairs = [of_mean_prediction("cnn", pair) for pair in combinations(SEEDS, 2)]
    averaged = ", ".join(f"{value:.4f}" for value in pairs)
    print(f"two CNNs averaged (the model has two networks): {averaged}, mean {mean(pairs):.4f}")
    for seed, metrics in results.items():
        best = metrics["differences"]["best_baseline"]
        lead = metrics["differences"]["baselines"][best]["auroc"]
        print(f"seed {seed}: model - {best} {with_interval(lead)}")
    best = max(baselines, key=lambda name: mean(table[name]))
    tables = [predictions(seed) for seed in SEEDS]
    models, labels = [table["model"] for table in tables], tables[0]["label"]
    print(
        f"means: model - {best} "
        f"{with_interval(lead_of_means(models, [table[best] for table in tables], labels))}"
    )
    pairs_of_cnns = [(one["cnn"] + other["cnn"]) / 2 for one, other in combinations(tables, 2)]
    lead = lead_of_means(models, pairs_of_cnns, labels)
    print(f"means: model - two CNNs averaged {with_interval(lead)}")


if __name__ == "__main__":
    main()
