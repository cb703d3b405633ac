"""The machine that a run finds: devices, processes, threads, matrix precision, generators.

Hides: the probes, seeds of 64 bits, and how processes that torchrun started find each other. The train command sets it up; the loop opens
its Fabric here.
"""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision
from lightning_fabric.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from selfattn_bio.errors import TrainingError
from selfattn_bio.model.encoder import Block

EXACT = 1e-3  # largest error of a 2,048-term float32 product of normal numbers: 8e-5 to 3e-4 when exact, .1 in bfloat16


def seed_torch(*numbers: int) -> None:
    """Seed torch's generators by all of these numbers, none negative: other numbers or another order draw anew."""
    torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1))


def use_threads(threads: int) -> int:
    """Let torch use `threads` threads, but no more than the process has cores; processes of torchrun share them. Returns their number."""
    cores = len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    usable = max(1, min(threads, cores))
    torch.set_num_threads(usable)
    return usable


def use_matmul(precision: str) -> None:
    """Set torch's float32 matrix precision for training; scoring leaves torch's own, with which its fused attention is faster.

    "medium" lets the CPU use oneDNN, which may be twice as fast and exact, but on other CPUs and on CUDA computes in lower precision: it
    is kept only if a probe against float64, on the device that trains, shows no more error than float32 has.
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
        print(f"matmul precision {precision!r} has an error of {error:.1e} on this {device}; 'highest' is used instead", flush=True)


def open_fabric(precision: str, *, sharded: bool = False) -> Fabric:
    """One device, CUDA if there is one, else the CPU; or, started by torchrun, one a process (gloo on the CPU).

    Processes each hold the network (DistributedDataParallel), or, sharded, a part of its weights, gradients and optimizer (FSDP2).

    Raises
    ------
    TrainingError
        If one process alone is asked to shard, or float16 sharded.
    """
    accelerator = "cuda" if torch.cuda.is_available() else "cpu"  # "auto" would take Apple's, on which nothing of this was run
    half: dict[str, Any] = {"precision": precision}
    if (precision, accelerator) == ("16-mixed", "cpu"):
        half = {"plugins": MixedPrecision("16-mixed", "cpu")}  # by its name Fabric would take bfloat16
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        if sharded:
            cure = "Start it by torchrun --nproc-per-node=N -m selfattn_bio.cli.main train ..."
            raise TrainingError("sharded training must have several processes, got one", cure=cure)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The `srun` command is available")  # one process is what was asked for
            return Fabric(accelerator=accelerator, devices=1, **half)
    processes, here = int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
    strategy: str | ModelParallelStrategy = "ddp"
    if sharded:
        if precision == "16-mixed":
            raise TrainingError("sharded training must be of precision 32-true or bf16-mixed, got '16-mixed'")
        strategy = ModelParallelStrategy(_shard, data_parallel_size=processes, tensor_parallel_size=1, save_distributed_checkpoint=False)
    fabric = Fabric(accelerator=accelerator, strategy=strategy, devices=here, num_nodes=processes // here, **half)
    fabric.launch()
    return fabric


def _shard(network: nn.Module, mesh: DeviceMesh) -> nn.Module:
    """Each block a unit of its own, gathered when it is its turn, and the rest of the network one."""
    for module in network.modules():
        if isinstance(module, Block):
            fully_shard(module, mesh=mesh["data_parallel"])
    fully_shard(network, mesh=mesh["data_parallel"])
    return network


def whole(tensor: Tensor) -> Tensor:
    """A tensor of which each process may hold a part, gathered; all processes must ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def part_of(value: Tensor, like: Tensor) -> Tensor:
    """A whole tensor as `like` is held: this process's part of it, or as it is."""
    if isinstance(like, DTensor) and value.shape == like.shape:
        return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)
    return value
