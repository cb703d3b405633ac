"""Measure training and attention on a CUDA device: time, speed and peak memory, in one table.

Training rows are complete optimizer steps on random DNA, with the data path: the default network at
300 bp, and the encoder of the task tss for longer records, both without dropout of attention
weights. A forward row scores one sequence of 1,048,576 bp. Attention rows are forward and backward
in bfloat16, 4 heads of 64, with a window of 512 tokens to each side: our kernels, and NATTEN if it
is installed (its window moves inwards at the ends). FlashAttention, through torch, computes all
pairs.

Times are medians until the device is finished; memory is the peak of the process. A row that cannot
run has the reason, and the exit code is 1 if the reason is not memory. docs/attention.md says on
which device it has run.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --quick                  # a check
    python benchmarks/gpu.py --device cpu --quick     # a check without a GPU
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from harness import ROOT, Row, Table, option, run, seconds
from runs import trainer_of
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from selfattn_bio import Study
from selfattn_bio.attention.attend import attend
from selfattn_bio.attention.inputs import AttentionMask
from selfattn_bio.attention.patterns import Window
from selfattn_bio.config import RunFile, read_run_file
from selfattn_bio.model.build import build_network
from selfattn_bio.training.hardware import fast_precision

TASKS = ROOT / "workflows/tasks"
TRAINED = {300: "promoter", 8192: "tss", 32_768: "tss", 131_072: "tss"}  # bp -> task of the network
ATTENDED, FORWARD = (8192, 32_768, 131_072), 2**20
STEP = 2**20  # bp of a training step
CLASSES = ("positives", "negatives")
WINDOW, HEADS, HEAD_DIM = 512, 4, 64
KERNELS = {"cuda": ("flex", "slab"), "cpu": ("slab",)}  # kernels of a window that support bfloat16
WARMUP, ROUNDS = 2, 5
OUT_OF_MEMORY = "out of memory"

Work = Callable[[], object]
Attention = Callable[[Tensor, Tensor, Tensor], Tensor]  # of heads last, (1, L, H, Dh)


# ------------ what is measured
def run_file(task: str, batch: int, folder: Path = Path()) -> RunFile:
    """Return a training of two classes in `folder` with the network of a task."""
    found = read_run_file(TASKS / f"{task}.toml")
    model = found.model.model_copy(update={"attention_dropout": 0.0})
    sections = {
        "data": {name: [str(folder / f"{name}.fa")] for name in CLASSES},
        "split": {"kind": "column"},
        "tokens": found.tokens.model_dump(),
        "model": model.model_dump(),
        "training": {"batch_size": batch, "precision": fast_precision()},
    }
    return RunFile.model_validate(sections)


def training(task: str, length: int, batch: int) -> Work:
    """Return a training step of `batch` records of random DNA."""
    folder, rng = Path(tempfile.mkdtemp()), np.random.default_rng(0)
    splits = ["valid", "test", *["train"] * ((batch + 1) // 2)]
    for name in CLASSES:
        rows = (
            f">{name}{number} split={split}\n{''.join(rng.choice(list('ACGT'), length))}\n"
            for number, split in enumerate(splits)
        )
        (folder / f"{name}.fa").write_text("".join(rows), encoding="ascii")
    study = Study(run_file(task, batch, folder), folder)
    study.ingest()
    study.split()
    return trainer_of(study, study.run, study.files.model).take_step


def forward(task: str, length: int, device: str) -> Work:
    """Return a forward pass of one sequence."""
    network = build_network(run_file(task, 1)).to(device).eval()
    tokens = torch.randint(4, 8, (1, length), device=device)  # bases; 0 to 3 are special tokens

    def work() -> None:
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16):
            network(tokens)

    return work


def attention(function: Attention, length: int, device: str) -> Work:
    """Return a forward and backward pass of attention."""
    shape = (1, length, HEADS, HEAD_DIM)
    q, k, v, above = (torch.randn(shape, device=device, dtype=torch.bfloat16) for _ in range(4))
    leaves = [x.requires_grad_() for x in (q, k, v)]
    return lambda: torch.autograd.grad(function(*leaves), leaves, above)


def attentions(length: int, device: str) -> dict[str, Attention]:
    """Return the functions that are compared."""
    mask = AttentionMask(torch.ones(1, length, dtype=torch.bool, device=device))

    def ours(kernel: str, *heads_last: Tensor) -> Tensor:
        q, k, v = (x.transpose(1, 2) for x in heads_last)
        out = attend(q, k, v, pattern=Window(WINDOW), mask=mask, kernel=kernel)
        return out.transpose(1, 2)

    def flash(*heads_last: Tensor) -> Tensor:
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            out = scaled_dot_product_attention(*(x.transpose(1, 2) for x in heads_last))
        return out.transpose(1, 2)

    found: dict[str, Attention] = {
        f"window, {kernel}": partial(ours, kernel) for kernel in KERNELS[device]
    }
    found |= natten() if device == "cuda" else {}
    return {**found, "all pairs, FlashAttention": flash}


def natten() -> dict[str, Attention]:
    """Return the function of NATTEN, if it is installed."""
    if not find_spec("natten"):
        return {}
    from natten.functional import na1d

    return {"window, NATTEN": partial(na1d, kernel_size=2 * WINDOW + 1)}


# ------------ the table
def clock() -> float:
    """Return the time at which the device is finished."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def row(name: str, length: int, positions: int, rounds: int, build: Callable[[], Work]) -> Row:
    """Measure one row; `positions` is the number of bp or tokens that a call processes."""
    found = {"measured": name, "bp or tokens": f"{length:,}", "ms": "-", "million/s": "-"}
    found |= {"peak GiB": "-", "failed": ""}
    is_cuda = torch.cuda.is_available()
    try:
        work = build()
        for _ in range(WARMUP):  # the first call compiles
            work()
        if is_cuda:
            torch.cuda.reset_peak_memory_stats()
        taken = statistics.median(seconds({name: work}, rounds, clock)[name])
        found |= {"ms": f"{1e3 * taken:.2f}", "million/s": f"{positions / taken / 1e6:.3f}"}
        if is_cuda:
            found["peak GiB"] = f"{torch.cuda.max_memory_allocated() / 2**30:.2f}"
    except torch.OutOfMemoryError:
        found["failed"] = OUT_OF_MEMORY
    except RuntimeError as error:  # reported in its row; the others are still measured
        found["failed"] = f"{type(error).__name__}: {error}".splitlines()[0]
    return found


def cases(device: str, quick: bool) -> Iterator[tuple[str, int, int, Callable[[], Work]]]:
    """Yield name, length and number of positions of each row, and the function that builds it."""
    longest, step = (2048, 2**13) if quick else (FORWARD, STEP)
    for length, task in {min(length, longest): task for length, task in TRAINED.items()}.items():
        batch = step // length
        yield f"training, {task}", length, batch * length, partial(training, task, length, batch)
    yield "forward, tss", longest, longest, partial(forward, "tss", longest, device)
    for length in dict.fromkeys(min(length, longest) for length in ATTENDED):
        for name, function in attentions(length, device).items():
            yield name, length, length, partial(attention, function, length, device)


def rows(device: str, quick: bool) -> Iterator[Row]:
    """Measure all rows, one after the other; end with an error if one failed."""
    broken = []
    for name, length, positions, build in cases(device, quick):
        gc.collect()  # so that the peak is that of this row
        found = row(name, length, positions, 2 if quick else ROUNDS, build)
        if found["failed"] not in ("", OUT_OF_MEMORY):
            broken.append(f"{name} at {length:,}")
        yield found
    if broken:
        raise SystemExit(f"error: failed for another reason than memory: {', '.join(broken)}")


def measure(chosen: argparse.Namespace) -> Iterator[Table | str]:
    """Yield the table."""
    if chosen.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif not torch.cuda.is_available():
        raise SystemExit("error: no CUDA device found; check the script with --device cpu --quick")
    yield torch.cuda.get_device_name() if chosen.device == "cuda" else "CPU"
    yield Table("", rows(chosen.device, chosen.quick))


if __name__ == "__main__":
    run(
        __doc__,
        measure,
        option("--quick", action="store_true", help="2,048 positions at most, two rounds"),
        option("--device", choices=list(KERNELS), default="cuda"),
        threads=None,
    )
