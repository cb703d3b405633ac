"""Call the band kernel with plain arguments; skip tests where it cannot be compiled."""

import numpy as np
import pytest
import torch
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


def dropout_mask(seed, dropout, batches, heads, length):
    """Return which weights `band_attention` keeps, (B, H, L, L) bool, True = kept.

    Rows are queries.
    """
    low, high = (
        np.array([seed & 0xFFFFFFFF], dtype=np.uint32),
        np.array([seed >> 32], dtype=np.uint32),
    )
    of_head = _mixed(_mixed(low ^ _mixed(high)) + np.arange(batches * heads, dtype=np.uint32))
    at = np.arange(length, dtype=np.uint32)
    of_query = _mixed(of_head[:, None] + at)
    hashed = _mixed(of_query[:, :, None] ^ (at * np.uint32(0x9E3779B9)))
    return torch.from_numpy(hashed >= np.uint32(min(round(dropout * 2**32), 2**32 - 1))).reshape(
        batches, heads, length, length
    )


def _mixed(x):
    """Return the integer hash lowbias32 of Wellons 2018, as in band.cpp."""
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))
