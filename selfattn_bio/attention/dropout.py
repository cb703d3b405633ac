"""Dropout with four random numbers from one call of torch's generator.

On the CPU, torch's own dropout samples one Bernoulli variable at a time and takes four times as
long.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

VALUES = 2**16  # equally likely values of a random number


def dropout(x: Tensor, p: float, *, training: bool = True) -> Tensor:
    """Set a fraction `p` of `x` to 0 and scale the rest up to keep the mean.

    `p` is rounded to a multiple of 1 / 65,536. Numbers come from torch's global generator of the
    device of `x`.

    Raises
    ------
    ValueError
        If `p` is not in [0, 1).
    """
    if not 0 <= p < 1:
        raise ValueError(f"dropout is {p}; expected a fraction in [0, 1)")
    if not training or p == 0:
        return x
    dropped = min(round(p * VALUES), VALUES - 1)
    bits = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device)
    numbers = bits.random_(-(2**63), None).view(torch.int16)  # -32,768 to 32,767
    # in the memory layout of x, because products of different layouts are slow
    numbers = numbers.as_strided(x.shape, torch.empty_like(x, device="meta").stride())
    # in place and in int16, because torch converts bool to other types slowly
    kept = numbers.ge_(dropped - VALUES // 2).to(x.dtype)
    return x * kept.mul_(VALUES / (VALUES - dropped))


class Dropout(nn.Module):
    """`dropout` as a module, active only in training."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Apply dropout to a tensor of any shape."""
        return dropout(x, self.p, training=self.training)
