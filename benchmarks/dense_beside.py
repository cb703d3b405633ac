"""Compare time and memory of a step of task tss with its attention and with dense attention.

Measured with one thread, as `plan` measures, at the 32,768 bp of the task and at four times as
many.

    python benchmarks/dense_beside.py      # one minute on a quiet machine
"""

from collections.abc import Iterator

from harness import ROOT, Row, Table, run

from selfattn_bio.config import FullPattern, RunFile, read_run_file
from selfattn_bio.training.lengths import Lengths
from selfattn_bio.training.probe import measure

SIZES = ((32_768, 4), (131_072, 1))  # bp, windows per step


def rows() -> Iterator[Row]:
    """Measure each pattern at each size."""
    task = read_run_file(ROOT / "workflows/tasks/tss.toml").model_copy(update={"transfer": None})
    model = task.model.model_copy(update={"pattern": FullPattern()})
    for size in SIZES:
        yield row("task", task, *size)
        yield row("dense", task.model_copy(update={"model": model}), *size)


def row(name: str, run: RunFile, length: int, batch: int) -> Row:
    """Measure seconds and peak memory of a step."""
    training = run.training.model_copy(update={"batch_size": batch})
    sized, lengths = run.model_copy(update={"training": training}), Lengths(length, (1.0,))
    probe = measure(sized, lengths, threads=1, seconds=60.0, keep_memory=True)
    last = probe.points[-1]
    attended = run.model.pattern.model_dump(exclude_defaults=True) or run.model.pattern.kind  # type: ignore[union-attr]
    return {
        "model": f"{name}: {attended}",
        "bp": str(last.length),
        "windows": str(last.batch),
        "positions": str(last.length // run.pitch),
        "seconds per step": f"{last.seconds:.2f}",
        "peak MB": f"{last.peak:.0f}",
    }


if __name__ == "__main__":
    run(__doc__, lambda _: [Table("", rows())])
