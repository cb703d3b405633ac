"""Random inputs and gradients for the tests of kernels."""

import torch

H, DH = 2, 4
EXACT = {"rtol": 1e-9, "atol": 1e-10}


def batch(length, padded, batch_size=2, dtype=torch.float64, head_dim=DH):
    generator = torch.Generator().manual_seed(length)
    q, k, v, upstream = (
        torch.randn(batch_size, H, length, head_dim, generator=generator, dtype=dtype)
        for _ in range(4)
    )
    mask = torch.ones(batch_size, length, dtype=torch.bool)
    if padded:
        mask[1, length // 2 :] = False  # with length 1, the sequence is all padding
    return [x.requires_grad_() for x in (q, k, v)], upstream, mask if padded else None
