"""Compare FlexAttention with `reference`: the forward pass on any device, gradients on CUDA."""

import pytest
import torch
from torch.nn.attention.flex_attention import flex_attention
from torch.testing import assert_close

from selfattn_bio.attention.attend import attend
from selfattn_bio.attention.inputs import AttentionMask, prepare
from selfattn_bio.attention.kernels import flex
from selfattn_bio.attention.patterns import (
    BlockLocal,
    CausalPattern,
    Full,
    Global,
    RandomBlocks,
    Strided,
    Window,
)
from selfattn_bio.attention.positions import Alibi, NoPosition, Rotary, T5Bias

B, H, L, DH = 2, 2, 300, 16
PATTERNS = (
    Full(),
    Window(70),
    Window(9, dilation=5),
    Window(20) | Global(3),
    Window(20) | Strided(64),
    BlockLocal(100),
    Window(40) | Global(1) | RandomBlocks(2, 64),
)
each = pytest.mark.parametrize("pattern", [*PATTERNS, *map(CausalPattern, PATTERNS)], ids=str)
no_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def inputs(device, dtype):
    torch.manual_seed(0)
    q, k, v = (
        torch.randn(B, H, L, DH, device=device, dtype=dtype, requires_grad=True) for _ in range(3)
    )
    return q, k, v


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@each
@pytest.mark.parametrize("ragged", [False, True])
def test_rules_equal_reference_in_the_forward(pattern, ragged, monkeypatch):
    monkeypatch.setattr(flex, "_compiled", lambda: flex_attention)  # stores every pair
    q, k, v = (x.detach()[:, :, : L // 2] for x in inputs("cpu", torch.float32))
    mask = torch.ones(B, L // 2, dtype=torch.bool)  # two blocks of 128
    if ragged:
        mask[0, 140:] = mask[1, 85:] = False  # random blocks depend on the length
    position = T5Bias(H, 8, 40)
    shared = AttentionMask(mask)
    with torch.no_grad():
        request = prepare(q, k, v, pattern=pattern, position=position, mask=shared)
        found = flex.run(request)
        expected = attend(
            q, k, v, pattern=pattern, position=position, mask=shared, kernel="reference"
        )
    for one, other, real in zip(found, expected, mask, strict=True):
        assert_close(one[:, real], other[:, real], rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
@no_cuda
@each
@pytest.mark.parametrize(
    "make",
    [NoPosition, lambda: T5Bias(H, 8, 40), lambda: Alibi(H), lambda: Rotary(DH)],
    ids=["none", "t5", "alibi", "rotary"],
)
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-3), (torch.bfloat16, 3e-2)])
def test_kernel_equals_reference_in_output_and_gradients(pattern, make, dtype, limit):
    position = make().to("cuda")
    q, k, v = inputs("cuda", dtype)
    mask = torch.ones(B, L, dtype=torch.bool, device="cuda")
    mask[1, 280:] = False
    upstream = torch.randn_like(q)
    leaves = [q, k, v, *position.parameters()]
    results = []
    for kernel in ("flex", "reference"):
        out = attend(q, k, v, pattern=pattern, position=position, mask=mask, kernel=kernel)
        results.append([out, *torch.autograd.grad(out, leaves, upstream)])
    for one, other in zip(*results, strict=True):
        assert float((one - other).norm() / other.norm()) < limit
