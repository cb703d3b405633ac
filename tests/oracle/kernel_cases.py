"""Random inputs and gradients for the tests of kernels."""

import torch

from selfattn_bio.attention.mask import AttentionMask

H, DH = 2, 4
EXACT = {"rtol": 1e-9, "atol": 1e-10}


def batch(length, padded, segmented, batch_size=2, dtype=torch.float64, head_dim=DH):
    generator = torch.Generator().manual_seed(length)
    q, k, v, upstream = (
        torch.randn(batch_size, H, length, head_dim, generator=generator, dtype=dtype)
        for _ in range(4)
    )
    mask = torch.ones(batch_size, length, dtype=torch.bool)
    if padded:
        mask[1, length // 2 :] = False  # with length 1, the sequence is all padding
    segments = (torch.arange(length) * 3 // length).expand(batch_size, -1) if segmented else None
    return [x.requires_grad_() for x in (q, k, v)], upstream, mask if padded else None, segments


def mask_of(mask, segments):
    """Return the `AttentionMask` of padding and segments, each (B, L) or None."""
    if segments is None:
        return mask if mask is None else AttentionMask(mask)
    return AttentionMask(
        torch.ones_like(segments, dtype=torch.bool) if mask is None else mask, segments
    )
