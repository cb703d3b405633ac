"""The one door: every layer attends through `attend`, which joins position, pattern and padding and picks the kernel.

Hides: which kernel runs. The encoder calls it, `interpret.readout` its `weights`; tests compare every path of it with `reference`.

| asked                          | kernel                          | why |
|---|---|---|
| a bias that needs a gradient   | reference                       | SDPA leaves its fast path for it: same mathematics, more memory |
| all else                       | `scaled_dot_product_attention`  | fused forward and backward on CPU and CUDA |

Both take O(L^2) time. A window pattern is therefore exact here, but no cheaper than a full one.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from selfattn_bio.attention.patterns import Pattern
from selfattn_bio.attention.positions import NoPosition
from selfattn_bio.attention.reference import attention_weights, reference_attention


def attend(
    q: Tensor, k: Tensor, v: Tensor, *, pattern: Pattern, position: NoPosition, mask: Tensor | None = None, dropout: float = 0.0
) -> Tensor:
    """Scaled dot-product attention under a pattern, a position and a padding mask.

    Parameters
    ----------
    q, k, v
        (B, H, L, Dh), not yet rotated.
    pattern
        The rule of who may attend to whom.
    position
        What distance does to the scores.
    mask
        (B, L) bool, True = token, False = padding, which nothing attends to; None if there is none.
    dropout
        Share of the weights set to 0 (the others grow to keep the mean); 0 outside training.

    Returns
    -------
    (B, H, L, Dh); 0 for a query that may attend to nothing.
    """
    q, k = position.rotate(q, k)
    bias, allowed = position.bias(q.shape[-2]), _allowed(q.shape[-2], pattern, mask, q.device)
    if bias is not None:
        bias = bias.to(q.dtype)[None]  # (1, H, L, L): with three dimensions SDPA leaves its fast path
        if torch.is_grad_enabled() and bias.requires_grad:
            return reference_attention(q, k, v, bias=bias, allowed=allowed, dropout=dropout)
        allowed = bias if allowed is None else bias.masked_fill(~allowed, float("-inf"))
    return scaled_dot_product_attention(q, k, v, attn_mask=allowed, dropout_p=dropout)


def weights(q: Tensor, k: Tensor, *, pattern: Pattern, position: NoPosition, mask: Tensor | None = None) -> Tensor:
    """The attention weights (B, H, L, L) that `attend` would use, for reading them; arguments as there."""
    q, k = position.rotate(q, k)
    bias = position.bias(q.shape[-2])
    return attention_weights(q, k, bias=bias, allowed=_allowed(q.shape[-2], pattern, mask, q.device))


def _allowed(length: int, pattern: Pattern, mask: Tensor | None, device: torch.device) -> Tensor | None:
    allowed = pattern.dense_mask(length, device)
    if mask is None or bool(mask.all()):
        return allowed
    keys = mask[:, None, None, :]  # (B, 1, 1, L)
    return keys if allowed is None else keys & allowed
