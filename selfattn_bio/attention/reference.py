"""Plain O(L^2) attention, a line a step, in any precision: the oracle of every kernel, and the one that returns weights.

Hides: nothing, on purpose. `attend` uses it where a learned bias needs a gradient; tests and the reading of weights call it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from selfattn_bio.attention.dropout import dropout as dropped


def attention_weights(q: Tensor, k: Tensor, *, bias: Tensor | None = None, allowed: Tensor | None = None) -> Tensor:
    """Softmax of the scaled scores over the allowed keys.

    Parameters
    ----------
    q, k
        (B, H, L, Dh).
    bias
        Added to the scores; broadcasts to (B, H, L, L).
    allowed
        bool, True = may attend; broadcasts to (B, H, L, L).

    Returns
    -------
    (B, H, L, L): each row sums to 1, or is 0 where the query may attend to nothing (its gradient is 0, too).

    References
    ----------
    Vaswani et al. 2017; checked against `torch.nn.functional.scaled_dot_product_attention`.
    """
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # (B, H, L, L)
    if bias is not None:
        scores = scores + bias
    if allowed is None:
        return scores.softmax(dim=-1)
    # The lowest finite score rather than -inf: an empty row must not turn into NaN before it is set to 0.
    weights = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min).softmax(dim=-1)
    return weights.masked_fill(~allowed, 0.0)


def reference_attention(
    q: Tensor, k: Tensor, v: Tensor, *, bias: Tensor | None = None, allowed: Tensor | None = None, dropout: float = 0.0
) -> Tensor:
    """Weighted mean of `v` (B, H, L, Dh) under `attention_weights`, of which a share `dropout` is set to 0; (B, H, L, Dh)."""
    weights = attention_weights(q, k, bias=bias, allowed=allowed)
    return dropped(weights, dropout) @ v
