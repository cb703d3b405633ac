"""The weights of all pairs of tokens, with which tests compare readings of attention."""

from torch import Tensor

from selfattn_bio.attention.inputs import AttentionInputs
from selfattn_bio.attention.kernels.reference import attention_weights


def dense_weights(inputs: AttentionInputs) -> Tensor:
    """Return the weights of all pairs, (B, H, L, L)."""
    allowed = inputs.mask.dense(inputs.pattern)
    return attention_weights(inputs.q, inputs.k, terms=inputs.terms, allowed=allowed)
