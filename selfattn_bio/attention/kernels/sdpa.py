"""Torch's fused attention over all pairs."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from selfattn_bio.attention.inputs import AttentionInputs
from selfattn_bio.attention.kernels.reference import distances
from selfattn_bio.attention.positions import look_up


def run(inputs: AttentionInputs) -> Tensor:
    """Compute attention of all queries; a bias is stored for all pairs."""
    q, k, allowed = inputs.q, inputs.k, inputs.mask.dense(inputs.pattern)
    if inputs.terms.bias is not None:
        # (1, H, L, L): with three dimensions SDPA leaves its fast path
        bias = look_up(inputs.terms.bias, distances(q, k)).to(q.dtype)[None]
        allowed = bias if allowed is None else bias.masked_fill(~allowed, float("-inf"))
    return scaled_dot_product_attention(q, k, inputs.v, attn_mask=allowed, dropout_p=inputs.dropout)
