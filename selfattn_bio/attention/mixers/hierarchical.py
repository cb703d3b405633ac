"""Attention on two levels: a window over the tokens, and all pairs of pooled tokens.

A coarse token is the mean of the queries, keys and values of `pool` tokens; padding is not counted.
Each token gets the output of its coarse token, mixed with that of the window by a learned fraction
per head. The distance of two coarse tokens is that of their first tokens. Rotary positions rotate
tokens before they are pooled. Both levels use `attend`.

References
----------
Zhu and Soricut 2021 (H-Transformer-1D). Their version has more levels, and coarse levels leave out
pairs that finer levels cover.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from selfattn_bio.attention.attend import attend
from selfattn_bio.attention.mask import AttentionMask, as_mask
from selfattn_bio.attention.mixers.base import Mixer, work_dtype
from selfattn_bio.attention.patterns import Window, num_pairs
from selfattn_bio.attention.positions import PositionCache, RelativePosition, Terms, look_up


class Hierarchical(Mixer):
    """Window and pooled attention: out = (1 - s) near + s far.

    `near` attends to `window` tokens on each side, `far` to all coarse tokens. The fraction s of
    each head is sigmoid(share), with the learned parameter `share`.
    """

    def __init__(self, num_heads: int, window: int, pool: int) -> None:
        super().__init__()
        self.window, self.pool = Window(window), pool
        self.share = nn.Parameter(torch.zeros(num_heads))

    def forward(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *,
        position: RelativePosition,
        mask: AttentionMask | Tensor | None = None,
        dropout: float = 0.0,
    ) -> Tensor:
        """Compute the output of attention; see `Mixer.forward`."""
        mask = as_mask(mask, q)
        near = attend(q, k, v, pattern=self.window, position=position, mask=mask, dropout=dropout)
        if 0 in q.shape:
            return near
        length, real = mask.length, mask.tokens
        q, k = position.rotate(q, k, mask.positions)
        count = self._pooled(real[:, None, :, None].to(work_dtype(q)))  # (B, 1, M, 1)
        q, k, v = (
            (self._pooled(x * real[:, None, :, None]) / count.clamp(min=1)).to(x.dtype)
            for x in (q, k, v)
        )  # (B, H, M, Dh)
        coarse = mask.once(("coarse", self.pool), lambda: AttentionMask(count[:, 0, :, 0] > 0))
        far = attend(q, k, v, position=_Coarse(position, self.pool), mask=coarse, dropout=dropout)
        far = far.repeat_interleave(self.pool, dim=2)[:, :, :length]
        return near + self.share.sigmoid().to(near.dtype)[:, None, None] * (far - near)

    def num_pairs(self, length: int) -> int:
        """Return the pairs of the window plus all pairs of coarse tokens."""
        return num_pairs(self.window, length) + (-(-length // self.pool)) ** 2

    def _pooled(self, x: Tensor) -> Tensor:
        """Sum groups of `pool` tokens in at least float32.

        Maps (B, H, L, n) to (B, H, ceil(L / pool), n).
        """
        return (
            pad(x, (0, 0, 0, -x.shape[2] % self.pool))
            .unflatten(2, (-1, self.pool))
            .sum(3, dtype=work_dtype(x))
        )


class _Coarse(RelativePosition):
    """Position terms between tokens that are `pool` apart. The tokens are already rotated."""

    def __init__(self, position: RelativePosition, pool: int) -> None:
        super().__init__()
        self.position, self.pool = position, pool

    def terms(self, q: Tensor, reach: int, cache: PositionCache | None = None) -> Terms:
        bias = self.position.terms(q, reach * self.pool, cache).bias
        at = torch.arange(-reach, reach + 1, device=q.device) * self.pool
        return Terms(bias=None if bias is None else look_up(bias, at))
