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


def three_heads(length, padded=True, dtype=torch.float64):
    """Return q, k, v (2, 3, L, 6), and a mask with padding, also inside a sequence."""
    torch.manual_seed(length)
    q, k, v = (
        torch.randn(2, 3, length, 6, dtype=torch.float64).to(dtype).requires_grad_()
        for _ in range(3)
    )
    mask = torch.ones(2, length, dtype=torch.bool)
    if padded:
        mask[1, length // 2 :] = False  # with length 1, the sequence is all padding
        if length > 2:
            mask[0, 1] = False  # padding inside, which does not shorten the sequence
    return q, k, v, mask


def filled(kinds, name):
    """Return a module of a kind in float64, with random parameters."""
    torch.manual_seed(1)
    module = kinds[name]().double()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    return module


def gradients(out, leaves, upstream):
    """Return a gradient of each leaf; 0 for those that the output does not depend on."""
    if not out.requires_grad:
        return [torch.zeros_like(leaf) for leaf in leaves]
    options = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
    return torch.autograd.grad(out, leaves, upstream, **options)
