"""Small mixers, position encodings and inputs for the tests of mixers."""

import torch

from selfattn_bio.attention.mixers import Dynamic, Hierarchical, Softmax
from selfattn_bio.attention.patterns import Window

B, H, DH = 2, 3, 6
# small mixers for the tests that apply to every kind
MIXERS = {
    "softmax": lambda: Softmax(Window(3)),
    "dynamic": lambda: Dynamic(block=2, top=2),
    "hierarchical": lambda: Hierarchical(H, window=2, pool=4),
}


def make(kinds, name):
    torch.manual_seed(1)
    module = kinds[name]().double()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    return module


def make_inputs(length, padded=True, dtype=torch.float64):
    torch.manual_seed(length)
    q, k, v = (
        torch.randn(B, H, length, DH, dtype=torch.float64).to(dtype).requires_grad_()
        for _ in range(3)
    )
    mask = torch.ones(B, length, dtype=torch.bool)
    if padded:
        mask[1, length // 2 :] = False  # with length 1, the sequence is all padding
        if length > 2:
            mask[0, 1] = False  # padding inside, which does not shorten the sequence
    return q, k, v, mask
