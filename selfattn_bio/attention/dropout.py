"""Dropout with torch's vectorised uniform generator.

On the CPU, torch's own dropout samples one Bernoulli variable at a time, which takes 1.8 times as
long forward and backward (`python benchmarks/dropout.py`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def dropout(x: Tensor, share: float, *, training: bool = True) -> Tensor:
    """Set a fraction `share` of `x` to 0 and scale the rest up to keep the mean.

    Numbers come from torch's global generator of the device of `x`.

    Raises
    ------
    ValueError
        If `share` is not in [0, 1).
    """
    if not 0 <= share < 1:
        raise ValueError(f"dropout must be in [0, 1), got {share}")
    if not training or share == 0:
        return x
    # bfloat16 has only 256 steps from 0 to 1, so the numbers are sampled in float32 or better
    drawn = torch.rand_like(x.detach(), dtype=torch.promote_types(x.dtype, torch.float32))
    return x * drawn.ge_(share).mul_(1 / (1 - share)).to(x.dtype)


class Dropout(nn.Module):
    """`dropout` as a module, active only in training."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """Apply dropout to a tensor of any shape."""
        return dropout(x, self.share, training=self.training)
