"""Relative positions: what the distance of two tokens does to their attention score.

Hides: buckets, tables, rotations. Each position is a module with two hooks that `attend` calls: `rotate(q, k)` before the product
and `bias(length)` after it. The encoder gives each layer its own.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from selfattn_bio import config


class NoPosition(nn.Module):
    """Attention that does not see where a token stands; the base of all positions."""

    def rotate(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """q, k (B, H, L, Dh) as they enter the product; here unchanged."""
        return q, k

    def bias(self, length: int) -> Tensor | None:
        """(H, L, L) added to the scores, or None."""
        return None


class T5Bias(NoPosition):
    """A learned bias per head and bucket of the signed distance key - query.

    Half of the buckets serve each direction; in each half the first half are single distances, the rest grow logarithmically up to
    `max_distance`, beyond which all share the last. O(L^2) as used here, from a table of (num_buckets, H).

    Source: Raffel et al. 2020; buckets checked against Hugging Face `T5Attention._relative_position_bucket`, bidirectional.
    """

    def __init__(self, num_heads: int, num_buckets: int = 32, max_distance: int = 128) -> None:
        super().__init__()
        if max_distance <= num_buckets // 4:
            raise ValueError(f"max_distance must be > num_buckets / 4 ({num_buckets // 4}), got {max_distance}")
        self.num_buckets, self.max_distance = num_buckets, max_distance
        self.table = nn.Embedding(num_buckets, num_heads)
        nn.init.normal_(self.table.weight, std=0.02)

    def buckets(self, length: int) -> Tensor:
        """(length, length) int64: the bucket of key - query."""
        at = torch.arange(length, device=self.table.weight.device)
        distance = at[None, :] - at[:, None]
        half, exact = self.num_buckets // 2, self.num_buckets // 4
        steps = (distance.abs().clamp(min=exact) / exact).log() / math.log(self.max_distance / exact) * (half - exact)
        far = (exact + steps.to(torch.int64)).clamp(max=half - 1)
        return torch.where(distance > 0, half, 0) + torch.where(distance.abs() < exact, distance.abs(), far)

    def bias(self, length: int) -> Tensor:
        """(H, L, L), in the precision of the table."""
        return self.table(self.buckets(length)).permute(2, 0, 1)  # (L, L, H) -> (H, L, L)


class Rotary(NoPosition):
    """Queries and keys rotated in pairs of dimensions by position x base^(-2i / Dh): the product depends on the distance alone.

    Pairs are (i, i + Dh/2), as in Hugging Face's `rotate_half`, which it was checked with. Source: Su et al. 2021 (RoFormer).
    """

    frequencies: Tensor

    def __init__(self, head_dim: int, base: float = 10_000.0) -> None:
        super().__init__()
        if head_dim % 2:
            raise ValueError(f"head_dim must be even for rotary, got {head_dim}")
        # float64 until it meets q: in float32 the angle of token 100,000 is off by 0.004.
        frequencies = base ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def rotate(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """q, k (B, H, L, Dh) -> the same, rotated."""
        at = torch.arange(q.shape[-2], dtype=torch.float64, device=q.device)
        angles = torch.outer(at, self.frequencies.to(torch.float64)).repeat(1, 2)  # (L, Dh)
        cos, sin = angles.cos().to(q.dtype), angles.sin().to(q.dtype)
        return q * cos + _turned(q) * sin, k * cos + _turned(k) * sin


def _turned(x: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)


def build_position(section: config.T5Position | config.RotaryPosition | config.NoPosition, num_heads: int, head_dim: int) -> NoPosition:
    """The position module that the run file names."""
    if isinstance(section, config.T5Position):
        return T5Bias(num_heads, section.num_buckets, section.max_distance)
    if isinstance(section, config.RotaryPosition):
        return Rotary(head_dim, section.base)
    return NoPosition()
