"""Compare the memory and time that `selfattn-bio plan` predicts with those of the training.

Six shapes with one thread. Each shape is planned, and then trained by the command in a separate
process; "up to" is the last size that the plan measured. Records are random, with half to all of
the maximum length, except for the promoters.

    python benchmarks/plan.py [NAME ...]      # about five minutes on a quiet machine
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from harness import ROOT, Row, Table, option, run
from runs import Study, command, measured_command, read_json, write_run_file

from selfattn_bio.config import read_run_file
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.training.lengths import Lengths
from selfattn_bio.training.plan import make_plan

PROMOTERS = ROOT / "workflows/tasks/promoter.toml"
RANDOM_SPLIT = {"kind": "random", "valid_fraction": 0.25, "test_fraction": 0.01}
LONG = {
    "kind": "attention",
    "members": 1,
    "embed_dim": 128,
    "num_layers": 4,
    "feedforward_dim": 512,
    "dropout": 0.1,
    "attention_dropout": 0.1,
    "stem": {"kind": "none"},
}
# Name -> [model], [training], bp; None for the promoters.
SHAPES: dict[str, tuple[dict[str, Any], dict[str, Any], int | None]] = {
    "promoter task": (
        {"kind": "attention", "attention_dropout": 0.3},
        {"max_steps": 100, "evaluate_every": 50},
        None,
    ),
    "CNN": ({"kind": "cnn"}, {"max_steps": 100, "evaluate_every": 50}, None),
    "window, 8k": (
        LONG | {"pattern": {"kind": "window", "window": 128}},
        {"max_steps": 8, "batch_size": 4},
        8192,
    ),
    "BigBird, 8k": (
        LONG | {"pattern": {"kind": "bigbird"}, "position": {"kind": "rotary"}},
        {"max_steps": 8, "batch_size": 2},
        8192,
    ),
    "full, 2k": (LONG, {"max_steps": 8, "batch_size": 8}, 2048),
    "two members, 2k": (
        LONG | {"members": 2, "num_layers": 2},
        {"max_steps": 8, "batch_size": 8, "accumulate": 2},
        2048,
    ),
}


def write_random(folder: Path, length: int, number: int) -> dict[str, str]:
    """Write random records of half to full length, one per label with full length.

    Returns the files for the run file.
    """
    rng, files = np.random.default_rng(0), {}
    for label, name in enumerate(("negatives", "positives")):
        lengths = [length, *rng.integers(length // 2, length, number - 1)]
        rows = (
            f">{label}-{i}\n{''.join(rng.choice(list('ACGT'), each))}\n"
            for i, each in enumerate(lengths)
        )
        (folder / f"{label}.fa").write_text("".join(rows), encoding="ascii")
        files[name] = str(folder / f"{label}.fa")
    return files


def prepared(study: Study, settings: dict[str, Any], length: int | None) -> Path:
    """Write run file, corpus and split of a shape; return the run file.

    A quarter of the random records is in the validation set.
    """
    run_file = study.folder / "run.toml"
    if length is None:
        task = read_run_file(PROMOTERS).model_dump(mode="json", exclude_none=True)
        settings |= {"data": task["data"], "split": task["split"]}
        for name in ("positives", "negatives"):
            files = settings["data"][name]
            settings["data"][name] = [str(ROOT / each) for each in files]
        study.prepare(write_run_file(run_file, settings), "--quiet")
        return run_file
    data = write_random(study.folder, length, 24)
    write_run_file(run_file, {**settings, "split": RANDOM_SPLIT, "data": data})
    command("ingest", "--quiet", "--run-file", run_file, "--output", study.corpus)
    number = len(Corpus.open(study.corpus))
    study.write_split(["valid" if i % 4 == 3 else "train" for i in range(number)])
    return run_file


def row(name: str) -> Row:
    """Plan and train a shape."""
    model, training, length = SHAPES[name]
    with tempfile.TemporaryDirectory() as temporary:
        study = Study(Path(temporary))
        settings = {"model": model, "training": {"evaluate_every": 4} | training}
        run_file, output = prepared(study, settings, length), study.folder / "model"
        run, corpus = read_run_file(run_file), Corpus.open(study.corpus)
        plan = make_plan(run, Lengths.of(run, corpus), threads=1, keep_memory=True)
        files = ("--run-file", run_file, "--corpus", study.corpus, "--split", study.split)
        _, peak = measured_command("train", *files, "--threads", 1, "--output", output)
        seconds = read_json(output / "train.json")["seconds"]
    last = plan.probe.points[-1]
    return {
        "shape": name,
        "up to": "all" if plan.is_measured else f"{last.batch} x {last.length}",
        "plan MB": f"{plan.peak:.0f} ({plan.peak / peak - 1:+.0%})",
        "measured MB": f"{peak:.0f}",
        "plan s": f"{plan.seconds:.1f} ({plan.seconds / seconds - 1:+.0%})",
        "measured s": f"{seconds:.1f}",
    }


def measure(chosen: argparse.Namespace) -> Iterator[Table]:
    """Plan and train the chosen shapes."""
    yield Table("", map(row, chosen.shapes or SHAPES))


if __name__ == "__main__":
    run(__doc__, measure, option("shapes", nargs="*", metavar="NAME", help=", ".join(SHAPES)))
