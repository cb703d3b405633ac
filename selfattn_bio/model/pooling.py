"""Pooling of groups of tokens without padding."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import max_pool1d, max_pool2d, pad


def pool_mask(mask: Tensor, pool: int) -> Tensor:
    """Return which groups of `pool` tokens contain a token: (B, N) bool -> (B, ceil(N / pool))."""
    return pad(mask, (0, -mask.shape[1] % pool)).unflatten(1, (-1, pool)).any(-1)


def max_pool(x: Tensor, mask: Tensor, pool: int) -> tuple[Tensor, Tensor]:
    """Return the maximum of each group of `pool` tokens, 0 for groups of padding, and their mask.

    x is (B, C, N), or an image of height 1, (B, C, 1, N), whose memory format is kept. The mask is
    (B, N) bool, True = token.
    """
    pooled_mask = pool_mask(mask, pool)
    # Images are padded to complete groups: with ceil_mode, gradients differ in the last bits.
    missing = -x.shape[-1] % pool if x.dim() == 4 else 0
    if fills := missing > 0 or not bool(mask.all()):
        x = x.masked_fill(~_along(mask, x), float("-inf"))
    if x.dim() == 3:
        x = max_pool1d(x, pool, ceil_mode=True)
    else:
        x = max_pool2d(pad(x, (0, missing), value=float("-inf")) if fills else x, (1, pool))
    return x.masked_fill(~_along(pooled_mask, x), 0.0) if fills else x, pooled_mask


def _along(mask: Tensor, x: Tensor) -> Tensor:
    """Return the mask with dimensions of size 1 between those of the batch and the tokens."""
    return mask.view(len(mask), *[1] * (x.dim() - 2), -1)
