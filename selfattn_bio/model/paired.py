"""The network for two inputs: two encoders, and cross-attention from the first to its partner.

The tokens of both inputs form one tensor (B, N): first the padded tokens of the first input, then
the padded tokens of the partner. Partner ids start after the vocabulary of the first input, so that
one table embeds both. 0 is padding in both. `OneInput` fixes one input, so that attribution methods
can explain the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from selfattn_bio.attention.cross import cross_attention
from selfattn_bio.attention.dropout import Dropout
from selfattn_bio.model.encoder import (
    Encoder,
    Position,
    feed_forward,
    head_sizes,
    new_position,
    split_heads,
)
from selfattn_bio.model.heads import Head
from selfattn_bio.model.stem import Stem
from selfattn_bio.sequence.kmers import PAD

# mask values: the input that a token belongs to (single-input masks are bool)
FIRST, PARTNER = 1, 2


class CrossProjection(nn.Module):
    """Project queries of the first input, and keys and values of its partner.

    It is a separate module so that attribution rules can be hooked on it, like `QKVProjection`.
    """

    def __init__(
        self, embed_dim: int, num_heads: int, partner_dim: int, num_kv_heads: int | None = None
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.head_dim, self.num_groups = head_sizes(embed_dim, num_heads, num_kv_heads)
        self.query = nn.Linear(embed_dim, embed_dim)
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
    embed_dim, num_heads
        Sizes D and H of the first input.
    partner_dim
        Size D2 of the partner's vectors.
    position
        Encoding of the distance between a position of the first input and one of the partner.
    num_kv_heads, feedforward_dim, dropout
        As in `Encoder`.
    attention_dropout
        Fraction of the attention weights set to 0 in training.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        partner_dim: int,
        *,
        position: Position | None = None,
        num_kv_heads: int | None = None,
        feedforward_dim: int,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(embed_dim)
        self.project = CrossProjection(embed_dim, num_heads, partner_dim, num_kv_heads)
        self.position = new_position(position)
        self.out = nn.Linear(embed_dim, embed_dim)
        self.feedforward_norm = nn.LayerNorm(embed_dim)
        self.feedforward = feed_forward(embed_dim, feedforward_dim, dropout)
        self.dropout, self.attention_dropout = Dropout(dropout), attention_dropout

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

    def __init__(
        self,
        stem: Stem,
        encoder: Encoder,
        partner_stem: Stem,
        partner_encoder: Encoder,
        cross: Iterable[CrossBlock],
        head: Head,
    ) -> None:
        super().__init__()
        self.stem, self.encoder = stem, encoder
        self.partner_stem, self.partner_encoder = partner_stem, partner_encoder
        self.cross = nn.ModuleList(cross)
        self.norm = nn.LayerNorm(encoder.norm.normalized_shape)
        self.head = head
        self.token_dim = stem.token_dim

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


class Graded(nn.Module):
    """Interpolate the embeddings of numeric track levels.

    The embedding of each level lies on the line from the lowest to the highest level.
    """

    def __init__(self, lowest: int, highest: int) -> None:
        super().__init__()
        self.lowest, self.highest = lowest, highest

    def forward(self, table: Tensor) -> Tensor:
        """Map the embedding table (V, D) to a table (V, D) with interpolated levels."""
        at = torch.linspace(
            0, 1, self.highest - self.lowest + 1, device=table.device, dtype=table.dtype
        )[:, None]
        levels = table[self.lowest] * (1 - at) + table[self.highest] * at
        return torch.cat((table[: self.lowest], levels, table[self.highest + 1 :]))


class OneInput(nn.Module):
    """Hold one input of a paired network fixed, so that the other can be explained alone.

    Parameters
    ----------
    network
        The `PairedNetwork`.
    held
        Tokens of the fixed input with the ids of the network, (S, N'). Row i belongs to the rows
        i, i + S, i + 2 S, ... of the other input.
    partner
        Whether the free input is the partner.
    """

    network: Any
    has_embeddings = True

    def __init__(self, network: nn.Module, held: Tensor, *, partner: bool) -> None:
        super().__init__()
        self.network, self.held, self.partner = network, held, partner

    @property
    def members(self) -> nn.ModuleList:
        """Return the members of the network."""
        return self.network.members

    @property
    def embedding(self) -> nn.Module:
        """Return the embedding table of both inputs."""
        return self.network.embedding

    def embed(self, tokens: Tensor) -> Tensor:
        """Embed tokens (B, N) int, as this input's tokenizer numbers them, as (B, N, token_dim)."""
        return self.network.embed(self.network.of_partner(tokens) if self.partner else tokens)

    inputs = embed  # the members get the embeddings

    def classify(self, embeddings: Tensor, mask: Tensor) -> Tensor:
        """Map embeddings (B, N, token_dim) and mask (B, N) bool to the member mean (B, C)."""
        return self._of_members(embeddings, mask).mean(1)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (B, N) int, padded with 0, to the outputs of each member, (B, M, C)."""
        return self._of_members(self.embed(tokens), tokens != PAD)

    def _of_members(self, embeddings: Tensor, mask: Tensor) -> Tensor:
        if len(embeddings) % len(self.held):
            raise ValueError(
                f"the fixed input has {len(self.held)} rows; expected 1, or one for each of the "
                f"{len(embeddings)} rows of the other input"
            )
        held = self.held.repeat(len(embeddings) // len(self.held), 1)
        parts = [
            (embeddings, mask * (PARTNER if self.partner else FIRST)),
            (self.network.embed(held), self.network.mask_of(held)),
        ]
        x, masks = zip(*(parts[::-1] if self.partner else parts), strict=True)
        return self.network._of_members(
            torch.cat(x, 1), torch.cat([each.to(torch.int8) for each in masks], 1)
        )
