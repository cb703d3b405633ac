"""Measure the cases of `attention_speed` in one process, with the malloc settings of this process.

`times` prints the times of one round for each line read; `memory` prints all peaks.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import peers
import torch
import transformers
from peers import DIM, HEADS, KERNELS_OF_WINDOWS, WINDOWED
from speed_targets import GEMM, QUICK, Size
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from selfattn_bio.attention.attend import attend
from selfattn_bio.attention.patterns import build_pattern
from selfattn_bio.attention.positions import T5Bias

# torch's matmul precision in float32, or bfloat16 by autocast
PRECISIONS = ("highest", "medium", "bfloat16")
FLOAT32_ONLY = {"HF BigBird"}  # its scatter fails under autocast
SLOW = 1.0  # seconds; the warm-up of the first call is negligible in slower cases

Timed = Callable[[], tuple[float, float]]  # -> seconds until the forward is done, seconds in all


@contextmanager
def using(precision: str) -> Iterator[None]:
    """Compute with one of `PRECISIONS`."""
    low = precision == "bfloat16"
    torch.set_float32_matmul_precision("highest" if low else precision)
    with torch.autocast("cpu", torch.bfloat16, enabled=low):
        yield


def by_precision(shape: tuple[int, ...], count: int) -> Callable[[], list[Tensor]]:
    """Sample tensors, and return a function that returns them in the type in use."""
    tensors = {
        dtype: [torch.randn(shape, dtype=dtype, requires_grad=True) for _ in range(count)]
        for dtype in (torch.float32, torch.bfloat16)
    }
    return lambda: tensors[torch.bfloat16 if torch.is_autocast_enabled("cpu") else torch.float32]


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
    tensors = by_precision((1, HEADS, length, DIM // HEADS), 4)
    position, pattern = T5Bias(HEADS), build_pattern(WINDOWED)

    def run() -> tuple[float, float]:
        q, k, v, grad = tensors()
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
    """Time a square matrix product."""
    tensors = by_precision((GEMM, GEMM), 2)

    def run() -> tuple[float, float]:
        a, b = (x.detach() for x in tensors())
        start = time.process_time()
        a @ b
        return (time.process_time() - start,) * 2

    return run


def tables(size: Size) -> Iterator[Table]:
    """Yield all tables; each is built when the previous one is finished."""
    for length, rounds in size.layers:
        found = peers.layers(length, dense=length <= size.dense_up_to)
        cases = [Case(name, length, 1, layer_case(each, length)) for name, each in found.items()]
        yield Table("layer", rounds, cases)
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
        cases = [
            Case(name, length, batch, step_case(each, length, batch))
            for name, each in found.items()
        ]
        yield Table("step", size.step_rounds, cases)


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
                    if precision == "bfloat16" and case.name in FLOAT32_ONLY:
                        continue
                    with using(precision):
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

    def layer_of(name: str) -> Timed:
        return layer_case(peers.layers(size.middle, dense=True)[name], size.middle)

    for name in peers.layers(2048, dense=True):
        figures[f"MiB {name}"] = memory_of(partial(layer_of, name))[0] / 1024
    for kernel in KERNELS_OF_WINDOWS:
        layer = peers.Ours(peers.attention_layer(peers.section(kernel, WINDOWED)))
        added = memory_of(partial(layer_case, layer, size.far))[0]
        step = lambda kernel=kernel: step_case(peers.our_encoder(kernel), size.far, 1)  # noqa: E731
        _, peak, seconds = memory_of(step)
        figures[f"{kernel} KiB/token"] = added / size.far
        figures[f"{kernel} step GiB"] = peak / 2**20
        figures[f"{kernel} step ktoken/s"] = size.far / seconds / 1000
    return figures


def main() -> None:
    """Measure times or memory, and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("times", "memory"))
    parser.add_argument("--quick", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    transformers.logging.set_verbosity_error()
    size = QUICK if chosen.quick else Size()
    if chosen.what == "memory":
        print(json.dumps(measure_memory(size)))
    else:
        serve(size)


if __name__ == "__main__":
    main()
