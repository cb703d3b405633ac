"""Speed and memory of our attention beside other libraries': one layer, a whole training step, 131,072 tokens; one CPU thread.

Every setting of `SETTINGS` (matmul precision, glibc's malloc) runs in a process of its own, all layers of a table round after round in it:
microseconds of process CPU time per token, medians of rounds. A target is judged by its worst setting. "HF" is Hugging Face transformers.
Run: `python benchmarks/attention_speed.py`, with --quick for a look, with --write-docs to write docs/attention_speed.md.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"  # before torch is loaded

import pandas as pd
import peers
import torch
import transformers
from peers import DIM, HEADS, KERNELS_OF_WINDOWS, WINDOW, WINDOWED
from speed_report import Size, plot, report
from torch import nn
from torch.nn.functional import cross_entropy

from selfattn_bio.attention.attend import attend
from selfattn_bio.attention.native import why_not
from selfattn_bio.attention.patterns import build_pattern
from selfattn_bio.attention.positions import T5Bias
from selfattn_bio.model.encoder import SelfAttention

FOLDER = Path("results/bench_attention")
DOCS = Path("docs/attention_speed.md")
# Large blocks are kept in the heap instead of being mapped anew, page fault by page fault, at each allocation.
RAISED = {"MALLOC_TOP_PAD_": str(2**28), "MALLOC_MMAP_THRESHOLD_": str(2**33), "MALLOC_TRIM_THRESHOLD_": str(2**34)}
SETTINGS = [(precision, malloc) for precision in ("highest", "medium") for malloc in ("default", "raised")]


TOLERANCE = 1e-4
SLOW = 3.0  # seconds
HEAD = """Written by `python benchmarks/attention_speed.py --write-docs` (`make bench` prints the same).

{machine}. Process CPU time, medians of rounds interleaved in one process; figures of one table
compare, those of different days less. Settings are torch's matmul precision and glibc's malloc: "raised" keeps large blocks in the heap.
HF is Hugging Face transformers with the attention that its configuration picks; dropout is 0 everywhere. Our layers have a T5 bias and its
gradient, but with the BigBird pattern; local-attention and Longformer have no bias, local-attention's rotary is named where it is on.

![microseconds a token against the length](attention_speed.png)"""
QUICK = Size(((1024, 2),), 1024, 1024, 4096, 1, 1024, 1, 4)

Timed = Callable[[], tuple[float, float]]  # -> seconds until the forward is done, seconds in all


# --------------------------------------------------------------------------------------------------- one setting, one process
def interleaved(cases: dict[Any, Timed], rounds: int) -> dict[Any, tuple[float, ...]]:
    """Medians of each case over `rounds`, the first call of each not counted; of slow cases one round."""
    first = {name: case()[1] for name, case in cases.items()}
    times: dict[Any, list[tuple[float, float]]] = {name: [] for name in cases}
    for number in range(rounds):
        for name, case in cases.items():
            if number == 0 or first[name] < SLOW:
                times[name].append(case())
    return {name: tuple(statistics.median(side) for side in zip(*values, strict=True)) for name, values in times.items()}


def layer_case(layer: nn.Module, length: int) -> Timed:
    """Forward and backward of one layer, to its parameters and its input."""
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
    """Attention alone, T5 bias with its gradient."""
    q, k, v, grad = (torch.randn(1, HEADS, length, DIM // HEADS, requires_grad=True) for _ in range(4))
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
    """One training step with AdamW: forward, backward, step."""
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


def gemm_case(size: int = 1024) -> Timed:
    """A square product of float32."""
    a, b = torch.randn(size, size), torch.randn(size, size)

    def run() -> tuple[float, float]:
        start = time.process_time()
        a @ b
        return (time.process_time() - start,) * 2

    return run


def measure(size: Size) -> dict[str, Any]:
    """All times of this process's setting: rows of the tables, and figures by name."""
    rows: list[dict[str, Any]] = []

    def add(table: str, cases: dict[str, Timed], length: int, rounds: int, batch: int = 1) -> None:
        for name, seconds in interleaved(cases, rounds).items():
            forward, total = (1e6 * each / (batch * length) for each in seconds)
            rows.append({"table": table, "name": name, "length": length, "batch": batch, "forward": forward, "total": total})

    for length, rounds in size.layers:
        found = peers.layers(length, dense=length <= size.dense_up_to)
        add("layer", {name: layer_case(layer, length) for name, layer in found.items()}, length, rounds)
    core = {name: core_case(name, size.middle) for name in KERNELS_OF_WINDOWS}
    seconds = interleaved(core | {"GEMM": gemm_case()}, 7)
    pairs = HEADS * (size.middle * (2 * WINDOW + 1) - WINDOW * (WINDOW + 1))
    figures = {"GEMM Gflop/s": 2 * 1024**3 / seconds["GEMM"][1] / 1e9}
    figures |= {f"core {name} Gflop/s": 14 * DIM // HEADS * pairs / seconds[name][1] / 1e9 for name in core}
    ours = {kernel: peers.Ours(SelfAttention(peers.section(kernel, WINDOWED))) for kernel in KERNELS_OF_WINDOWS}
    far = {(kernel, length): layer_case(layer, length) for kernel, layer in ours.items() for length in (size.middle, size.far)}
    figures |= {f"{name[0]} us/token at {name[1]}": 1e6 * each[1] / name[1] for name, each in interleaved(far, size.far_rounds).items()}
    long, short = peers.long_encoders(size.step), peers.short_encoders(300, size.batch)
    figures |= {f"thousand parameters, {name}": peers.num_parameters(each) / 1000 for name, each in (long | short).items()}
    add("step", {name: step_case(each, size.step, 1) for name, each in long.items()}, size.step, size.step_rounds)
    add("step", {name: step_case(each, 300, size.batch) for name, each in short.items()}, 300, size.step_rounds + 2, size.batch)
    return {"rows": rows, "figures": figures}


# --------------------------------------------------------------------------------------------------------------- memory
def status_kib(entry: str) -> int:
    """VmRSS (resident now) or VmHWM (the most since the last reset) of this process, from the kernel."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return int(text.split(entry + ":")[1].split()[0])


def memory_of(make: Callable[[], Timed]) -> tuple[int, int, float]:
    """KiB that one call adds at its peak to what was resident before it, KiB of the whole process at the peak, CPU seconds.

    In a fork of its own, so that no other measurement's freed memory is used again; inputs and layer stand before the mark is reset.
    """
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()

    def run() -> None:
        case = make()
        ctypes.CDLL(None).malloc_trim(0)  # what `make` has freed goes back, and is not used again unseen
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the mark starts anew
        before = status_kib("VmRSS")
        seconds = case()[1]
        theirs.send((status_kib("VmHWM") - before, status_kib("VmHWM"), seconds))

    process = context.Process(target=run)
    process.start()
    theirs.close()
    try:
        found = ours.recv()
    except EOFError:
        found = (math.nan, math.nan, math.nan)  # it died, of memory most likely
    process.join()
    return found


def measure_memory(size: Size) -> dict[str, Any]:
    """Peaks of forward and backward of each layer at one length, of ours at the far one, and of a whole step there."""
    figures: dict[str, float] = {}
    for name in peers.layers(2048, dense=True):
        figures[f"MiB {name}"] = memory_of(lambda name=name: layer_case(peers.layers(size.middle, True)[name], size.middle))[0] / 1024
    for kernel in KERNELS_OF_WINDOWS:
        layer = peers.Ours(SelfAttention(peers.section(kernel, WINDOWED)))
        figures[f"{kernel} KiB/token"] = memory_of(lambda layer=layer: layer_case(layer, size.far))[0] / size.far
        _, peak, seconds = memory_of(lambda kernel=kernel: step_case(peers.our_encoder(kernel), size.far, 1))
        figures |= {f"{kernel} step GiB": peak / 2**20, f"{kernel} step ktoken/s": size.far / seconds / 1000}
    return {"rows": [], "figures": figures}


# ----------------------------------------------------------------------------------------------------------------- main
def in_process(arguments: list[str], malloc: str) -> dict[str, Any]:
    """What this script prints as its last line when it measures one setting."""
    environment = {name: value for name, value in os.environ.items() if name not in RAISED} | (RAISED if malloc == "raised" else {})
    done = subprocess.run([sys.executable, __file__, *arguments], env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def machine() -> str:
    """When, on what and with which versions it was measured."""
    cpu = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "")
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "local-attention", "transformers", "x-transformers"))
    glibc = " ".join(platform.libc_ver())
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip() or "unknown"
    where = f"{cpu or platform.machine()} ({torch.backends.cpu.get_cpu_capability()}), one thread"
    return f"{date.today()}, commit {commit}, {where}; {packages}, {glibc}"


def main() -> None:
    """Measure each setting in its process, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="short lengths, few rounds, two settings")
    parser.add_argument("--write-docs", action="store_true", help=f"write the tables to {DOCS}")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # highest, medium or memory: measure here, print JSON
    arguments = parser.parse_args()
    size = QUICK if arguments.quick else Size()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    transformers.logging.set_verbosity_error()
    if arguments.one == "memory":
        print(json.dumps(measure_memory(size)))
        return
    if arguments.one:
        torch.set_float32_matmul_precision(arguments.one)
        print(json.dumps(measure(size)))
        return

    if (reason := why_not()) is not None:
        print(f"The band kernel cannot run here ({reason}): no rows of it, and ours is slab.")
    print(machine(), flush=True)
    differences = peers.differences()
    if max(differences.values()) > TOLERANCE:
        raise SystemExit(f"layers must equal dense masked attention up to {TOLERANCE}, got {differences}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    quick = ["--quick"] if arguments.quick else []
    rows, figures = [], {}
    for precision, malloc in SETTINGS[:: 3 if arguments.quick else 1]:
        setting = f"{precision}, malloc {malloc}"
        start = time.time()
        found = in_process(["--one", precision, *quick], malloc)
        rows.append(pd.DataFrame(found["rows"]).assign(setting=setting))
        figures[setting] = found["figures"]
        print(f"measured: {setting}, {time.time() - start:.0f} s", flush=True)
        (FOLDER / f"{precision}_{malloc}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    figures["memory"] = in_process(["--one", "memory", *quick], "default")["figures"]
    table = pd.concat(rows, ignore_index=True)
    text = report(size, table, figures, differences)
    print("\n" + text)

    table.to_csv(FOLDER / "attention_speed.csv", index=False)
    (FOLDER / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    plot(table, str(table["setting"].iloc[0]), FOLDER / "attention_speed.png")
    print(f"written: {FOLDER}/attention_speed.csv, .png, figures.json")
    if arguments.write_docs:
        plot(table, str(table["setting"].iloc[0]), DOCS.with_suffix(".png"))
        DOCS.write_text(f"# Speed of attention\n\n{HEAD.format(machine=machine())}\n\n{text}", encoding="utf-8")
        print(f"written: {DOCS}")


if __name__ == "__main__":
    main()
