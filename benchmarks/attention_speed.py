"""Compare speed and memory of our attention with other libraries on one CPU thread.

Measures one layer, a complete training step, and 131,072 tokens, in microseconds of process CPU
time per token, medians of three rounds or more. The settings of glibc's malloc hold for a process,
so two processes ("default" and "raised") take turns round by round; within a round each layer runs
with both matmul precisions. A target is judged by the worst of these four settings. "HF" is Hugging
Face transformers.

    python benchmarks/attention_speed.py                  # 15 minutes on an idle machine
    python benchmarks/attention_speed.py --quick          # a check of one minute
    python benchmarks/attention_speed.py --write-docs     # write docs/attention_speed.md
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import multiprocessing
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from datetime import date
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"  # before torch is loaded

import pandas as pd
import peers
import torch
import transformers
from peers import DIM, HEADS, KERNELS_OF_WINDOWS, WINDOW, WINDOWED
from speed_report import GEMM, Size, plot, report, summary
from torch import nn
from torch.nn.functional import cross_entropy

from selfattn_bio.attention.attend import attend
from selfattn_bio.attention.native import unavailable_reason
from selfattn_bio.attention.patterns import build_pattern
from selfattn_bio.attention.positions import T5Bias

FOLDER = Path("results/bench_attention")
DOCS = Path("docs/attention_speed.md")
# Keep large blocks in the heap; mapping them at each allocation costs many page faults.
RAISED = {
    "MALLOC_TOP_PAD_": str(2**28),
    "MALLOC_MMAP_THRESHOLD_": str(2**33),
    "MALLOC_TRIM_THRESHOLD_": str(2**34),
}
MALLOCS = {"default": {}, "raised": RAISED}
PRECISIONS = ("highest", "medium")

TOLERANCE = 1e-4
SLOW = 1.0  # seconds; the warm-up of the first call is negligible in slower cases
HEAD = """[attention.md](attention.md) explains patterns and kernels, [kinds.md](kinds.md) compares
accuracy. `python benchmarks/attention_speed.py --write-docs` writes this page; `make bench` prints
the same tables.

{machine}. Times are CPU time of the process, medians of at least three rounds. The cases of one
table took turns, so compare figures within a table; figures of different days differ more.

- The four settings combine torch's matmul precision (highest, medium) with glibc's malloc (default,
  raised). "raised" keeps large blocks in the heap, as the commands of this package do.
- HF is Hugging Face transformers, with the attention that its configuration selects.
- "floor" is the encoder without attention, "GEMM" a matrix product, "core" attention without its
  projections.
- Dropout is 0 everywhere.
- Our layers have a T5 bias and compute its gradient, except with the BigBird pattern.
  local-attention and Longformer have no bias. Rows with local-attention's rotary embedding are
  marked "rotary".

![microseconds per token by length](attention_speed.png)"""
QUICK = Size(((1024, 3),), 1024, 1024, 4096, 3, 1024, 3, 4)

Timed = Callable[[], tuple[float, float]]  # -> seconds until the forward is done, seconds in all


class Case(NamedTuple):
    """A row of a table, and the function that is timed."""

    name: str
    length: int
    batch: int
    run: Timed


class Table(NamedTuple):
    """Cases that take turns."""

    name: str
    rounds: int
    cases: list[Case]


# ------------ one malloc, one process
def layer_case(layer: nn.Module, length: int) -> Timed:
    """Time forward and backward of one layer, with gradients of parameters and input."""
    x, grad = torch.randn(1, length, DIM, requires_grad=True), torch.randn(1, length, DIM)

    def run() -> tuple[float, float]:
        layer.zero_grad(set_to_none=True)
        x.grad = None
        start = time.process_time()
        y = layer(x)
        forward = time.process_time() - start
        y.backward(grad)
        return forward, time.process_time() - start

    return run


def core_case(kernel: str, length: int) -> Timed:
    """Time attention alone, with a T5 bias and its gradient."""
    q, k, v, grad = (
        torch.randn(1, HEADS, length, DIM // HEADS, requires_grad=True) for _ in range(4)
    )
    position, pattern = T5Bias(HEADS), build_pattern(WINDOWED)

    def run() -> tuple[float, float]:
        q.grad = k.grad = v.grad = None
        start = time.process_time()
        y = attend(q, k, v, pattern=pattern, position=position, kernel=kernel)
        forward = time.process_time() - start
        y.backward(grad)
        return forward, time.process_time() - start

    return run


def step_case(encoder: nn.Module, length: int, batch: int) -> Timed:
    """Time one training step: forward, backward and AdamW."""
    model = peers.Model(encoder).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    tokens = torch.randint(0, 4, (batch, length))

    def run() -> tuple[float, float]:
        start = time.process_time()
        optimizer.zero_grad(set_to_none=True)
        loss = cross_entropy(model(tokens).flatten(0, 1), tokens.flatten())
        forward = time.process_time() - start
        loss.backward()
        optimizer.step()
        return forward, time.process_time() - start

    return run


def gemm_case() -> Timed:
    """Time a square float32 matrix product."""
    a, b = torch.randn(2, GEMM, GEMM)

    def run() -> tuple[float, float]:
        start = time.process_time()
        a @ b
        return (time.process_time() - start,) * 2

    return run


def tables(size: Size) -> Iterator[Table]:
    """Yield all tables; each is built when the previous one is finished."""
    for length, rounds in size.layers:
        found = peers.layers(length, dense=length <= size.dense_up_to)
        yield Table(
            "layer",
            rounds,
            [Case(name, length, 1, layer_case(layer, length)) for name, layer in found.items()],
        )
    core = [
        Case(kernel, size.middle, 1, core_case(kernel, size.middle))
        for kernel in KERNELS_OF_WINDOWS
    ]
    yield Table("core", 7, [*core, Case("GEMM", 1, 1, gemm_case())])
    ours = {
        kernel: peers.Ours(peers.attention_layer(peers.section(kernel, WINDOWED)))
        for kernel in KERNELS_OF_WINDOWS
    }
    far = [
        Case(kernel, length, 1, layer_case(layer, length))
        for kernel, layer in ours.items()
        for length in (size.middle, size.far)
    ]
    yield Table("far", size.far_rounds, far)
    for length, batch, found in (
        (size.step, 1, peers.long_encoders(size.step)),
        (300, size.batch, peers.short_encoders(300, size.batch)),
    ):
        yield Table(
            "step",
            size.step_rounds,
            [
                Case(name, length, batch, step_case(each, length, batch))
                for name, each in found.items()
            ],
        )


def rounds_of(tables: Iterable[Table]) -> Iterator[list[dict[str, Any]]]:
    """Yield the times of each round.

    The first round of a table is a warm-up. It counts for slow cases, which skip the last round.
    """
    for table in tables:
        slow = set()
        for number in range(table.rounds + 1):
            samples = []
            for case in table.cases:
                for precision in PRECISIONS:
                    if number == table.rounds and (case, precision) in slow:
                        continue
                    torch.set_float32_matmul_precision(precision)
                    forward, total = case.run()
                    if number == 0 and total > SLOW:
                        slow.add((case, precision))
                    if number > 0 or total > SLOW:
                        row = {
                            "table": table.name,
                            "name": case.name,
                            "length": case.length,
                            "batch": case.batch,
                            "precision": precision,
                        }
                        samples.append(row | {"forward": forward, "total": total})
            yield samples


def serve(size: Size) -> None:
    """Print the times of one round for each line read, and null at the end."""
    rounds: Iterator[list[dict[str, Any]] | None] = chain(rounds_of(tables(size)), [None])
    for _, samples in zip(sys.stdin, rounds, strict=False):  # reads the line first
        print(json.dumps(samples), flush=True)


# ------------ memory
def status_kib(entry: str) -> int:
    """Return VmRSS (resident now) or VmHWM (peak since the last reset) of this process in KiB."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return int(text.split(entry + ":")[1].split()[0])


def memory_of(make: Callable[[], Timed]) -> tuple[int, int, float]:
    """Measure the memory of one call in a forked process.

    The fork keeps memory freed by other measurements from being used again. Inputs and layer are
    built before the peak is reset.

    Returns
    -------
    KiB added at the peak, KiB of the process at the peak, and CPU seconds.
    """
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()

    def run() -> None:
        case = make()
        ctypes.CDLL(None).malloc_trim(0)  # return freed memory, so that reusing it counts
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # reset VmHWM
        before = status_kib("VmRSS")
        seconds = case()[1]
        theirs.send((status_kib("VmHWM") - before, status_kib("VmHWM"), seconds))

    process = context.Process(target=run)
    process.start()
    theirs.close()
    try:
        found = ours.recv()
    except EOFError:
        found = (math.nan, math.nan, math.nan)  # the process died, probably out of memory
    process.join()
    return found


def measure_memory(size: Size) -> dict[str, float]:
    """Measure the peak of each layer at one length, and of our layers and a step at the far one."""
    figures: dict[str, float] = {}
    for name in peers.layers(2048, dense=True):
        figures[f"MiB {name}"] = (
            memory_of(
                lambda name=name: layer_case(peers.layers(size.middle, True)[name], size.middle)
            )[0]
            / 1024
        )
    for kernel in KERNELS_OF_WINDOWS:
        layer = peers.Ours(peers.attention_layer(peers.section(kernel, WINDOWED)))
        figures[f"{kernel} KiB/token"] = (
            memory_of(lambda layer=layer: layer_case(layer, size.far))[0] / size.far
        )
        _, peak, seconds = memory_of(
            lambda kernel=kernel: step_case(peers.our_encoder(kernel), size.far, 1)
        )
        figures |= {
            f"{kernel} step GiB": peak / 2**20,
            f"{kernel} step ktoken/s": size.far / seconds / 1000,
        }
    return figures


# ------------ main
def started(what: str, size: Size, malloc: str) -> subprocess.Popen[str]:
    """Start this script in a process that measures `what` with a malloc setting."""
    environment = {
        name: value for name, value in os.environ.items() if name not in RAISED
    } | MALLOCS[malloc]
    command = [sys.executable, __file__, "--one", what, *(["--quick"] if size == QUICK else [])]
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
        core, far = (
            own[own["table"] == "core"].set_index("name")["total"],
            own[own["table"] == "far"],
        )
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


def machine() -> str:
    """Return date, commit, processor and versions."""
    cpu = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        "",
    )
    packages = ", ".join(
        f"{name} {version(name)}"
        for name in ("torch", "local-attention", "transformers", "x-transformers")
    )
    glibc = " ".join(platform.libc_ver())
    commit = (
        subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True
        ).stdout.strip()
        or "unknown"
    )
    where = f"{cpu or platform.machine()} ({torch.backends.cpu.get_cpu_capability()}), one thread"
    return f"{date.today()}, commit {commit}, {where}; {packages}, {glibc}"


def main() -> None:
    """Measure each setting in its process and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="check with short lengths, one minute")
    parser.add_argument("--write-docs", action="store_true", help=f"write the tables to {DOCS}")
    parser.add_argument(
        "--one", choices=("times", "memory"), help=argparse.SUPPRESS
    )  # measure here, print JSON
    arguments = parser.parse_args()
    size = QUICK if arguments.quick else Size()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    transformers.logging.set_verbosity_error()
    if arguments.one == "memory":
        print(json.dumps(measure_memory(size)))
        return
    if arguments.one == "times":
        serve(size)
        return

    if (reason := unavailable_reason()) is not None:
        print(f"The band kernel cannot run here ({reason}); our rows use the slab kernel.")
    print(machine(), flush=True)
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
    text = report(size, table, figures, differences, parameters)
    print("\n" + text)

    FOLDER.mkdir(parents=True, exist_ok=True)
    table.to_csv(FOLDER / "attention_speed.csv", index=False)
    (FOLDER / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    plot(table, str(table["setting"].iloc[0]), FOLDER / "attention_speed.png")
    print(f"written: {FOLDER}/attention_speed.csv, .png, figures.json")
    if arguments.write_docs:
        plot(table, str(table["setting"].iloc[0]), DOCS.with_suffix(".png"))
        head = summary(size, table, figures), HEAD.format(machine=machine())
        page = "\n\n".join(["# Speed of attention", *filter(None, head), text])
        DOCS.write_text(page, encoding="utf-8")
        print(f"written: {DOCS}")


if __name__ == "__main__":
    main()
