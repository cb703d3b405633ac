"""Compare speed and memory of our attention with other libraries on one CPU thread.

Measures one layer, a complete training step, and 131,072 tokens, in microseconds of process CPU
time per token, medians of three rounds or more. The settings of glibc's malloc hold for a process,
so two processes ("default" and "raised") take turns round by round; within a round each layer runs
with both matmul precisions of float32 and in bfloat16. A target is judged by our worst setting of
each precision. "HF" is Hugging Face transformers.

    python benchmarks/attention_speed.py                  # 25 minutes on an idle machine
    python benchmarks/attention_speed.py --quick          # a check of one minute
    python benchmarks/attention_speed.py --write-docs     # write docs/attention_speed.md
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"  # before torch is loaded

import pandas as pd
import peers
import torch
import transformers
from harness import ROOT, Page, option, run
from peers import DIM, HEADS, KERNELS_OF_WINDOWS, WINDOW
from speed_cases import PRECISIONS
from speed_report import plot, report, summary
from speed_targets import GEMM, QUICK, Size

from selfattn_bio.attention.kernels.band import unavailable_reason

FOLDER = Path("results/bench_attention")
# Keep large blocks in the heap; mapping them at each allocation costs many page faults.
RAISED = {
    "MALLOC_TOP_PAD_": str(2**28),
    "MALLOC_MMAP_THRESHOLD_": str(2**33),
    "MALLOC_TRIM_THRESHOLD_": str(2**34),
}
MALLOCS = {"default": {}, "raised": RAISED}
TOLERANCE = 1e-4
TEXT = """[attention.md](attention.md) explains patterns and kernels, [kinds.md](kinds.md) compares
accuracy. `python benchmarks/attention_speed.py --write-docs` writes this page; `make bench` prints
the same tables.

Times are CPU time of the process, medians of at least three rounds. The cases of one
table took turns, so compare figures within a table; figures of different days differ more.

- The six settings combine torch's precision (highest, medium: float32 with that matmul precision;
  bfloat16: autocast) with glibc's malloc (default, raised). "raised" keeps large blocks in the
  heap, as the commands of this package do.
- HF is Hugging Face transformers, with the attention that its configuration selects.
- "floor" is the encoder without attention, "GEMM" a matrix product, "core" attention without its
  projections.
- Dropout is 0 everywhere.
- Our layers have a T5 bias and compute its gradient, except with the BigBird pattern.
  local-attention and Longformer have no bias. Rows with local-attention's rotary embedding are
  marked "rotary".

![microseconds per token by length](attention_speed.png)"""
PAGE = Page(ROOT / "docs/attention_speed.md", "Speed of attention", TEXT)


def started(what: str, size: Size, malloc: str) -> subprocess.Popen[str]:
    """Start this script in a process that measures `what` with a malloc setting."""
    own = {name: value for name, value in os.environ.items() if name not in RAISED}
    environment = own | MALLOCS[malloc]
    script = str(Path(__file__).with_name("speed_cases.py"))
    command = [sys.executable, script, what, *(["--quick"] if size == QUICK else [])]
    return subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def next_line(process: subprocess.Popen[str]) -> Any:
    """Request the next line of the process and parse it."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    if not (line := process.stdout.readline()):
        raise SystemExit(f"error: a measuring process ended with exit code {process.wait()}")
    return json.loads(line)


def measured(size: Size) -> pd.DataFrame:
    """Return medians in seconds, one row per case and setting; `rounds` is the number of rounds."""
    samples: list[dict[str, Any]] = []
    with ExitStack() as stack:
        processes = {
            malloc: stack.enter_context(started("times", size, malloc)) for malloc in MALLOCS
        }
        while None not in (
            found := {malloc: next_line(process) for malloc, process in processes.items()}.values()
        ):
            samples += [
                each | {"malloc": malloc}
                for malloc, each_round in zip(processes, found, strict=True)
                for each in each_round
            ]
    frame = pd.DataFrame(samples)
    frame["setting"] = frame["precision"] + ", malloc " + frame["malloc"]
    groups = frame.groupby(["setting", "table", "length", "batch", "name"], sort=False)
    rows = groups.agg(
        forward=("forward", "median"), total=("total", "median"), rounds=("total", "size")
    ).reset_index()
    settings = [f"{precision}, malloc {malloc}" for precision in PRECISIONS for malloc in MALLOCS]
    return rows.sort_values(
        "setting", key=lambda column: column.map(settings.index), kind="stable", ignore_index=True
    )


def figures_of(size: Size, rows: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return for each setting the rates of table "core" and the times of table "far"."""
    pairs = HEADS * (size.middle * (2 * WINDOW + 1) - WINDOW * (WINDOW + 1))
    found: dict[str, dict[str, float]] = {}
    for setting, own in rows.groupby("setting", sort=False):
        core = own[own["table"] == "core"].set_index("name")["total"]
        far = own[own["table"] == "far"]
        found[str(setting)] = {"GEMM Gflop/s": 2 * GEMM**3 / core["GEMM"] / 1e9}
        found[str(setting)] |= {
            f"core {name} Gflop/s": 14 * DIM // HEADS * pairs / core[name] / 1e9
            for name in KERNELS_OF_WINDOWS
        }
        found[str(setting)] |= {
            f"{row.name} us/token at {row.length}": 1e6 * row.total / row.length
            for row in far.itertuples(index=False)
        }
    return found


def measure(chosen: argparse.Namespace) -> Iterator[str]:
    """Measure each setting in its process and yield the tables."""
    size = QUICK if chosen.quick else Size()
    torch.manual_seed(0)
    transformers.logging.set_verbosity_error()
    cpu, glibc = torch.backends.cpu.get_cpu_capability(), " ".join(platform.libc_ver())
    yield f"One thread, {cpu}, {glibc}."
    if (reason := unavailable_reason()) is not None:
        yield f"The band kernel cannot run here ({reason}); our rows use the slab kernel."
    differences = peers.differences()
    if max(differences.values()) > TOLERANCE:
        raise SystemExit(f"error: not equal to dense attention up to {TOLERANCE}: {differences}")
    start = time.time()
    seconds = measured(size)
    figures = figures_of(size, seconds)
    with started("memory", size, "default") as process:
        figures["memory"] = next_line(process)
    print(f"measured in {time.time() - start:.0f} s", flush=True)
    table = seconds[seconds["table"].isin(["layer", "step"])].reset_index(drop=True)
    per_token = 1e6 / (table["batch"] * table["length"])  # us
    table[["forward", "total"]] = table[["forward", "total"]].mul(per_token, axis=0)
    encoders = peers.long_encoders(size.step) | peers.short_encoders(300, size.batch)
    parameters = {name: peers.num_parameters(encoder) for name, encoder in encoders.items()}
    yield from filter(None, [summary(size, table, figures)])
    yield report(size, table, figures, differences, parameters)

    FOLDER.mkdir(parents=True, exist_ok=True)
    table.to_csv(FOLDER / "attention_speed.csv", index=False)
    (FOLDER / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    folders = [FOLDER, PAGE.path.parent] if chosen.write_docs else [FOLDER]
    for folder in folders:
        plot(table, str(table["setting"].iloc[0]), folder / "attention_speed.png")
    print(f"written: {FOLDER}/attention_speed.csv, .png, figures.json")


if __name__ == "__main__":
    run(
        __doc__,
        measure,
        option("--quick", action="store_true", help="check with short lengths, one minute"),
        page=PAGE,
        packages=("torch", "local-attention", "transformers", "x-transformers"),
    )
