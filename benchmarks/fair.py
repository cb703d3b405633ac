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

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tomli_w
from promoter import command, is_trained

QUICK = "--quick" in sys.argv[1:]
FOLDER = Path("results/bench_fair_quick" if QUICK else "results/bench_fair")
SPLIT_SIZES = (
    {"train": 400, "valid": 400, "test": 400}
    if QUICK
    else {"train": 6000, "valid": 2000, "test": 6000}
)
SEEDS = (0,) if QUICK else (0, 1)
STEPS = 4 if QUICK else 400
LENGTH, CUE, MARKER, DIFFERS = 80, "TGACTCA", "GGCCGGCC", 1 / 8
MINOR, FOLLOWS = 0.1, 0.95  # fraction of minor records; of markers as described above
MODEL = {
    "kind": "attention",
    "members": 1,
    "embed_dim": 32,
    "num_layers": 1,
    "feedforward_dim": 64,
    "dropout": 0.1,
}
TRAINING = {
    "max_steps": STEPS,
    "evaluate_every": max(1, STEPS // 12),
    "patience": 12,
    "warmup_steps": STEPS // 10,
    "shift": 0,
}
WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "reweight": {"balance": {"kind": "reweight", "by": "origin"}},
    "sample": {"balance": {"kind": "sample", "by": "origin"}},
    "no marker": {},
}


def made(seed: int, marker: bool) -> pd.DataFrame:
    """Simulate all records: id, sequence, label, origin and split."""
    rng, rows = np.random.default_rng(seed), []
    for split, number in SPLIT_SIZES.items():
        for i in range(number):
            label, minor = int(rng.random() < 0.5), rng.random() < MINOR
            letters = rng.choice(list("ACGT"), LENGTH)
            places = rng.permutation(LENGTH // 10)[:2] * 10  # of cue and marker, without overlap
            cue = np.array(list(CUE))
            drawn = np.where(
                rng.random(len(cue)) < DIFFERS, rng.choice(list("ACGT"), len(cue)), cue
            )
            if label:
                letters[places[0] : places[0] + len(cue)] = drawn
            if marker and (rng.random() < FOLLOWS) == (bool(label) != minor):
                letters[places[1] : places[1] + len(MARKER)] = list(MARKER)
            rows.append(
                (f"{split}{i}", "".join(letters), label, "minor" if minor else "major", split)
            )
    return pd.DataFrame(rows, columns=["id", "sequence", "label", "origin", "split"])


def judged(way: str, seed: int) -> dict[str, Any]:
    """Return metrics.json of a training; train if it is missing or its run file changed."""
    data = FOLDER / f"{'no_marker' if way == 'no marker' else 'marker'}{seed}"
    table, split, corpus = data / "records.csv", data / "split.tsv", data / "corpus"
    folder = data / way.replace(" ", "_")
    folder.mkdir(parents=True, exist_ok=True)
    path, output = folder / "run.toml", folder / "model"
    run = {
        "data": {"sequences": str(table), "label": "label"},
        "model": MODEL,
        "variants": {},
        "evaluation": {"groups": ["origin"]},
    }
    path.write_text(
        tomli_w.dumps(run | {"training": TRAINING | WAYS[way] | {"seed": seed}}), encoding="utf-8"
    )
    if not table.exists():
        records = made(seed, way != "no marker")
        records.drop(columns="split").to_csv(table, index=False)
        command("ingest", "--run-file", path, "--output", corpus)
        records[["id", "split"]].assign(reason="made").to_csv(split, sep="\t", index=False)
    shared = ("--run-file", path, "--corpus", corpus, "--split", split)
    if not is_trained(path, "", output, corpus, split):
        command("train", *shared, "--threads", 1, "--output", output)
        command("evaluate", *shared, "--model", output, "--output", folder)
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def row_of(way: str) -> dict[str, Any]:
    """Return the means over the seeds."""
    each = []
    for seed in SEEDS:
        metrics = judged(way, seed)
        found = metrics["groups"]["origin"]
        overall, groups = (
            metrics["test"]["model"],
            {entry["group"]: entry["model"] for entry in found["groups"]},
        )
        figures = {
            f"{metric} {name}": of[metric]["value"]
            for metric in ("auroc", "accuracy")
            for name, of in (("all", overall), *groups.items())
        }
        each.append(
            figures
            | {"gap": found["gap"]["auroc"]["value"], "seconds": metrics["train"]["seconds"]}
        )
    return {"training": way, **pd.DataFrame(each).mean().round(3).to_dict()}


def main() -> None:
    """Train what is missing and print the table."""
    table = pd.DataFrame([row_of(way) for way in WAYS])
    print(
        f"{SPLIT_SIZES['train']:,} train and {SPLIT_SIZES['test']:,} test records, "
        f"{MINOR:.0%} minor; means of {len(SEEDS)} seeds"
    )
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
