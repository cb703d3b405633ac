"""Call the band kernel with plain arguments; skip tests where it cannot be compiled."""

import functools
import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from selfattn_bio.attention.inputs import AttentionInputs, as_mask
from selfattn_bio.attention.kernels import band
from selfattn_bio.attention.kernels.band import unavailable_reason
from selfattn_bio.attention.kernels.band.calls import Banded
from selfattn_bio.attention.positions import Terms

NAMES = ("out", "grad of q", "grad of k", "grad of v", "grad of bias")
# largest error relative to the size of the values; bfloat16 has 8 bits
ERRORS = {torch.float32: 1e-5, torch.bfloat16: 1.5e-2}

needs_band = pytest.mark.skipif(
    unavailable_reason() is not None, reason=f"no band kernel here: {unavailable_reason()}"
)


def band_attention(
    q, k, v, *, left, right, num_global=0, bias=None, mask=None, dropout=0.0, seed=0, sampled=None
):
    """Compute attention to the keys in a window, to the first `num_global` keys and to blocks.

    With blocks, the first `num_global` queries attend to all keys.
    """
    rows = num_global if sampled else 0
    mask, pattern = as_mask(mask, q), Banded(left, right, num_global, sampled, rows)
    return band.band_attention(
        AttentionInputs(q, k, v, Terms(bias=bias), mask, pattern, dropout, seed)
    )


def dense(
    q, k, v, *, left, right, num_global=0, bias=None, mask=None, dropout=0.0, seed=0, sampled=None
):
    """Compute the same attention with every pair of tokens."""
    at = torch.arange(q.shape[2])
    distance = at[None, :] - at[:, None]
    allowed = ((distance >= -left) & (distance <= right)) | (
        (at[None, :] < num_global) & ((distance <= 0) | (right > 0))
    )
    allowed = allowed.expand(q.shape[0], 1, -1, -1)
    if sampled:
        lengths = as_mask(mask, q).lengths[:, None, None, None]
        allowed = allowed | sampled.covers(at[:, None], at, lengths) | (at[:, None] < num_global)
    if mask is not None:
        allowed = allowed & mask[:, None, None, :]
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # (B, H, L, L)
    if bias is not None:
        radius = bias.shape[1] // 2
        scores = scores + bias[:, distance.clamp(-radius, radius) + radius]
    weights = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min).softmax(dim=-1)
    weights = weights.masked_fill(~allowed, 0.0)
    if dropout:
        weights = weights * dropout_mask(seed, dropout, *q.shape[:3]) / (1 - dropout)
    return weights @ v


def drawn(length, head_dim=16, batches=2, heads=2, radius=None):
    """Return a projection (B, L, 3, H, Dh), a bias or None, and a gradient of the output."""
    torch.manual_seed(length)
    projection = torch.randn(batches, length, 3, heads, head_dim)
    bias = None if radius is None else torch.randn(heads, 2 * radius + 1)
    return projection, bias, torch.randn(batches, heads, length, head_dim)


def results(attention, projection, bias, grad_out, dtype=torch.float32, **rule):
    """Return the output and all gradients, the bias in float32 or better."""
    projection = projection.to(dtype, copy=True).requires_grad_()
    if bias is not None:
        bias = bias.to(torch.promote_types(dtype, torch.float32), copy=True).requires_grad_()
    q, k, v = projection.permute(2, 0, 3, 1, 4)  # (B, H, L, Dh) each, strided
    out = attention(q, k, v, bias=bias, **rule)
    out.backward(grad_out.to(dtype))
    gradients = [*projection.grad.permute(2, 0, 3, 1, 4), *([] if bias is None else [bias.grad])]
    return [out.detach(), *gradients]


def assert_agrees(projection, bias, grad_out, dtype=torch.float32, **rule):
    """Compare the kernel with `dense` in float64, both with inputs rounded to `dtype`."""
    projection, grad_out = projection.to(dtype), grad_out.to(dtype)
    got = results(band_attention, projection, bias, grad_out, dtype, **rule)
    want = results(dense, projection, bias, grad_out, torch.float64, **rule)
    for name, x, y in zip(NAMES, got, want, strict=False):
        # The bias gradient is a sum of terms of about 1 that may cancel, so its error is relative
        # to the largest value or to the square root of the number of terms.
        terms = math.sqrt(projection.shape[0] * projection.shape[1])
        if dtype == torch.bfloat16:  # each term has an error of the rounded output
            terms *= math.sqrt(projection.shape[-1] / 16)
        size = max(float(y.abs().max()), terms if name == "grad of bias" else 1.0)
        named = functools.partial("{}: {}".format, name)
        assert_close(x.double(), y, atol=ERRORS[dtype] * size, rtol=0, msg=named)


def dropout_mask(seed, dropout, batches, heads, length):
    """Return which weights `band_attention` keeps, (B, H, L, L) bool, True = kept.

    Rows are queries.
    """
    low, high = (np.array([part], np.uint32) for part in (seed & 0xFFFFFFFF, seed >> 32))
    of_head = _mixed(_mixed(low ^ _mixed(high)) + np.arange(batches * heads, dtype=np.uint32))
    at = np.arange(length, dtype=np.uint32)
    of_query = _mixed(of_head[:, None] + at)
    hashed = _mixed(of_query[:, :, None] ^ (at * np.uint32(0x9E3779B9)))
    kept = hashed >= np.uint32(min(round(dropout * 2**32), 2**32 - 1))
    return torch.from_numpy(kept).reshape(batches, heads, length, length)


def _mixed(x):
    """Return the integer hash lowbias32 of Wellons 2018, as in vectors.h."""
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))
