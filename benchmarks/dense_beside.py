"""Compare time and memory of a step of task tss with its attention and with dense attention.

Dry runs with one thread on random DNA in two classes, at the 32,768 bp of the task and at four
times as many.

    python benchmarks/dense_beside.py      # one minute on a quiet machine
"""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from harness import ROOT, Row, Table, run
from runs import random_corpus

from selfattn_bio.api.training import dry_run
from selfattn_bio.config import RunFile, read_run_file

SIZES = ((32_768, 4), (131_072, 1))  # bp, windows per step


def rows() -> Iterator[Row]:
    """Measure each pattern at each size."""
    for size in SIZES:
        yield row("task", {}, *size)
        yield row("dense", {"pattern": {"kind": "full"}}, *size)


def row(name: str, changed: dict[str, Any], length: int, batch: int) -> Row:
    """Measure seconds and peak memory of a step of the task with other settings of [model]."""
    task = read_run_file(ROOT / "workflows/tasks/tss.toml")
    sections = {
        "data": {"positives": ["1.fa"], "negatives": ["0.fa"]},
        "tokens": task.tokens.model_dump(),
        "model": task.model.model_dump() | changed,
        "training": {"batch_size": batch, "precision": task.training.precision},
    }
    settings = RunFile.model_validate(sections)
    with TemporaryDirectory() as folder:
        measured = dry_run(settings, *random_corpus(Path(folder), length, batch), threads=1)
    pattern = settings.model.pattern  # type: ignore[union-attr]
    return {
        "model": f"{name}: {pattern.model_dump(exclude_defaults=True) or pattern.kind}",
        "bp": str(length),
        "windows": str(batch),
        "positions": str(length // settings.pitch),
        "seconds per step": f"{measured.seconds_per_step:.2f}",
        "peak MB": f"{measured.peak_memory_mb:.0f}",
    }


if __name__ == "__main__":
    run(__doc__, lambda _: [Table("", rows())])
