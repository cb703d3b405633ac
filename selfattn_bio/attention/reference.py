"""Reference attention: plain O(L^2) code, one step per line, in any precision.

Tests compare every kernel with it. It also computes short sequences, the rows of global tokens, and
weights for inspection.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from selfattn_bio.attention.dropout import dropout as dropped
from selfattn_bio.attention.positions import NO_TERMS, Terms, relative_index


def attention_weights(
    q: Tensor, k: Tensor, *, terms: Terms = NO_TERMS, allowed: Tensor | None = None
) -> Tensor:
    """Return the softmax of the scaled scores over the allowed keys.

    Parameters
    ----------
    q, k
        (B, H, Lq, Dh) and (B, H, L, Dh); the queries are those of the first Lq tokens.
    terms
        Terms of the position.
    allowed
        bool, True = may attend; broadcasts to (B, H, Lq, L).

    Returns
    -------
    (B, H, Lq, L). Each row sums to 1. A row without allowed keys is 0, and so is its gradient.

    References
    ----------
    Vaswani et al. 2017; checked against `torch.nn.functional.scaled_dot_product_attention`.
    """
    scale = 1 / math.sqrt(q.shape[-1])
    scores = (q * scale) @ k.transpose(-2, -1)  # (B, H, Lq, L)
    if terms.bias is not None:
        scores = scores + terms.bias[:, distances(q, k, terms.bias.shape[-1])].to(scores.dtype)
    if terms.queries is not None and terms.keys is not None:
        by_distance = (
            terms.queries @ terms.keys.transpose(-2, -1).to(q.dtype) * scale
        )  # (B, H, Lq, 2M + 1)
        scores = scores + by_distance.gather(
            -1, distances(q, k, terms.keys.shape[-2]).expand_as(scores)
        )
    if allowed is None:
        return scores.softmax(dim=-1)
    # The lowest finite score instead of -inf, so that a row without allowed keys does not become
    # NaN.
    weights = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min).softmax(dim=-1)
    return weights.masked_fill(~allowed, 0.0)


def reference_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    terms: Terms = NO_TERMS,
    allowed: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Return the mean of `v` (B, H, L, Dh) weighted by `attention_weights`, (B, H, Lq, Dh).

    A fraction `dropout` of the weights is set to 0.
    """
    weights = dropped(attention_weights(q, k, terms=terms, allowed=allowed), dropout)
    out = weights @ v
    if terms.values is not None:
        index = distances(q, k, terms.values.shape[-2]).expand_as(weights)
        by_distance = weights.new_zeros(*weights.shape[:-1], terms.values.shape[-2]).scatter_add(
            -1, index, weights
        )
        out = out + by_distance @ terms.values.to(v.dtype)
    return out


def distances(q: Tensor, k: Tensor, entries: int) -> Tensor:
    """Return the index of each pair's distance in a table over the distances -M..M, (Lq, L) int64.

    The distance is key - query, and the table has `entries` = 2M + 1 entries.
    """
    queries, keys = (torch.arange(x.shape[-2], device=x.device) for x in (q, k))
    return relative_index(keys[None, :] - queries[:, None], entries)
