"""Attention over all pairs: the reference, torch's fused kernel, and the rows of global tokens.

`reference_attention` is plain O(L^2) code, one step per line, in any precision. Tests compare every
kernel with it. It also computes short sequences, and weights for inspection.

Global tokens are the first queries, which attend to every key, in O(L num_global). Kernels that
compute parts of a pattern leave these rows out and add them with `with_global_rows`. The backward
pass keeps one tile of weights. A bias by distance needs no index per pair.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from selfattn_bio.attention.dropout import dropout as dropped
from selfattn_bio.attention.inputs import AttentionInputs, work_dtype
from selfattn_bio.attention.positions import (
    NO_TERMS,
    Terms,
    collect,
    look_up,
    relative_index,
    spread,
)

NEVER = -1e30  # score of a pair that may not attend; -inf would give NaN in a row of such pairs
EMPTY = -1e29  # a row with a lower maximum has no allowed pair


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


def run_sdpa(inputs: AttentionInputs) -> Tensor:
    """Compute attention of all queries by torch's fused kernel; a bias is stored for all pairs."""
    q, k, allowed = inputs.q, inputs.k, inputs.mask.dense(inputs.pattern)
    if inputs.terms.bias is not None:
        # (1, H, L, L): with three dimensions SDPA leaves its fast path
        bias = look_up(inputs.terms.bias, distances(q, k)).to(q.dtype)[None]
        allowed = bias if allowed is None else bias.masked_fill(~allowed, float("-inf"))
    return scaled_dot_product_attention(q, k, inputs.v, attn_mask=allowed, dropout_p=inputs.dropout)


def attention_weights(
    q: Tensor, k: Tensor, *, terms: Terms = NO_TERMS, allowed: Tensor | None = None, first: int = 0
) -> Tensor:
    """Return the softmax of the scaled scores over the allowed keys.

    Parameters
    ----------
    q, k
        (B, H, Lq, Dh) and (B, H, L, Dh).
    terms
        Terms of the position.
    allowed
        bool, True = may attend; broadcasts to (B, H, Lq, L).
    first
        Token of the first query.

    Returns
    -------
    (B, H, Lq, L). Each row sums to 1. A row without allowed keys is 0, and so is its gradient.

    References
    ----------
    Vaswani et al. 2017; checked against `torch.nn.functional.scaled_dot_product_attention`.
    """
    scale = 1 / math.sqrt(q.shape[-1])
    scores, distance = (q * scale) @ k.transpose(-2, -1), distances(q, k) - first
    if terms.bias is not None:
        scores = scores + look_up(terms.bias, distance).to(scores.dtype)
    if terms.queries is not None and terms.keys is not None:
        keys = terms.keys.transpose(-2, -1).to(terms.queries.dtype)
        by_distance = terms.queries @ keys * scale  # (B, H, Lq, 2M + 1)
        scores = scores + spread(by_distance, distance, scores.shape)
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
    if terms.values is None:
        return out
    by_distance = collect(weights, distances(q, k), terms.values.shape[-2])  # (B, H, Lq, 2M + 1)
    return out + by_distance @ terms.values.to(out.dtype)


def distances(q: Tensor, k: Tensor) -> Tensor:
    """Return the distance key - query of each pair of tokens, (Lq, L) int64."""
    queries, keys = (torch.arange(x.shape[-2], device=x.device) for x in (q, k))
    return keys[None, :] - queries[:, None]


def with_global_rows(inputs: AttentionInputs, out: Tensor) -> Tensor:
    """Replace the rows of the global tokens in the output (B, H, L, Dh)."""
    num = min(inputs.pattern.num_global, inputs.length)
    if num == 0:
        return out
    q, terms, allowed = inputs.q[:, :, :num], inputs.terms.of_queries(slice(num)), inputs.mask.keys
    if terms.queries is None and not inputs.dropout:
        rows = _Rows.apply(q, inputs.k, inputs.v, terms.bias, allowed)
    else:
        rows = reference_attention(
            q, inputs.k, inputs.v, terms=terms, allowed=allowed, dropout=inputs.dropout
        )
    return torch.cat((rows, out[:, :, num:]), dim=2)


class _Rows(torch.autograd.Function):
    """Compute attention of the first g queries to all keys.

    Parameters of `apply`
    ---------------------
    q
        (B, H, g, Dh), queries of the tokens 0..g-1.
    k, v
        (B, H, L, Dh).
    bias
        (H, 2M + 1) over the distances -M..M, or None; longer distances use the entry at the end.
    allowed
        bool, broadcasts to (B, H, g, L); None: all pairs.

    Returns
    -------
    (B, H, g, Dh); 0 for a query without allowed keys.
    """

    # Queries are processed in reverse order. Each row of the bias is then the row above shifted by
    # one, and a single strided view holds all rows.
    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, allowed: Tensor | None
    ) -> Tensor:
        (num, dim), length = q.shape[2:], k.shape[2]
        scores = (q.flip(2) * (1 / math.sqrt(dim))) @ k.transpose(-1, -2)  # (B, H, g, L)
        scores = scores.to(work_dtype(q))
        if bias is not None:
            along = look_up(bias, _distances(num, length, bias))
            scores += along.to(scores.dtype).unfold(1, length, 1)
        if allowed is not None:
            scores.masked_fill_(~allowed.flip(2), NEVER)
        weights = torch.softmax(scores, -1)
        if allowed is not None:
            weights.masked_fill_(scores.amax(-1, keepdim=True) < EMPTY, 0.0)
        weights = weights.to(v.dtype)
        out = weights @ v
        ctx.save_for_backward(q, k, v, bias, weights, out)
        return out.flip(2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, bias, weights, out = ctx.saved_tensors
        scale, above = 1 / math.sqrt(q.shape[-1]), grad_out.flip(2)
        delta = (above * out).sum(-1, keepdim=True)
        d_scores = (above @ v.transpose(-1, -2)).sub_(delta).mul_(weights)  # (B, H, g, L)
        d_bias = None
        if bias is not None and ctx.needs_input_grad[3]:
            num, length = d_scores.shape[2:]
            along = bias.new_zeros(len(bias), num - 1 + length)
            for row, of_row in enumerate(d_scores.sum(0).to(bias.dtype).unbind(1)):  # (H, L) each
                along[:, row : row + length] += of_row
            at = relative_index(_distances(num, length, bias), bias.shape[1])
            d_bias = torch.zeros_like(bias).index_add_(1, at, along)
        d_q = (d_scores @ k).flip(2) * scale
        d_k = d_scores.transpose(-1, -2) @ (q.flip(2) * scale)
        return d_q, d_k, weights.transpose(-1, -2) @ above, d_bias, None


def _distances(num: int, length: int, like: Tensor) -> Tensor:
    """Return the distances key - query from the last query to all keys, then from the others.

    These are the numbers 1 - g, ..., L - 1, (g - 1 + L,).
    """
    return torch.arange(1 - num, length, device=like.device)
