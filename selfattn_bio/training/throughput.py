"""How much of what the machine can do a training does: the operations of its network beside the machine's own matrix product.

Hides: how operations are counted, and the probe of the peak. The loop alone uses it.
"""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn

from selfattn_bio.model.encoder import SelfAttention

BACKWARD = 3  # forward and backward take three times the forward: a product a gradient of two
PROBE = {"cpu": 512, "cuda": 8192}  # rows and columns of the matrices
ROUNDS = 10


class FlopCounter:
    """Floating-point operations of all training steps of a network so far, by its linear layers, convolutions and attended pairs.

    A multiplication and an addition are two. Padding is counted, as it is computed; what is done twice to save memory is counted once (as
    in the PaLM paper's model flops utilisation, Chowdhery et al. 2022), and layers that are frozen as if they were not.
    """

    def __init__(self, network: nn.Module, start: float = 0.0) -> None:
        self.total = start
        for module in network.modules():
            if isinstance(module, nn.Linear):
                module.register_forward_hook(self._linear)
            elif isinstance(module, nn.Conv1d):
                module.register_forward_hook(self._convolution)
            elif isinstance(module, SelfAttention):
                module.register_forward_hook(self._attention)

    def _linear(self, module: nn.Linear, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self._add(module, output.numel() * module.in_features)

    def _convolution(self, module: nn.Conv1d, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self._add(module, output.numel() * module.in_channels // module.groups * module.kernel_size[0])

    def _attention(self, module: SelfAttention, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        batch, length = output.shape[:2]
        self._add(module, batch * module.out.in_features * 2 * module.mixer.num_pairs(length))  # queries with keys, weights with values

    def _add(self, module: nn.Module, products: int) -> None:
        if module.training:
            self.total += 2 * BACKWARD * products


def gemm_peak(device: torch.device, precision: str) -> float:
    """Floating-point operations a second of a large square matrix product, with the threads and precision as set: the best of some."""
    size, dtype = PROBE[device.type], {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(precision, torch.float32)
    a, b = (torch.ones(size, size, device=device, dtype=dtype) for _ in range(2))
    seconds = []
    for _ in range(ROUNDS + 1):  # the first one warms up
        start = time.perf_counter()
        product = a @ b
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    del product
    return 2 * size**3 / min(seconds[1:])
