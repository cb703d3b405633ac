"""Three seeds of the promoter task: the model and the CNN of its run file, trained anew with each seed, judged on the test chromosome.

Prints test AUROC of each seed, the means, and the paired-bootstrap difference of each model to the best baseline of its seed. Goes on
where it was stopped. Run: `make bench-promoter`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from statistics import mean

import tomli_w

from selfattn_bio.config import RunFile, read_run_file

SEEDS = (0, 1, 2)
TASK = Path("workflows/tasks/promoter.toml")
FOLDER = Path("results/bench_promoter")


def command(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "selfattn_bio.cli.main", *map(str, arguments)], check=True)


def write_run_file(run: RunFile, seed: int, path: Path) -> None:
    """The task with another seed, for the model and for each variant, which take theirs from [training]."""
    values = run.model_dump(mode="json", exclude_unset=True)
    values.setdefault("training", {})["seed"] = seed
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(tomli_w.dumps(values), encoding="utf-8")


def judged(run: RunFile, seed: int, corpus: Path, split: Path) -> dict:
    """metrics.json of a seed."""
    folder = FOLDER / f"seed{seed}"
    run_file, model, cnn = folder / "run.toml", folder / "model", folder / "cnn"
    if not (folder / "metrics.json").exists():
        write_run_file(run, seed, run_file)
        shared = ("--run-file", run_file, "--corpus", corpus, "--split", split)
        command("train", *shared, "--output", model)
        command("train", *shared, "--variant", "cnn", "--output", cnn)
        command("evaluate", *shared, "--model", model, "--variant", f"cnn={cnn}", "--output", folder)
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def prepare() -> tuple[Path, Path]:
    """Corpus and split table of the task."""
    run = read_run_file(TASK)
    corpus, split = FOLDER / "corpus", FOLDER / "split.tsv"
    if not split.exists():
        files, alphabet = [*run.data.positives, *run.data.negatives], run.data.alphabet
        labels = [1] * len(run.data.positives) + [0] * len(run.data.negatives)
        command(
            "ingest", "--fasta", *files, "--label", *labels, "--alphabet", alphabet, "--assembly", run.data.assembly, "--output", corpus
        )
        command("split", "--run-file", TASK, "--corpus", corpus, "--output", split)
    return corpus, split


def main() -> None:
    run = read_run_file(TASK)
    corpus, split = prepare()
    results = {seed: judged(run, seed, corpus, split) for seed in SEEDS}

    baselines = list(results[SEEDS[0]]["test"]["baselines"])
    print("\ntest AUROC".ljust(13) + "".join(f"{name:>29}" for name in ["model", *baselines]))
    table: dict[str, list[float]] = {name: [] for name in ["model", *baselines]}
    for seed, metrics in results.items():
        entries = {"model": metrics["test"]["model"], **metrics["test"]["baselines"]}
        for name, entry in entries.items():
            table[name].append(entry["auroc"]["value"])
        print(f"seed {seed}".ljust(12) + "".join(f"{table[name][-1]:29.4f}" for name in table))
    print("mean".ljust(12) + "".join(f"{mean(values):29.4f}" for values in table.values()))
    for seed, metrics in results.items():
        best = metrics["differences"]["best_baseline"]
        lead = metrics["differences"]["baselines"][best]["auroc"]
        print(f"seed {seed}: model - {best} {lead['value']:+.4f} ({lead['low']:+.4f} to {lead['high']:+.4f})")


if __name__ == "__main__":
    main()
