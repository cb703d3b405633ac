"""Time the training step of the promoter task, and list its ten most expensive operations.

One thread, CPU time, medians of interleaved steps. To compare with another commit, run the script
with the folder of that checkout in PYTHONPATH.

    python benchmarks/training_step.py
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from harness import Row, Table, median_seconds, run
from runs import trainer_of
from torch.profiler import ProfilerActivity, profile

from selfattn_bio import Study
from selfattn_bio.process import keep_memory
from selfattn_bio.training.hardware import use_matmul
from selfattn_bio.training.trainer import Trainer

TASK = Path("workflows/tasks/promoter.toml")
FOLDER = Path("results/bench_promoter")
PRECISIONS = ("32-true", "bf16-mixed")
WARMUP, ROUNDS, PROFILED, LISTED = 3, 20, 5, 10


def with_precision(study: Study, precision: str) -> Trainer:
    """Return a training before its first step."""
    training = study.run.training.model_copy(update={"precision": precision})
    run = study.run.model_copy(update={"training": training})
    return trainer_of(study, run, Path(tempfile.mkdtemp()) / "model")


def step_rows(trainers: dict[tuple[str, str], Trainer]) -> Iterator[Row]:
    """Time the step of each training."""
    steps = {name: trainer.take_step for name, trainer in trainers.items()}
    median_seconds(steps, WARMUP)
    found = median_seconds(steps, ROUNDS)
    for (variant, precision), value in found.items():
        ratio = found[variant, PRECISIONS[0]] / value
        yield {
            "step": f"{variant}, {precision}",
            "CPU ms": f"{value * 1e3:.1f}",
            f"{PRECISIONS[0]} / this": f"{ratio:.2f}",
        }


def operation_rows(trainer: Trainer) -> Iterator[Row]:
    """Profile some steps, and list the most expensive operations, without those they call."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        for _ in range(PROFILED):
            trainer.take_step()
    events = sorted(profiled.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    for event in events[:LISTED]:
        yield {
            "operation": event.key,
            "calls per step": f"{event.count / PROFILED:.0f}",
            "ms per step": f"{event.self_cpu_time_total / PROFILED / 1e3:.2f}",
            "fraction": f"{event.self_cpu_time_total / total:.1%}",
        }


def measure(_: object) -> Iterator[Table]:
    """Time all trainings, then profile those in float32."""
    keep_memory()
    use_matmul("medium")
    study = Study(TASK, FOLDER)
    study.ingest()
    study.split()
    trainers = {
        (each.address.label, precision): with_precision(each, precision)
        for each in (study, study.variant("cnn"))
        for precision in PRECISIONS
    }
    yield Table("Training step", step_rows(trainers))
    for (name, precision), trainer in trainers.items():
        if precision == PRECISIONS[0]:
            yield Table(f"Profile: {name}, {precision}", operation_rows(trainer))


if __name__ == "__main__":
    run(__doc__, measure)
