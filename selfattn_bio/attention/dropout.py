"""Dropout whose random bits are drawn four to a 64-bit number.

Hides: the draw. On the CPU torch's own dropout takes one draw of a scalar generator per element: 27 % of a training step of the
promoter model, against 8 % for this one (`python -m benchmarks.dropout`). Attention and model use it; others have no need to.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_LEVELS = 1 << 16


def dropout(x: Tensor, share: float, *, training: bool = True) -> Tensor:
    """Set a share of `x` to 0 and let the rest grow to keep the mean; from torch's global generator of x's device.

    `share` is rounded to a multiple of 2^-16.

    Raises
    ------
    ValueError
        If `share` is not in [0, 1).
    """
    if not 0 <= share < 1:
        raise ValueError(f"dropout must be in [0, 1), got {share}")
    dropped = round(share * _LEVELS)
    if not training or dropped == 0:
        return x
    draws = torch.empty((x.numel() + 3) // 4, dtype=torch.int64, device=x.device).random_(-(2**63), None)
    kept = draws.view(torch.int16)[: x.numel()].view(x.shape) >= dropped - _LEVELS // 2
    return x * (kept * (_LEVELS / (_LEVELS - dropped))).to(x.dtype)


class Dropout(nn.Module):
    """`dropout` as a module: active in training only."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same."""
        return dropout(x, self.share, training=self.training)
