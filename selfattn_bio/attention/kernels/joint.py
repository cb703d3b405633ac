"""A window with its global keys by the band kernel, the other parts of the pattern by slab."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from selfattn_bio.attention.inputs import AttentionInputs
from selfattn_bio.attention.kernels.slab import slab_attention
from selfattn_bio.attention.rows import with_global_rows


def run(inputs: AttentionInputs) -> Tensor:
    """Compute attention of all queries, in float32."""
    terms = inputs.terms
    exact = replace(
        inputs,
        q=inputs.q.float(),
        k=inputs.k.float(),
        v=inputs.v.float(),
        terms=terms if terms.bias is None else terms._replace(bias=terms.bias.float()),
    )
    return with_global_rows(inputs, slab_attention(exact, joint=True).to(inputs.q.dtype))
