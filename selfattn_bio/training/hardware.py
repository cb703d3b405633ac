"""Set up the machine for a run: devices, processes, threads, precision, random generators.

Processes started by torchrun find each other here. With `precision = "auto"` a rule decides, not a
timing: a timing depends on other processes, so two trainings of the same task on the same machine
could end with different weights.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision
from numpy.typing import NDArray

from selfattn_bio.config import ModuleModel, RunFile
from selfattn_bio.files import write_text
from selfattn_bio.log import LOG
from selfattn_bio.process import available_cores

# Largest allowed error of a matrix product over 2,048 normal numbers. It is 8e-5 to 3e-4 in float32
# and 0.1 in bfloat16.
EXACT = 1e-3


def seed_torch(*numbers: int) -> None:
    """Seed torch's generators from non-negative numbers; their order matters."""
    torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1))


def use_matmul(precision: str) -> None:
    """Set torch's float32 matrix precision for training.

    With "medium", some CPUs compute twice as fast in oneDNN without loss of precision, but other
    CPUs and CUDA compute in lower precision. The setting is therefore tested on the training device
    against float64, and replaced by "highest" with a message if its error is larger than that of
    float32. Scoring keeps torch's default, with which fused attention is faster.
    """
    torch.set_float32_matmul_precision(precision)
    if precision == "highest":
        return
    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(256, 2048, generator=generator).to(device) for _ in range(2))
    error = float(((a @ b.T).double() - a.double() @ b.double().T).abs().max())
    if error > EXACT:
        torch.set_float32_matmul_precision("highest")
        # no warning: with the default, this is the normal case on CUDA
        LOG.info(
            f"matmul precision {precision!r} has an error of {error:.1e} on this {device}; "
            "'highest' is used instead"
        )


@contextmanager
def training_settings(threads: int, matmul: str) -> Iterator[int]:
    """Set torch's threads and matrix precision for a training, and restore them at the end.

    Yields the number of threads, at most that of the available cores, which processes of torchrun
    share. Scores after a training in Python then equal those of a command, which runs in another
    process.
    """
    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    cores = available_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    usable = max(1, min(threads, cores))
    try:
        torch.set_num_threads(usable)
        use_matmul(matmul)
        yield usable
    finally:
        torch.set_num_threads(before[0])
        torch.set_float32_matmul_precision(before[1])


def open_fabric(precision: str) -> Fabric:
    """Open Fabric on CUDA if available, otherwise on the CPU.

    Without torchrun it uses one device; with torchrun, one per process (gloo on the CPU). Each
    process holds the complete network (DistributedDataParallel).
    """
    # "auto" could choose Apple's GPU, which is untested
    accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    half: dict[str, Any] = {"precision": precision}
    if precision in ("16-mixed", "bf16-mixed"):
        # By name, Fabric would print a line, and choose bfloat16 instead of float16 on the CPU.
        half = {"plugins": MixedPrecision(precision, accelerator)}  # type: ignore[arg-type]
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        with warnings.catch_warnings():
            # one process is intended
            warnings.filterwarnings("ignore", message="The `srun` command is available")
            return Fabric(accelerator=accelerator, devices=1, **half)
    processes, here = int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
    fabric = Fabric(
        accelerator=accelerator,
        strategy="ddp",
        devices=here,
        num_nodes=processes // here,
        **half,
    )
    fabric.launch()
    return fabric


def sum_of_all(fabric: Fabric, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum over the processes; all processes must call this."""
    if fabric.world_size == 1:
        return values
    mine = torch.from_numpy(values).to(fabric.device)
    return fabric.all_reduce(mine, reduce_op="sum").cpu().numpy()  # type: ignore[union-attr]


def max_of_all(fabric: Fabric, value: int) -> int:
    """Return the maximum over the processes; all processes must call this."""
    if fabric.world_size == 1:
        return value
    mine = torch.tensor(value, device=fabric.device)
    return int(fabric.all_reduce(mine, reduce_op="max"))  # type: ignore[arg-type]


PRECISION_FILE = "precision"  # in the folder of the checkpoints


def with_precision(run: RunFile, checkpoints: Path | None = None) -> RunFile:
    """Replace precision "auto" of a run by that of its first start, or else of this machine.

    Parameters
    ----------
    run
        The run file.
    checkpoints
        Folder of the checkpoints, which may be missing.
    """
    if run.training.precision != "auto":
        return run
    file = checkpoints / PRECISION_FILE if checkpoints else None
    if file and file.exists():
        precision = file.read_text(encoding="utf-8").strip()
    else:
        precision = "32-true" if isinstance(run.model, ModuleModel) else fast_precision()
    training = run.training.model_copy(update={"precision": precision})
    return run.model_copy(update={"training": training})


def keep_precision(run: RunFile, checkpoints: Path) -> None:
    """Write the precision of a run to the folder of its checkpoints, for `with_precision`."""
    write_text(checkpoints / PRECISION_FILE, f"{run.training.precision}\n")


def fast_precision() -> str:
    """Return "bf16-mixed" if this machine has instructions for bfloat16, otherwise "32-true".

    These are AMX or AVX512-BF16 on the CPU, and the matrix units of GPUs from Ampere on.
    """
    if torch.cuda.is_available():
        has_instructions = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has_instructions = (
            torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
        )
    return "bf16-mixed" if has_instructions else "32-true"
