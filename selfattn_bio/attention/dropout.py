"""Dropout with torch's vectorised uniform generator.

On the CPU, torch's own dropout samples one Bernoulli variable at a time, which takes 1.8 times as
long forward and backward (`python benchmarks/dropout.py`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def dropout(x: Tensor, p: float, *, training: bool = True) -> Tensor:
    """Set a fraction `p` of `x` to 0 and scale the rest up to keep the mean.

    Numbers come from torch's global generator of the device of `x`.

    Raises
    ------
    ValueError
        If `p` is not in [0, 1).
    """
    if not 0 <= p < 1:
        raise ValueError(f"dropout is {p}; expected a fraction in [0, 1)")
    if not training or p == 0:
        return x
    # bfloat16 has only 256 steps from 0 to 1, so the numbers are sampled in float32 or better
    uniform = torch.rand_like(x.detach(), dtype=torch.promote_types(x.dtype, torch.float32))
    return x * uniform.ge_(p).mul_(1 / (1 - p)).to(x.dtype)


class Dropout(nn.Module):
    """`dropout` as a module, active only in training."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Apply dropout to a tensor of any shape."""
        return dropout(x, self.p, training=self.training)
