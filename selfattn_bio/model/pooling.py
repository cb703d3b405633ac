"""Pooling of groups of tokens without padding."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d, pad


def pool_mask(mask: Tensor, pool: int) -> Tensor:
    """Return which groups of `pool` tokens contain a token: (B, N) bool -> (B, ceil(N / pool))."""
    return pad(mask, (0, -mask.shape[1] % pool)).unflatten(1, (-1, pool)).any(-1)


def max_pool(x: Tensor, mask: Tensor, pool: int) -> tuple[Tensor, Tensor]:
    """Return the maximum of each group of `pool` tokens, 0 for groups of padding, and their mask.

    Padding in x is overwritten.

    x is (B, C, N), or an image of height 1, (B, C, 1, N), whose memory format is kept. The mask is
    (B, N) bool, True = token.
    """
    pooled_mask = pool_mask(mask, pool)
    # Images are padded to complete groups: with ceil_mode, gradients differ in the last bits.
    missing = -x.shape[-1] % pool if x.dim() == 4 else 0
    if fills := missing > 0 or not bool(mask.all()):
        # In place and by indices, because copying x takes as long as the pooling. Autograd need not
        # know: gradients at padding are 0, because groups of padding are set to 0 below, and no
        # convolution or norm needs its output for gradients.
        x.data.movedim(-1, 1)[(~mask).nonzero(as_tuple=True)] = float("-inf")
    if x.dim() == 3:
        found: Tensor = _Maxima.apply(x.transpose(1, 2), pool)
        x = found.transpose(1, 2)
    else:
        x = max_pool2d(pad(x, (0, missing), value=float("-inf")) if fills else x, (1, pool))
    if not bool(pooled_mask.all()):
        x = x.masked_fill(~_along(pooled_mask, x), 0.0)
    return x, pooled_mask


class _Maxima(torch.autograd.Function):
    """Maximum of each group of rows. The gradient of torch copies (B, N, C) twice."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, pool: int) -> Tensor:
        """Map rows (B, N, C) to (B, ceil(N / pool), C)."""
        image = rows.transpose(1, 2).unsqueeze(2)  # (B, C, 1, N)
        maxima, at = max_pool2d(image, (1, pool), ceil_mode=True, return_indices=True)
        ctx.save_for_backward(at.squeeze(2).transpose(1, 2))
        ctx.shape = rows.shape
        return maxima.squeeze(2).transpose(1, 2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Return the gradient of the rows: that of a maximum at its position, 0 elsewhere."""
        (at,) = ctx.saved_tensors  # (B, M, C)
        return gradient.new_zeros(ctx.shape).scatter_(1, at, gradient), None


def _along(mask: Tensor, x: Tensor) -> Tensor:
    """Return the mask with dimensions of size 1 between those of the batch and the tokens."""
    return mask.view(len(mask), *[1] * (x.dim() - 2), -1)
