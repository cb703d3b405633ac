"""Heads: from encoded tokens to the outputs of a sequence, a token or a bin.

A head may put learned prefix vectors in front of the tokens (`add_prefix`) before the encoder.

Shapes: B sequences, L tokens (vectors of the encoder), D dimensions, H pooling heads, P parts, C
outputs. Masks are bool, True for tokens and False for padding, which is at the end.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from selfattn_bio import config
from selfattn_bio.attention.dropout import Dropout
from selfattn_bio.attention.inputs import is_complete


class PoolingProjection(nn.Module):
    """Compute pooling scores of each token, one per head, and split its vector among the heads.

    It is a separate module so that attribution rules can be hooked on it, like `QKVProjection`.
    """

    def __init__(self, embed_dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.score = nn.Linear(embed_dim, num_heads)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map x (B, L, D) to scores (B, L, H) and values (B, L, H, D / H)."""
        return self.score(x), x.unflatten(-1, (self.num_heads, -1))


class Head(nn.Module):
    """Base class of heads, with P = `num_prefix` learned vectors in front of the tokens."""

    def __init__(self, num_prefix: int = 0, embed_dim: int = 0) -> None:
        super().__init__()
        self.num_prefix, self.vectors = num_prefix, None
        if num_prefix:
            self.vectors = nn.Parameter(torch.empty(num_prefix, embed_dim).normal_(std=0.02))

    def add_prefix(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Prepend P vectors: x (B, L, D), mask (B, L) -> (B, P + L, D), (B, P + L)."""
        if self.vectors is None:
            return x, mask
        front = self.vectors.to(x.dtype).expand(x.shape[0], -1, -1)
        return torch.cat((front, x), 1), torch.cat(
            (mask.new_ones(mask.shape[0], self.num_prefix), mask), 1
        )


class PoolingHead(Head):
    """Divide the sequence into equal parts, pool each by attention, and classify the means.

    Each pooling head weights the tokens of a part by the softmax of a learned score. The weighted
    means of all parts and heads are joined and classified by two layers. The encoder knows only
    distances. The parts tell the head where in the sequence a token is, for sequences of any
    length.

    Parameters
    ----------
    embed_dim, num_heads, parts, num_outputs
        Sizes D, H, P and C.
    dropout
        Probability of dropout before both layers.
    """

    def __init__(
        self, embed_dim: int, num_heads: int, parts: int, num_outputs: int, dropout: float
    ) -> None:
        super().__init__()
        self.parts = parts
        self.project = PoolingProjection(embed_dim, num_heads)
        self.classify = nn.Sequential(
            Dropout(dropout),
            nn.Linear(parts * embed_dim, embed_dim),
            nn.GELU(),
            Dropout(dropout),
            nn.Linear(embed_dim, num_outputs),
        )

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map x (B, L, D) and mask (B, L) to (B, C); the mean of a part without tokens is 0."""
        scores, values = self.project(x)
        outside = ~equal_parts(mask, self.parts).transpose(1, 2)[:, None]  # (B, 1, P, L)
        lowest = torch.finfo(scores.dtype).min
        # (B, H, P, L); tokens are last, where a softmax is fastest
        weights = scores.transpose(1, 2)[:, :, None].masked_fill(outside, lowest).softmax(-1)
        pooled = weights.masked_fill(outside, 0.0) @ values.transpose(1, 2)  # (B, H, P, D / H)
        return self.classify(pooled.transpose(1, 2).flatten(1))


def equal_parts(mask: Tensor, parts: int) -> Tensor:
    """Mark which of `parts` equal parts of its sequence each token is in.

    Maps mask (B, L) to (B, L, parts) bool. Each token is in one part, padding is in none. With two
    parts, the first two of four tokens are in part 0 and the others in part 1.
    """
    length = mask.sum(1, keepdim=True).clamp(min=1)  # (B, 1)
    # (B, L)
    index = (torch.arange(mask.shape[1], device=mask.device) * parts // length).clamp(max=parts - 1)
    return one_hot(index, parts).bool() & mask[..., None]


class ClsHead(Head):
    """Put a learned [CLS] vector in front of the tokens and classify it after the encoder.

    Parameters
    ----------
    embed_dim, num_outputs
        Sizes D and C.
    dropout
        Probability of dropout before the classifier.
    """

    def __init__(self, embed_dim: int, dropout: float, num_outputs: int) -> None:
        super().__init__(1, embed_dim)
        self.dropout = Dropout(dropout)
        self.classify = nn.Linear(embed_dim, num_outputs)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map x (B, 1 + L, D) to (B, C); the mask (B, 1 + L) is not needed."""
        return self.classify(self.dropout(x[:, 0]))


class TokenHead(Head):
    """Compute outputs for each token before the stem.

    One vector of the encoder yields the outputs of all tokens that the stem pooled into it.

    Parameters
    ----------
    embed_dim, num_outputs
        Sizes D and C.
    pool
        Number of tokens that the stem pools into one vector; 1 without pooling.
    """

    def __init__(self, embed_dim: int, num_outputs: int, pool: int) -> None:
        super().__init__()
        self.pool = pool
        self.classify = nn.Linear(embed_dim, pool * num_outputs)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map x (B, L, D) to (B, L * pool, C); the mask (B, L) is not needed."""
        return self.classify(x).unflatten(-1, (self.pool, -1)).flatten(1, 2)


class BinHead(Head):
    """Compute outputs for each vector of the encoder, that is, for each bin of the sequence.

    The head reads the output of the encoder and also its input. The norms of the encoder give
    vectors of about equal length; only the output of the stem shows how strongly a detector
    responds. Positive bins are rare, so the outputs start at a low probability. Otherwise the first
    steps would learn only that.

    Parameters
    ----------
    embed_dim, num_outputs
        Sizes D and C.
    num_global
        Number G of learned vectors in front of the tokens. They are the global tokens of the
        attention pattern and have no position.
    reads_stem
        Whether `forward` also gets the output of the stem, which is the input of the encoder.
    """

    RARE = -5.0  # initial logit of each output, a probability of 0.7 %

    def __init__(
        self, embed_dim: int, num_outputs: int, num_global: int, reads_stem: bool = True
    ) -> None:
        super().__init__(num_global, embed_dim)
        self.classify = nn.Linear((1 + reads_stem) * embed_dim, num_outputs)
        nn.init.constant_(self.classify.bias, self.RARE)

    def forward(self, x: Tensor, mask: Tensor, before: Tensor | None = None) -> Tensor:
        """Map x (B, G + L, D) to (B, L, C).

        `before` (B, L, D) is the input of the encoder, without prefix; it is required if the head
        was built with `reads_stem`. The mask (B, G + L) is not needed.
        """
        x = x[:, self.num_prefix :]
        return self.classify(x if before is None else torch.cat((x, before), -1))


class ProfileHead(Head):
    """Compute a profile at 1 bp and log counts, from the encoder and the detectors of the stem.

    Vectors of the encoder are repeated for each token that the stem pooled into them, and added to
    the responses of the detectors at the tokens. Dilated convolutions (BPNet, Avsec et al. 2021)
    turn them into a profile of the middle of the sequence. The counts come from the mean vector.

    Parameters
    ----------
    section
        Section [objective], with T tracks, S strands and W = `width`.
    embed_dim, fine_dim
        Sizes D of the encoder and E of the detectors.
    pool
        Number of tokens that the stem pools into one vector.
    num_global
        Number G of learned vectors in front of the tokens.
    """

    DILATIONS, KERNEL = (1, 2, 4, 8), 25

    def __init__(
        self,
        section: config.ProfileObjective,
        embed_dim: int,
        fine_dim: int,
        pool: int,
        num_global: int = 0,
    ) -> None:
        super().__init__(num_global, embed_dim)
        self.pool, self.width, self.num_strands = pool, section.width, section.num_strands
        self.num_tracks = len(section.tracks)
        self.coarse = nn.Linear(2 * embed_dim, embed_dim)
        self.fine = nn.Linear(fine_dim, embed_dim, bias=False)
        self.act = nn.GELU()
        self.convolutions = nn.ModuleList(
            nn.Conv1d(embed_dim, embed_dim, 3, padding=dilation, dilation=dilation)
            for dilation in self.DILATIONS
        )
        self.acts = nn.ModuleList(nn.GELU() for _ in self.DILATIONS)
        outputs = self.num_tracks * self.num_strands
        self.profile = nn.Conv1d(embed_dim, outputs, self.KERNEL, padding=self.KERNEL // 2)
        last = nn.Linear(embed_dim, self.num_tracks)
        if section.scale:  # the counts start at the median of the training records
            with torch.no_grad():
                last.bias.copy_(torch.tensor(section.scale).log1p())
        self.count = nn.Sequential(nn.Linear(2 * embed_dim, embed_dim), nn.GELU(), last)

    def forward(
        self, x: Tensor, mask: Tensor, before: Tensor, fine: Tensor, inside: Tensor
    ) -> Tensor:
        """Map vectors x (B, G + L, D) of the encoder to (B, S W, 2 T).

        The first T outputs are the log counts, the same at each base. The others are the logits of
        the profiles: forward strand, then reverse strand.

        Parameters
        ----------
        x, mask
            Output of the encoder, and its mask (B, G + L).
        before
            Input of the encoder, without prefix, (B, L, D).
        fine, inside
            Responses of the detectors (B, E, N) and the mask of the tokens (B, N).
        """
        x, mask = x[:, self.num_prefix :], mask[:, self.num_prefix :, None]
        joined, present = torch.cat((x, before), -1), inside[:, None]
        spread = self.coarse(joined).repeat_interleave(self.pool, 1)[:, : inside.shape[1]]
        fine = fine.masked_fill(~present, 0.0).transpose(1, 2)
        y = self.act(self.fine(fine) + spread).transpose(1, 2) * present
        for convolve, act in zip(self.convolutions, self.acts, strict=True):
            y = y + act(convolve(y)) * present
        logits = middle(self.profile(y).transpose(1, 2), inside, self.width)
        strands = logits.unflatten(-1, (self.num_strands, self.num_tracks)).unbind(2)
        profile = torch.cat(strands, 1)
        counts = self.count((joined * mask).sum(1) / mask.sum(1).clamp(min=1))
        return torch.cat((counts[:, None].expand_as(profile), profile), -1)


def middle(x: Tensor, mask: Tensor, width: int) -> Tensor:
    """Return the `width` tokens in the middle of each row of x (B, N, C) with mask (B, N)."""
    start = (mask.sum(1) - width) // 2
    if is_complete(start == start[0]):
        return x[:, int(start[0]) : int(start[0]) + width]
    at = start[:, None] + torch.arange(width, device=x.device)
    return x.gather(1, at[..., None].expand(-1, -1, x.shape[2]))


def build_head(section: config.AttentionModel, num_outputs: int, objective: Any) -> Head:
    """Build the head of an attention model.

    Objectives with outputs per token or bin have only one possible head, so `section.head` is
    ignored for them.

    Parameters
    ----------
    section
        Section [model].
    num_outputs
        Number C of outputs per sequence, token, bin or base.
    objective
        Section [objective].
    """
    dim, num_global = section.embed_dim, getattr(section.pattern, "num_global", 0)
    pool = section.stem.pool if isinstance(section.stem, config.ConvStemSection) else 1
    if objective.is_per_base:
        return ProfileHead(objective, dim, dim, pool, num_global)
    if objective.is_per_token:
        return TokenHead(dim, num_outputs, pool)
    if objective.is_per_bin:
        return BinHead(dim, num_outputs, num_global)
    if isinstance(section.head, config.PoolingHeadSection):
        return PoolingHead(dim, section.num_heads, section.head.parts, num_outputs, section.dropout)
    return ClsHead(section.embed_dim, section.dropout, num_outputs)
