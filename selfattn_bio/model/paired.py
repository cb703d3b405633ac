"""The network for two inputs: two encoders, and cross-attention from the first to its partner.

The tokens of both inputs form one tensor (B, N): first the padded tokens of the first input, then
the padded tokens of the partner. Partner ids start after the vocabulary of the first input, so that
one table embeds both. 0 is padding in both.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from selfattn_bio import config
from selfattn_bio.attention.attend import cross_attention
from selfattn_bio.attention.dropout import Dropout
from selfattn_bio.attention.positions import build_position
from selfattn_bio.model.encoder import build_encoder, feed_forward, split_heads
from selfattn_bio.model.heads import build_head
from selfattn_bio.model.stem import build_stem

# mask values: the input that a token belongs to (single-input masks are bool)
FIRST, PARTNER = 1, 2


class CrossProjection(nn.Module):
    """Project queries of the first input, and keys and values of its partner.

    It is a separate module so that attribution rules can be hooked on it, like `QKVProjection`.
    """

    def __init__(self, section: config.AttentionModel, partner_dim: int) -> None:
        super().__init__()
        self.num_heads, self.head_dim = section.num_heads, section.head_dim
        self.num_groups = section.num_groups
        self.query = nn.Linear(section.embed_dim, section.embed_dim)
        self.key_value = nn.Linear(partner_dim, 2 * self.num_groups * self.head_dim)

    def forward(self, x: Tensor, partner: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map x (B, L, D) and partner (B, M, D2) to q (B, H, L, Dh), k and v (B, G, M, Dh)."""
        (q,) = split_heads(self.query(x), (self.num_heads,), self.head_dim)
        k, v = split_heads(
            self.key_value(partner), (self.num_groups, self.num_groups), self.head_dim
        )
        return q, k, v


class CrossBlock(nn.Module):
    """Compute x + cross-attention(norm(x), partner), then x + feed-forward(norm(x)).

    Parameters
    ----------
    section
        Section [model.encoder] of the first input, with its sizes and dropouts.
    partner_dim
        Size D2 of the partner's vectors.
    position
        Encoding of the distance between a position of the first input and one of the partner.
    """

    def __init__(
        self, section: config.AttentionModel, partner_dim: int, position: config.AnyPosition
    ) -> None:
        super().__init__()
        dim = section.embed_dim
        self.attention_norm = nn.LayerNorm(dim)
        self.project = CrossProjection(section, partner_dim)
        self.position = build_position(position, section.num_heads, section.head_dim)
        self.out = nn.Linear(dim, dim)
        self.feedforward_norm = nn.LayerNorm(dim)
        self.feedforward = feed_forward(dim, section.feedforward_dim, section.dropout)
        self.dropout, self.attention_dropout = Dropout(section.dropout), section.attention_dropout

    def forward(self, x: Tensor, partner: Tensor, partner_mask: Tensor) -> Tensor:
        """Map x (B, L, D), normalised partner (B, M, D2) and partner_mask (B, M) to (B, L, D)."""
        q, k, v = self.project(self.attention_norm(x), partner)
        p = self.attention_dropout if self.training else 0.0
        # (B, H, L, Dh)
        y = cross_attention(q, k, v, position=self.position, mask=partner_mask, dropout=p)
        x = x + self.dropout(self.out(y.transpose(1, 2).flatten(2)))
        return x + self.dropout(self.feedforward(self.feedforward_norm(x)))


class PairedBody(nn.Module):
    """Encode both inputs, attend from the first to its partner, and apply the head to the first."""

    def __init__(self, section: config.PairedModel, num_outputs: int, objective: Any) -> None:
        super().__init__()
        first, partner = section.encoder, section.of_partner
        self.stem = build_stem(first.stem, first.embed_dim, first.dropout)
        self.encoder = build_encoder(first)
        self.partner_stem = build_stem(partner.stem, partner.embed_dim, partner.dropout)
        self.partner_encoder = build_encoder(partner)
        self.cross = nn.ModuleList(
            CrossBlock(first, partner.embed_dim, section.cross_position)
            for _ in range(section.cross_layers)
        )
        self.norm = nn.LayerNorm(first.embed_dim)
        self.head = build_head(first, num_outputs, objective)
        self.token_dim = self.stem.token_dim

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map x (B, N, token_dim) of both inputs to outputs (B, C).

        The mask (B, N) int8 is FIRST, PARTNER or 0 (padding).
        """
        # index of the partner's first token
        start = int((mask == PARTNER).any(0).to(torch.int8).argmax())
        partner, partner_mask = self.partner_stem(x[:, start:], mask[:, start:] == PARTNER)
        partner = self.partner_encoder(partner, partner_mask)  # (B, M, D2)
        x, own_mask = self.head.add_prefix(*self.stem(x[:, :start], mask[:, :start] == FIRST))
        x = self.encoder(x, own_mask)  # (B, L, D)
        for block in self.cross:
            x = block(x, partner, partner_mask)
        return self.head(self.norm(x), own_mask)
