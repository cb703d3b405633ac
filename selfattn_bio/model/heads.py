"""From encoded tokens to the outputs of a sequence, or of each token.

Hides: pooling. The network builds one, the CNN uses `equal_parts`; `interpret.relevance` hooks `PoolingProjection`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from selfattn_bio import config
from selfattn_bio.attention.dropout import Dropout


class PoolingProjection(nn.Module):
    """What each token offers the pooling: a score per head and its value; a module of its own, as `QKVProjection` is."""

    def __init__(self, embed_dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.score = nn.Linear(embed_dim, num_heads)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, L, D) -> scores (B, L, H), values (B, L, H, D / H)."""
        return self.score(x), x.unflatten(-1, (self.num_heads, -1))


class PoolingHead(nn.Module):
    """Each head weighs the tokens of each part of the sequence by a learned score; the weighted means, joined, are classified.

    The encoder knows distances alone; by the parts the head knows whereabouts in the sequence a token stands, whatever the length.
    """

    num_prefix = 0  # vectors that the head puts in front of the tokens

    def __init__(self, embed_dim: int, num_heads: int, parts: int, dropout: float, num_outputs: int) -> None:
        super().__init__()
        self.parts = parts
        self.project = PoolingProjection(embed_dim, num_heads)
        self.classify = nn.Sequential(
            Dropout(dropout), nn.Linear(parts * embed_dim, embed_dim), nn.GELU(), Dropout(dropout), nn.Linear(embed_dim, num_outputs)
        )

    def add_prefix(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Nothing is put in front."""
        return x, mask

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x (B, L, D), mask (B, L) -> (B, C); a part without a token counts as 0."""
        scores, values = self.project(x)
        inside = equal_parts(mask, self.parts)[..., None]  # (B, L, P, 1)
        weights = scores[:, :, None].masked_fill(~inside, torch.finfo(scores.dtype).min).softmax(dim=1)  # (B, L, P, H)
        pooled = torch.einsum("blph,blhd->bphd", weights.masked_fill(~inside, 0.0), values)  # (B, P, H, D / H)
        return self.classify(pooled.flatten(1))


def equal_parts(mask: Tensor, parts: int) -> Tensor:
    """Which of `parts` equal parts of its sequence each token stands in; padding in none.

    mask (B, L) bool, True = token, padding at the end -> (B, L, parts) bool. Four tokens in two parts: 0 0 1 1.
    """
    length = mask.sum(1, keepdim=True).clamp(min=1)  # (B, 1)
    part = (torch.arange(mask.shape[1], device=mask.device) * parts // length).clamp(max=parts - 1)  # (B, L)
    return one_hot(part, parts).bool() & mask[..., None]


class ClsHead(nn.Module):
    """A learned [CLS] vector stands in front of the tokens and is classified after the encoder."""

    num_prefix = 1

    def __init__(self, embed_dim: int, dropout: float, num_outputs: int) -> None:
        super().__init__()
        self.vector = nn.Parameter(torch.empty(embed_dim).normal_(std=0.02))
        self.dropout = Dropout(dropout)
        self.classify = nn.Linear(embed_dim, num_outputs)

    def add_prefix(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, L, D), mask (B, L) -> (B, 1 + L, D), (B, 1 + L)."""
        front = self.vector.to(x.dtype).expand(x.shape[0], 1, -1)
        return torch.cat((front, x), 1), torch.cat((mask.new_ones(mask.shape[0], 1), mask), 1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x (B, 1 + L, D) -> (B, C)."""
        return self.classify(self.dropout(x[:, 0]))


class TokenHead(nn.Module):
    """Each token has its outputs; one vector of the encoder has those of all `pool` tokens that a stem made it of."""

    num_prefix = 0

    def __init__(self, embed_dim: int, num_outputs: int, pool: int) -> None:
        super().__init__()
        self.pool = pool
        self.classify = nn.Linear(embed_dim, pool * num_outputs)

    def add_prefix(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Nothing is put in front."""
        return x, mask

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x (B, L, D) -> (B, L * pool, C)."""
        return self.classify(x).unflatten(-1, (self.pool, -1)).flatten(1, 2)


class PlaceHead(nn.Module):
    """Each vector of the encoder has its outputs; the learned vectors in front are the pattern's global tokens, which hold no place.

    It sees what came into the encoder beside what came out: the encoder's norm makes every place equally loud, and how loudly a detector
    fires is what the stem's batch norm keeps. What is asked of a place is rarely so, and the outputs begin there: else the first steps
    learn that alone.
    """

    RARE = -5.0  # logits of the start, .7 %

    def __init__(self, embed_dim: int, num_outputs: int, num_global: int, sees_both: bool = True) -> None:
        super().__init__()
        self.num_prefix = num_global
        self.vectors = nn.Parameter(torch.empty(num_global, embed_dim).normal_(std=0.02)) if num_global else None
        self.classify = nn.Linear((1 + sees_both) * embed_dim, num_outputs)
        nn.init.constant_(self.classify.bias, self.RARE)

    def add_prefix(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, L, D), mask (B, L) -> (B, G + L, D), (B, G + L)."""
        if self.vectors is None:
            return x, mask
        front = self.vectors.to(x.dtype).expand(x.shape[0], -1, -1)
        return torch.cat((front, x), 1), torch.cat((mask.new_ones(mask.shape[0], self.num_prefix), mask), 1)

    def forward(self, x: Tensor, mask: Tensor, before: Tensor | None = None) -> Tensor:
        """x (B, G + L, D), and `before` the encoder (B, L, D) -> (B, L, C)."""
        x = x[:, self.num_prefix :]
        return self.classify(x if before is None else torch.cat((x, before), -1))


def build_head(section: config.AttentionModel, num_outputs: int, kind: str = "binary") -> PoolingHead | ClsHead | TokenHead | PlaceHead:
    """The head that the run file names; of an objective with outputs a token or a place (`kind`) there is one only."""
    if kind in config.PER_TOKEN:
        return TokenHead(section.embed_dim, num_outputs, section.stem.pool if isinstance(section.stem, config.ConvStem) else 1)
    if kind in config.PER_PLACE:
        return PlaceHead(section.embed_dim, num_outputs, getattr(section.pattern, "num_global", 0))
    if isinstance(section.head, config.PoolingHead):
        return PoolingHead(section.embed_dim, section.num_heads, section.head.parts, section.dropout, num_outputs)
    return ClsHead(section.embed_dim, section.dropout, num_outputs)
