"""Dropout from torch's vectorised uniform generator.

Hides: the draw. On the CPU torch's own dropout draws one Bernoulli variable at a time, which takes 1.8 times as long forward and
backward (`python benchmarks/dropout.py`). Attention and model use it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def dropout(x: Tensor, share: float, *, training: bool = True) -> Tensor:
    """Set a share of `x` to 0 and let the rest grow to keep the mean; from torch's global generator of x's device.

    Raises
    ------
    ValueError
        If `share` is not in [0, 1).
    """
    if not 0 <= share < 1:
        raise ValueError(f"dropout must be in [0, 1), got {share}")
    if not training or share == 0:
        return x
    # bfloat16 has 256 steps from 0 to 1, which a share falls between: the draw is in float32 at least.
    drawn = torch.rand_like(x.detach(), dtype=torch.promote_types(x.dtype, torch.float32))
    return x * drawn.ge_(share).mul_(1 / (1 - share)).to(x.dtype)


class Dropout(nn.Module):
    """`dropout` as a module: active in training only."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same."""
        return dropout(x, self.share, training=self.training)
