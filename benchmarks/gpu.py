"""Our attention layer beside other libraries' on a CUDA device: bfloat16, 8,192 to 1,048,576 tokens, forward and backward.

Milliseconds by CUDA events, medians of rounds interleaved in one process, and the peak memory of a round. A layer that runs out of memory
has no figure, one over all pairs none beyond `DENSE_LIMIT`. Ours has a T5 bias with its gradient. Needs the bench extra.
Run: `python benchmarks/gpu.py`; docs/attention.md says on what it has been run.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

import peers
import torch
import transformers
from torch import nn

from selfattn_bio.config import NoPosition
from selfattn_bio.model.encoder import SelfAttention

LENGTHS = (8192, 32_768, 131_072, 524_288, 1_048_576)
DENSE_LIMIT = 131_072  # tokens; attention over all pairs takes minutes beyond
ROUNDS = 5

Round = Callable[[], tuple[float, float]]


def layers(length: int) -> dict[str, nn.Module]:
    """The layers at one length."""
    found: dict[str, nn.Module] = {
        "ours, flex, T5": peers.Ours(SelfAttention(peers.section("flex", peers.WINDOWED))),
        "ours, slab, T5": peers.Ours(SelfAttention(peers.section("slab", peers.WINDOWED))),
        "ours, flex, BigBird pattern": peers.Ours(SelfAttention(peers.section("flex", peers.BIGBIRD, NoPosition()))),
        "local-attention": peers.local_attention(),
        "HF Longformer": peers.hugging_face_layer("Longformer", length),
    }
    if length <= DENSE_LIMIT:
        found["dense SDPA"] = peers.DenseSdpa()
    return found


def on_device(layer: nn.Module) -> nn.Module:
    """The layer on the GPU in bfloat16, and what a Hugging Face layer is called with."""
    if isinstance(layer, peers.HuggingFaceLayer):
        layer.inputs = {name: value.cuda() if isinstance(value, torch.Tensor) else value for name, value in layer.inputs.items()}
    return layer.to("cuda", torch.bfloat16).train()


def round_of(layer: nn.Module, length: int) -> Round:
    """Forward and backward once -> milliseconds, peak GiB."""
    x, grad = (torch.randn(1, length, peers.DIM, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    x.requires_grad_()

    def run() -> tuple[float, float]:
        layer.zero_grad(set_to_none=True)
        torch.cuda.reset_peak_memory_stats()
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        layer(x).backward(grad)
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end), torch.cuda.max_memory_allocated() / 2**30

    return run


def measured(length: int) -> dict[str, tuple[float, float] | str]:
    """Each layer's medians over the rounds, or why there are none."""
    found: dict[str, tuple[float, float] | str] = {}
    rounds: dict[str, Round] = {}
    for name, layer in layers(length).items():
        try:
            rounds[name] = round_of(on_device(layer), length)
            rounds[name]()  # compiles
        except torch.OutOfMemoryError:
            found[name] = "out of memory"
            del rounds[name]
            torch.cuda.empty_cache()
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in rounds}
    for _ in range(ROUNDS):
        for name, run in rounds.items():
            times[name].append(run())
    for name, values in times.items():
        milliseconds, memory = (statistics.median(side) for side in zip(*values, strict=True))
        found[name] = milliseconds, memory
    return found


def main() -> None:
    """Print a table for each length."""
    if not torch.cuda.is_available():
        raise SystemExit("benchmarks/gpu.py must run on a machine with a CUDA device, got none")
    transformers.logging.set_verbosity_error()
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, bfloat16, window {peers.WINDOW} to each side, forward and backward")
    for length in LENGTHS:
        print(f"\n{length:,} tokens{'':22} {'ms':>10} {'us/token':>10} {'peak GiB':>10}")
        for name, value in measured(length).items():
            if isinstance(value, str):
                print(f"{name:32} {value}")
            else:
                print(f"{name:32} {value[0]:10.2f} {1000 * value[0] / length:10.3f} {value[1]:10.2f}", flush=True)


if __name__ == "__main__":
    main()
