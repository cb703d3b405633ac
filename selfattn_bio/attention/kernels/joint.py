"""A window with its global keys by the band kernel, the other parts of the pattern by slab."""

from __future__ import annotations

from torch import Tensor

from selfattn_bio.attention.inputs import AttentionInputs
from selfattn_bio.attention.kernels.band import converted
from selfattn_bio.attention.kernels.slab import slab_attention
from selfattn_bio.attention.rows import with_global_rows


def run(inputs: AttentionInputs) -> Tensor:
    """Compute attention of all queries, in the type in which the band kernel computes."""
    out = slab_attention(converted(inputs), joint=True)
    return with_global_rows(inputs, out.to(inputs.q.dtype))
