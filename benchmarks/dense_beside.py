"""The model of task tss beside the same one with dense attention: seconds and memory of a step, one thread, by the way `plan` measures.

At 32,768 letters, as the task has them, and at four times as many. Run: `python benchmarks/dense_beside.py` (one minute, quiet machine).
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from selfattn_bio.cli.main import keep_memory
from selfattn_bio.config import FullPattern, RunFile, read_run_file
from selfattn_bio.training.probe import measure

RUN_FILE = Path(__file__).parents[1] / "workflows/tasks/tss.toml"
SIZES = ((32_768, 4), (131_072, 1))  # letters, windows of a step


def main() -> None:
    """Print a row a pattern and size."""
    sparse = read_run_file(RUN_FILE).model_copy(update={"transfer": None})
    dense = sparse.model_copy(update={"model": sparse.model.model_copy(update={"pattern": FullPattern()})})
    print(
        pd.DataFrame([row(name, run, *size) for size in SIZES for name, run in (("task", sparse), ("dense", dense))]).to_string(index=False)
    )


def row(name: str, run: RunFile, length: int, batch: int) -> dict[str, object]:
    """Seconds of a step and its peak."""
    last = measure(run, (length, batch), (1.0,), threads=1, seconds=60.0, prepare=keep_memory).points[-1]
    attended = run.model.pattern.model_dump(exclude_defaults=True) or run.model.pattern.kind  # type: ignore[union-attr]
    return {
        "model": f"{name}: {attended}",
        "letters": last.length,
        "windows": last.batch,
        "places": last.length // run.pitch,
        "seconds a step": f"{last.seconds:.2f}",
        "peak MB": f"{last.peak:.0f}",
    }


if __name__ == "__main__":
    main()
