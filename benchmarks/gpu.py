"""Time the layers of `attention_speed`, and ours with flex, on a CUDA device in bfloat16.

Forward and backward with 8,192 to 1,048,576 tokens: milliseconds until the device is finished,
medians of rounds interleaved in one process, and the peak memory of a round. If a layer cannot run,
its row has the reason. Layers over all pairs and Hugging Face's BigBird have no row beyond
`DENSE_LIMIT`. The exit code is 1 if a reason is not memory. Needs the bench extra.
docs/attention.md says on which device it has run.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --quick                  # a check
    python benchmarks/gpu.py --device cpu --quick     # a check without a GPU
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import peers
import torch
import transformers
from harness import Row, Table, option, run
from torch import nn

LENGTHS = (8192, 32_768, 131_072, 524_288, 1_048_576)
DENSE_LIMIT = 131_072  # tokens; attention over all pairs takes minutes beyond
ROUNDS = 5
KERNELS = {"cuda": ("flex", "slab"), "cpu": ("slab",)}  # kernels that support bfloat16
OUT_OF_MEMORY = "out of memory"

Round = Callable[[], tuple[float, float]]


def moved(value: Any, device: str) -> Any:
    """Move the inputs of a Hugging Face layer to the device, floating-point numbers as bfloat16."""
    if isinstance(value, tuple):
        return tuple(moved(each, device) for each in value)
    if not isinstance(value, torch.Tensor):
        return value
    return value.to(device, torch.bfloat16 if value.is_floating_point() else value.dtype)


def round_of(name: str, layer: nn.Module, length: int, device: str) -> Round:
    """Return a function that runs forward and backward: milliseconds, and peak GiB on CUDA."""
    if isinstance(layer, peers.HuggingFaceLayer):
        layer.inputs = {name: moved(value, device) for name, value in layer.inputs.items()}
    layer.to(device, torch.bfloat16).train()
    x, grad = (
        torch.randn(1, length, peers.DIM, device=device, dtype=torch.bfloat16) for _ in range(2)
    )
    x.requires_grad_()
    is_cuda = device == "cuda"

    def run() -> tuple[float, float]:
        layer.zero_grad(set_to_none=True)
        x.grad = None
        if is_cuda:
            torch.cuda.reset_peak_memory_stats()
            torch.cuda.synchronize()
        start = time.perf_counter()
        with torch.autocast(
            device, torch.bfloat16, enabled=name == "local-attention, rotary"
        ):  # its angles are float32
            y = layer(x)
        y.backward(grad)
        if is_cuda:
            torch.cuda.synchronize()
        return 1000 * (
            time.perf_counter() - start
        ), torch.cuda.max_memory_allocated() / 2**30 if is_cuda else math.nan

    return run


def measured(
    layers: dict[str, nn.Module], length: int, device: str, rounds: int
) -> dict[str, tuple[float, float] | str]:
    """Return the medians of each layer over the rounds, or why it did not run."""
    found: dict[str, tuple[float, float] | str] = {}
    times: dict[str, list[tuple[float, float]]] = {}
    runs: dict[str, Round] = {}
    for number in range(-1, rounds):  # the first round compiles and is not counted
        for name, layer in layers.items():
            if name in found:
                continue
            try:
                if number < 0:
                    runs[name], times[name] = round_of(name, layer, length, device), []
                    runs[name]()
                else:
                    times[name].append(runs[name]())
            except torch.OutOfMemoryError:
                found[name] = OUT_OF_MEMORY
            except RuntimeError as error:  # reported in its row; other layers are still measured
                found[name] = f"{type(error).__name__}: {error}".splitlines()[0]
            if name in found:
                runs.pop(name, None)
                layer.to("meta")
                torch.cuda.empty_cache()
    return {
        name: found.get(name) or tuple(map(statistics.median, zip(*times[name], strict=True)))
        for name in layers
    }


def rows(length: int, device: str, rounds: int, broken: list[str]) -> Iterator[Row]:
    """Measure each layer; `broken` receives those that failed for another reason than memory."""
    layers = peers.layers(length, length <= DENSE_LIMIT, KERNELS[device])
    for name, value in measured(layers, length, device, rounds).items():
        row = {"layer": name, "ms": "-", "us/token": "-", "peak GiB": "-", "failed": ""}
        if isinstance(value, str):
            broken += [] if value == OUT_OF_MEMORY else [f"{name} at {length:,}"]
            yield row | {"failed": value}
        else:
            ms, peak = value
            yield row | {
                "ms": f"{ms:.2f}",
                "us/token": f"{1000 * ms / length:.3f}",
                "peak GiB": f"{peak:.2f}",
            }


def measure(chosen: argparse.Namespace) -> Iterator[Table | str]:
    """Yield a table for each length."""
    device, rounds = chosen.device, 3 if chosen.quick else ROUNDS
    if device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("error: no CUDA device found; check the script with --device cpu --quick")
    transformers.logging.set_verbosity_error()
    where = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    yield (
        f"{where}, bfloat16, window {peers.WINDOW} to each side, forward and backward, medians of "
        f"{rounds}"
    )
    broken: list[str] = []
    for length in (1024,) if chosen.quick else LENGTHS:
        yield Table(f"{length:,} tokens", rows(length, device, rounds, broken))
    if broken:
        raise SystemExit(f"error: failed for another reason than memory: {', '.join(broken)}")


if __name__ == "__main__":
    run(
        __doc__,
        measure,
        option("--quick", action="store_true", help="1,024 tokens, three rounds"),
        option("--device", choices=list(KERNELS), default="cuda"),
        threads=None,
    )
