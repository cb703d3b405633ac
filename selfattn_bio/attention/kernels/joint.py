"""A window with its global keys by the band kernel, the other parts of the pattern by slab."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from selfattn_bio.attention.inputs import AttentionInputs
from selfattn_bio.attention.kernels.band import computed_in
from selfattn_bio.attention.kernels.slab import slab_attention
from selfattn_bio.attention.rows import with_global_rows


def run(inputs: AttentionInputs) -> Tensor:
    """Compute attention of all queries, in the type in which the band kernel computes."""
    terms, dtype = inputs.terms, computed_in(inputs.q.dtype)
    converted = replace(
        inputs,
        q=inputs.q.to(dtype),
        k=inputs.k.to(dtype),
        v=inputs.v.to(dtype),
        terms=terms if terms.bias is None else terms._replace(bias=terms.bias.float()),
    )
    return with_global_rows(inputs, slab_attention(converted, joint=True).to(inputs.q.dtype))
