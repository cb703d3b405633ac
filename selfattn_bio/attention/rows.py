"""Attention of global tokens: the first queries, which attend to every key, in O(L num_global).

Kernels that compute parts of a pattern leave these rows out and add them with `with_global_rows`.

The backward pass keeps one tile of weights. A bias by distance needs no index per pair.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from selfattn_bio.attention.inputs import AttentionInputs
from selfattn_bio.attention.kernels.reference import reference_attention
from selfattn_bio.attention.positions import look_up, relative_index

NEVER = -1e30  # score of a pair that may not attend; -inf would give NaN in a row of such pairs
EMPTY = -1e29  # a row with a lower maximum has no allowed pair


def with_global_rows(inputs: AttentionInputs, out: Tensor) -> Tensor:
    """Replace the rows of the global tokens in the output (B, H, L, Dh)."""
    num = min(inputs.pattern.num_global, inputs.length)
    if num == 0:
        return out
    q, terms, allowed = inputs.q[:, :, :num], inputs.terms.first(num), inputs.mask.keys
    if terms.queries is None and not inputs.dropout:
        rows = global_rows(q, inputs.k, inputs.v, bias=terms.bias, allowed=allowed)
    else:
        rows = reference_attention(
            q, inputs.k, inputs.v, terms=terms, allowed=allowed, dropout=inputs.dropout
        )
    return torch.cat((rows, out[:, :, num:]), dim=2)


def global_rows(
    q: Tensor, k: Tensor, v: Tensor, *, bias: Tensor | None = None, allowed: Tensor | None = None
) -> Tensor:
    """Compute attention of the first g queries to all keys.

    Parameters
    ----------
    q
        (B, H, g, Dh), queries of the tokens 0..g-1.
    k, v
        (B, H, L, Dh).
    bias
        (H, 2M + 1) over the distances -M..M; longer distances use the entry at the end.
    allowed
        bool, broadcasts to (B, H, g, L); None: all pairs.

    Returns
    -------
    (B, H, g, Dh); 0 for a query without allowed keys.
    """
    return _Rows.apply(q, k, v, bias, allowed)


class _Rows(torch.autograd.Function):
    # Queries are processed in reverse order. Each row of the bias is then the row above shifted by
    # one, and a single strided view holds all rows.
    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, allowed: Tensor | None
    ) -> Tensor:
        (num, dim), length = q.shape[2:], k.shape[2]
        scores = (q.flip(2) * (1 / math.sqrt(dim))) @ k.transpose(-1, -2)  # (B, H, g, L)
        scores = scores.to(torch.promote_types(q.dtype, torch.float32))
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
