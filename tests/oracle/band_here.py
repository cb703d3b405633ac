"""Call the band kernel with plain arguments; skip tests where it cannot be compiled."""

import pytest
from kernel_cases import mask_of

from selfattn_bio.attention.banded import Banded
from selfattn_bio.attention.inputs import AttentionInputs
from selfattn_bio.attention.kernels import band
from selfattn_bio.attention.mask import as_mask
from selfattn_bio.attention.native import unavailable_reason
from selfattn_bio.attention.positions import Terms

needs_band = pytest.mark.skipif(
    unavailable_reason() is not None, reason=f"no band kernel here: {unavailable_reason()}"
)


def band_attention(
    q, k, v, *, left, right, num_global=0, bias=None, mask=None, segments=None, dropout=0.0, seed=0
):
    """Compute attention to the keys in a window and to the first `num_global` keys."""
    mask, pattern = as_mask(mask_of(mask, segments), q), Banded(left, right, num_global)
    return band.band_attention(
        AttentionInputs(q, k, v, Terms(bias=bias), mask, pattern, dropout, seed)
    )
