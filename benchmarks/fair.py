"""Measure whether balancing closes a planted gap between two groups.

Sequences are simulated. The label is whether a record of 80 bp contains the cue TGACTCA; each of
its bases is replaced by a random one with probability 1/8. In nine of ten records ("major") a
marker, GGCCGGCC, is in 95 % of the positives and 5 % of the negatives; in the others ("minor") it
is the reverse. The marker is easier to learn, and wrong for the minority. Test has the same
distribution as train.

One row per training, means over the seeds: AUROC and accuracy of all test records and of each
group, the gap in AUROC (highest minus lowest group), and seconds. The row "no marker" uses
sequences without the marker and shows what could be reached.

    python benchmarks/fair.py              # continues in results/bench_fair/
    python benchmarks/fair.py --quick      # a check of a few steps
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from harness import Row, Table, option, run
from runs import Study, command, quick_folder, write_run_file

FOLDER = Path("results/bench_fair")
LENGTH, CUE, MARKER, DIFFERS = 80, "TGACTCA", "GGCCGGCC", 1 / 8
MINOR, FOLLOWS = 0.1, 0.95  # fraction of minor records; of markers as described above
MODEL = {
    "kind": "attention",
    "members": 1,
    "embed_dim": 32,
    "num_layers": 1,
    "feedforward_dim": 64,
    "dropout": 0.1,
    "attention_dropout": 0.1,
}
WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "reweight": {"balance": {"kind": "reweight", "by": "origin"}},
    "sample": {"balance": {"kind": "sample", "by": "origin"}},
    "no marker": {},
}


def simulated(seed: int, sizes: dict[str, int], marker: bool) -> pd.DataFrame:
    """Simulate all records: id, sequence, label, origin and split."""
    rng, rows = np.random.default_rng(seed), []
    for split, number in sizes.items():
        for i in range(number):
            label, minor = int(rng.random() < 0.5), rng.random() < MINOR
            letters = rng.choice(list("ACGT"), LENGTH)
            places = rng.permutation(LENGTH // 10)[:2] * 10  # of cue and marker, without overlap
            cue = np.array(list(CUE))
            random = rng.random(len(cue)) < DIFFERS
            cue = np.where(random, rng.choice(list("ACGT"), len(cue)), cue)
            if label:
                letters[places[0] : places[0] + len(cue)] = cue
            if marker and (rng.random() < FOLLOWS) == (bool(label) != minor):
                letters[places[1] : places[1] + len(MARKER)] = list(MARKER)
            origin = "minor" if minor else "major"
            rows.append((f"{split}{i}", "".join(letters), label, origin, split))
    return pd.DataFrame(rows, columns=["id", "sequence", "label", "origin", "split"])


def judged(way: str, seed: int, quick: bool) -> dict[str, Any]:
    """Return metrics.json of a training; train if it is missing or its run file changed."""
    steps = 4 if quick else 400
    name = f"{'no_marker' if way == 'no marker' else 'marker'}{seed}"
    study = Study(quick_folder(FOLDER, quick) / name)
    table, folder = study.folder / "records.csv", study.folder / way.replace(" ", "_")
    training = {"max_steps": steps, "evaluate_every": max(1, steps // 12), "patience": 12}
    training |= {"warmup_steps": steps // 10, "shift": 0, **WAYS[way], "seed": seed}
    settings = {
        "data": {"sequences": str(table), "label": "label"},
        "model": MODEL,
        "variants": {},
        "evaluation": {"groups": ["origin"]},
        "training": training,
    }
    run_file = write_run_file(folder / "run.toml", settings)
    if not table.exists():
        records = simulated(seed, sizes_of(quick), way != "no marker")
        records.drop(columns="split").to_csv(table, index=False)
        command("ingest", "--run-file", run_file, "--output", study.corpus)
        study.write_split(records["split"])
    model = study.train(run_file, folder / "model")
    return study.evaluate(run_file, model)


def sizes_of(quick: bool) -> dict[str, int]:
    """Return the number of records by split."""
    return (
        dict.fromkeys(("train", "valid", "test"), 400)
        if quick
        else {
            "train": 6000,
            "valid": 2000,
            "test": 6000,
        }
    )


def row(way: str, seeds: Sequence[int], quick: bool) -> Row:
    """Return the means over the seeds."""
    each = []
    for seed in seeds:
        metrics = judged(way, seed, quick)
        found = metrics["groups"]["origin"]
        groups = {entry["group"]: entry["model"] for entry in found["groups"]}
        figures = {
            f"{metric} {name}": of[metric]["value"]
            for metric in ("auroc", "accuracy")
            for name, of in (("all", metrics["test"]["model"]), *groups.items())
        }
        figures["gap"] = found["gap"]["auroc"]["value"]
        each.append(figures | {"seconds": metrics["train"]["seconds"]})
    means = pd.DataFrame(each).mean()
    return {"training": way, **{name: f"{value:.3f}" for name, value in means.items()}}


def measure(chosen: argparse.Namespace) -> Iterator[Table]:
    """Train what is missing."""
    sizes, seeds = sizes_of(chosen.quick), (0,) if chosen.quick else (0, 1)
    yield Table(
        f"{sizes['train']:,} train and {sizes['test']:,} test records, {MINOR:.0%} minor; means of "
        f"{len(seeds)} seeds",
        (row(way, seeds, chosen.quick) for way in WAYS),
    )


if __name__ == "__main__":
    run(__doc__, measure, option("--quick", action="store_true", help="a check of a few steps"))
