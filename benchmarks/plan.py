"""Compare the memory and time that `selfattn-bio plan` predicts with those of the training.

Six shapes with one thread. Each shape is planned, and then trained by the command in a separate
process; "up to" is the last size that the plan measured. Records are random, with half to all of
the maximum length, except for the promoters.

    python benchmarks/plan.py [NAME ...]      # about five minutes on a quiet machine
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tomli_w

from selfattn_bio.cli.process import keep_memory
from selfattn_bio.config import RunFile, read_run_file
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.data.ingest import build_corpus
from selfattn_bio.data.writer import Rules
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.training.lengths import Lengths
from selfattn_bio.training.plan import make_plan

ROOT = Path(__file__).parents[1]
# Prints the peak resident memory of the process itself; getrusage may report that of its parent.
TRAIN = """
import sys
from selfattn_bio.cli.main import main
code = main(sys.argv[1:])
print("VmHWM", open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
sys.exit(code)
"""
LONG = {
    "kind": "attention",
    "members": 1,
    "embed_dim": 128,
    "num_layers": 4,
    "feedforward_dim": 512,
    "dropout": 0.1,
    "stem": {"kind": "none"},
}
# Name -> [model], [training], bp; None for the promoters.
SHAPES: dict[str, tuple[dict[str, Any], dict[str, Any], int | None]] = {
    "promoter task": ({"kind": "attention"}, {"max_steps": 100, "evaluate_every": 50}, None),
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


def random_corpus(folder: Path, length: int, number: int) -> tuple[Corpus, Path]:
    """Write random records of half to full length; a quarter is in the validation set.

    One record per label has full length.
    """
    rng = np.random.default_rng(0)
    for label in (0, 1):
        lengths = [length, *rng.integers(length // 2, length, number - 1)]
        rows = (
            f">{label}-{i}\n{''.join(rng.choice(list('ACGT'), each))}\n"
            for i, each in enumerate(lengths)
        )
        (folder / f"{label}.fa").write_text("".join(rows), encoding="ascii")
    corpus = build_corpus(
        [(folder / "0.fa", 0), (folder / "1.fa", 1)], folder / "corpus", Rules(DNA)
    )
    splits = ["valid" if i % 4 == 3 else "train" for i in range(len(corpus))]
    pd.DataFrame({"id": corpus.records["id"], "split": splits, "reason": ""}).to_csv(
        folder / "split.tsv", sep="\t", index=False
    )
    return corpus, folder / "split.tsv"


def promoters(folder: Path, run_file: Path) -> tuple[Corpus, Path]:
    """Read the fly promoters with the split of the task."""
    run = read_run_file(run_file)
    corpus = build_corpus(
        [(ROOT / path, label) for path, label in run.data.files], folder / "corpus", Rules(DNA)
    )
    command = [
        "split",
        "--run-file",
        str(run_file),
        "--corpus",
        str(corpus.path),
        "--output",
        str(folder / "split.tsv"),
    ]
    subprocess.run(
        [sys.executable, "-m", "selfattn_bio.cli.main", *command],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return corpus, folder / "split.tsv"


def trained(folder: Path, run_file: Path, corpus: Corpus, split: Path) -> tuple[float, float]:
    """Train by the command; return peak MB and seconds."""
    arguments = [
        "train",
        "--run-file",
        str(run_file),
        "--corpus",
        str(corpus.path),
        "--split",
        str(split),
    ]
    arguments += ["--threads", "1", "--output", str(folder / "model")]
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, *arguments], check=True, stdout=subprocess.PIPE, text=True
    )
    peak = int(done.stdout.rpartition("VmHWM")[2]) * 1024 / 1e6
    return peak, json.loads((folder / "model" / "train.json").read_text())["seconds"]


def compared(name: str) -> dict[str, Any]:
    """Plan and train a shape; return its row of the table."""
    model, training, length = SHAPES[name]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        data: dict[str, Any] = {"positives": "1.fa", "negatives": "0.fa"}
        split: dict[str, Any] = {"kind": "random", "valid_fraction": 0.25, "test_fraction": 0.01}
        if length is None:
            task = read_run_file(ROOT / "workflows/tasks/promoter.toml").model_dump(
                mode="json", exclude_none=True
            )
            data, split = task["data"], task["split"]
        run_file = folder / "run.toml"
        run = RunFile.model_validate(
            {
                "data": data,
                "split": split,
                "model": model,
                "training": {"evaluate_every": 4} | training,
            }
        )
        run_file.write_text(
            tomli_w.dumps(run.model_dump(mode="json", exclude_none=True)), encoding="utf-8"
        )
        corpus, table = (
            promoters(folder, run_file) if length is None else random_corpus(folder, length, 24)
        )
        plan = make_plan(run, Lengths.of(run, corpus), threads=1, prepare=keep_memory)
        peak, seconds = trained(folder, run_file, corpus, table)
    last = plan.probe.points[-1]
    return {
        "shape": name,
        "up to": "all" if plan.is_measured else f"{last.batch} x {last.length}",
        "plan MB": f"{plan.peak:.0f} ({plan.peak / peak - 1:+.0%})",
        "measured MB": f"{peak:.0f}",
        "plan s": f"{plan.seconds:.1f} ({plan.seconds / seconds - 1:+.0%})",
        "measured s": f"{seconds:.1f}",
    }


def main() -> None:
    """Print one row per shape when it is finished, then the table."""
    rows = []
    for name in sys.argv[1:] or SHAPES:
        rows.append(compared(name))
        print(rows[-1], file=sys.stderr, flush=True)
    print(pd.DataFrame(rows).to_string(index=False))


if __name__ == "__main__":
    main()
