"""The attention encoder: pre-norm blocks of multi-head attention and a GELU feed-forward, read top to bottom.

Hides: how heads are split and joined. The network builds one; `interpret.relevance` hooks `QKVProjection`, `LayerNorm` and `GELU`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from selfattn_bio import config
from selfattn_bio.attention.dropout import Dropout
from selfattn_bio.attention.mixers import build_mixer
from selfattn_bio.attention.packing import split_heads
from selfattn_bio.attention.positions import build_absolute, build_position


class QKVProjection(nn.Module):
    """Queries, keys and values of all heads; a module of its own, so that a relevance rule can be hooked on what enters `attend`."""

    def __init__(self, embed_dim: int, head_dim: int, heads: tuple[int, ...]) -> None:
        super().__init__()
        self.heads, self.head_dim = heads, head_dim  # of queries, keys and values; without the second, queries are keys
        self.linear = nn.Linear(embed_dim, sum(self.heads) * self.head_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x (B, L, D) -> q (B, H, L, Dh), k and v (B, G, L, Dh)."""
        q, *keys, v = split_heads(self.linear(x), self.heads, self.head_dim)
        if keys:
            return q, keys[0], v
        return q.view_as(q), q.view_as(q), v  # two tensors, of whose gradients a rule takes its share of each


class SelfAttention(nn.Module):
    """Multi-head self-attention of the kind that the run file names as `mixer`."""

    def __init__(self, section: config.AttentionModel) -> None:
        super().__init__()
        self.mixer = build_mixer(section)
        num_kv_heads = section.num_kv_heads or section.num_heads
        heads = (section.num_heads, num_kv_heads) if self.mixer.keys_are_queries else (section.num_heads, num_kv_heads, num_kv_heads)
        self.qkv = QKVProjection(section.embed_dim, section.embed_dim // section.num_heads, heads)
        self.out = nn.Linear(section.embed_dim, section.embed_dim)
        self.position = build_position(section.position, section.num_heads, section.embed_dim // section.num_heads)
        self.dropout = section.dropout

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x (B, L, D), mask (B, L) -> (B, L, D)."""
        q, k, v = self.qkv(x)
        dropout = self.dropout if self.training else 0.0
        y = self.mixer(q, k, v, position=self.position, mask=mask, dropout=dropout)  # (B, H, L, Dh)
        return self.out(y.transpose(1, 2).flatten(2))  # (B, L, D)


class StochasticDepth(nn.Module):
    """In training a sequence's branch is left out with a chance, and weighs more where it is not (Huang et al. 2016)."""

    def __init__(self, chance: float) -> None:
        super().__init__()
        self.chance = chance

    def forward(self, branch: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        if not (self.training and self.chance):
            return branch
        kept = torch.rand(len(branch), 1, 1, device=branch.device) >= self.chance
        return branch * kept / (1 - self.chance)


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed-forward(norm(x))."""

    def __init__(self, section: config.AttentionModel, depth: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(section.embed_dim)
        self.attention = SelfAttention(section)
        self.feedforward_norm = nn.LayerNorm(section.embed_dim)
        self.feedforward = nn.Sequential(
            nn.Linear(section.embed_dim, section.feedforward_dim),
            nn.GELU(),
            Dropout(section.dropout),
            nn.Linear(section.feedforward_dim, section.embed_dim),
        )
        self.dropout = nn.Sequential(Dropout(section.dropout), StochasticDepth(section.stochastic_depth * depth))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x (B, L, D), mask (B, L) -> (B, L, D)."""
        x = x + self.dropout(self.attention(self.attention_norm(x), mask))
        return x + self.dropout(self.feedforward(self.feedforward_norm(x)))


class Encoder(nn.Module):
    """Places where they are absolute, `num_layers` blocks and a last norm."""

    def __init__(self, section: config.AttentionModel) -> None:
        super().__init__()
        self.place = build_absolute(section.position, section.embed_dim)
        self.blocks = nn.ModuleList(Block(section, depth=(i + 1) / section.num_layers) for i in range(section.num_layers))
        self.norm = nn.LayerNorm(section.embed_dim)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x (B, L, D), mask (B, L) bool True = token -> (B, L, D)."""
        x = self.place(x)
        for block in self.blocks:
            x = block(x, mask)
        return self.norm(x)
