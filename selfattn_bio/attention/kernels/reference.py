"""Reference attention: plain O(L^2) code, one step per line, in any precision.

Tests compare every kernel with it. It also computes short sequences, the rows of global tokens, and
weights for inspection.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from selfattn_bio.attention.dropout import dropout as dropped
from selfattn_bio.attention.inputs import AttentionInputs
from selfattn_bio.attention.positions import NO_TERMS, Terms, collect, look_up, spread


def run(inputs: AttentionInputs) -> Tensor:
    """Compute attention of all queries."""
    return reference_attention(
        inputs.q,
        inputs.k,
        inputs.v,
        terms=inputs.terms,
        allowed=inputs.mask.dense(inputs.pattern),
        dropout=inputs.dropout,
    )


def dense_weights(inputs: AttentionInputs) -> Tensor:
    """Return the weights of all pairs, (B, H, L, L)."""
    return attention_weights(
        inputs.q, inputs.k, terms=inputs.terms, allowed=inputs.mask.dense(inputs.pattern)
    )


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
    scores = with_position(
        (q * scale) @ k.transpose(-2, -1), terms, distances(q, k), scale
    )  # (B, H, Lq, L)
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
    return with_position_values(weights @ v, weights, terms, distances(q, k))


def with_position(scores: Tensor, terms: Terms, distance: Tensor, scale: float) -> Tensor:
    """Add the terms of the position to scores (B, H, Lq, L) of pairs at `distance` (Lq, L)."""
    if terms.bias is not None:
        scores = scores + look_up(terms.bias, distance).to(scores.dtype)
    if terms.queries is not None and terms.keys is not None:
        keys = terms.keys.transpose(-2, -1).to(terms.queries.dtype)
        by_distance = terms.queries @ keys * scale  # (B, H, Lq, 2M + 1)
        scores = scores + spread(by_distance, distance, scores.shape)
    return scores


def with_position_values(out: Tensor, weights: Tensor, terms: Terms, distance: Tensor) -> Tensor:
    """Add the values of the position to the output (B, H, Lq, Dh) of weights (B, H, Lq, L)."""
    if terms.values is None:
        return out
    return out + collect(weights, distance, terms.values.shape[-2]) @ terms.values.to(out.dtype)


def distances(q: Tensor, k: Tensor) -> Tensor:
    """Return the distance key - query of each pair of tokens, (Lq, L) int64."""
    queries, keys = (torch.arange(x.shape[-2], device=x.device) for x in (q, k))
    return keys[None, :] - queries[:, None]
