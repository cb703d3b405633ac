"""Compare time and memory of a step of task tss with its attention and with dense attention.

Measured with one thread, as `plan` measures, at the 32,768 bp of the task and at four times as
many.

    python benchmarks/dense_beside.py      # one minute on a quiet machine
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from selfattn_bio.cli.process import keep_memory
from selfattn_bio.config import FullPattern, RunFile, read_run_file
from selfattn_bio.training.probe import measure

RUN_FILE = Path(__file__).parents[1] / "workflows/tasks/tss.toml"
SIZES = ((32_768, 4), (131_072, 1))  # bp, windows per step


def main() -> None:
    """Print one row per pattern and size."""
    sparse = read_run_file(RUN_FILE).model_copy(update={"transfer": None})
    dense = sparse.model_copy(
        update={"model": sparse.model.model_copy(update={"pattern": FullPattern()})}
    )
    print(
        pd.DataFrame(
            [
                row(name, run, *size)
                for size in SIZES
                for name, run in (("task", sparse), ("dense", dense))
            ]
        ).to_string(index=False)
    )


def row(name: str, run: RunFile, length: int, batch: int) -> dict[str, object]:
    """Measure seconds and peak memory of a step."""
    last = measure(
        run, (length, batch), (1.0,), threads=1, seconds=60.0, prepare=keep_memory
    ).points[-1]
    attended = run.model.pattern.model_dump(exclude_defaults=True) or run.model.pattern.kind  # type: ignore[union-attr]
    return {
        "model": f"{name}: {attended}",
        "bp": last.length,
        "windows": last.batch,
        "positions": last.length // run.pitch,
        "seconds per step": f"{last.seconds:.2f}",
        "peak MB": f"{last.peak:.0f}",
    }


if __name__ == "__main__":
    main()
