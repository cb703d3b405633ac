"""Compare every kernel with `reference` in float64: outputs and gradients.

Patterns, positions, lengths and padding vary.
"""

import pytest
import torch
from band_here import needs_band
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import DH, EXACT, H, batch
from torch.testing import assert_close

from selfattn_bio import config
from selfattn_bio.attention.attend import attend
from selfattn_bio.attention.inputs import AttentionMask, prepare
from selfattn_bio.attention.kernels import why_unsupported
from selfattn_bio.attention.patterns import (
    BlockLocal,
    CausalPattern,
    Full,
    Global,
    RandomBlocks,
    Strided,
    Window,
)
from selfattn_bio.attention.positions import Alibi, NoPosition, Rotary, Shaw, T5Bias, TransformerXL
from selfattn_bio.attention.tiles import walks

windows = st.builds(
    Window,
    st.sampled_from([1, 5, 63, 64, 65, 100, 1000]),
    dilation=st.sampled_from([1, 1, 1, 2, 7]),
)
globals_ = st.builds(Global, st.sampled_from([1, 8, 300]))
patterns = st.one_of(
    st.just(Full()),
    windows,
    st.builds(lambda a, b: a | b, windows, globals_),
    st.builds(lambda a, b: a | b, windows, st.builds(Strided, st.sampled_from([3, 50]))),
    st.builds(BlockLocal, st.sampled_from([1, 48, 64, 600])),
    st.builds(
        lambda a, b, c: a | b | c,
        windows,
        globals_,
        st.builds(RandomBlocks, st.integers(1, 4), st.sampled_from([16, 64]), st.integers(0, 9)),
    ),
)
causal = st.builds(CausalPattern, patterns)
patterns = st.one_of(patterns, causal, st.builds(lambda a, b: a | b, causal, patterns))
positions = st.sampled_from(
    [
        lambda head_dim: NoPosition(),
        lambda head_dim: T5Bias(H, 16, 40),
        lambda head_dim: T5Bias(H, 16, 40, symmetric=True),
        lambda head_dim: Alibi(H),
        lambda head_dim: Rotary(head_dim),
        lambda head_dim: Shaw(head_dim, 20),
        lambda head_dim: TransformerXL(H, head_dim, 30),
    ]
)
lengths = st.sampled_from([1, 2, 63, 64, 129, 200, 330])


def results(kernel, qkv, position, upstream, **arguments):
    out = attend(*qkv, position=position, kernel=kernel, **arguments)
    return out, *torch.autograd.grad(
        out, [*qkv, *position.parameters()], upstream, allow_unused=True, materialize_grads=True
    )


def able(names, qkv, pattern, position):
    """Return the kernels that can handle the request."""
    inputs = prepare(*qkv, pattern=pattern, position=position)
    return [name for name in names if why_unsupported(name, inputs) is None]


@settings(max_examples=150, deadline=None)
@given(pattern=patterns, make=positions, length=lengths, padded=st.booleans())
def test_slab_and_sdpa_equal_reference(pattern, make, length, padded):
    torch.manual_seed(0)
    position = make(DH).double()
    qkv, upstream, mask = batch(length, padded)
    arguments = {"pattern": pattern, "mask": mask}
    expected = results("reference", qkv, position, upstream, **arguments)
    for kernel in able(["slab", "sdpa"], qkv, pattern, position):
        for one, other in zip(
            results(kernel, qkv, position, upstream, **arguments), expected, strict=True
        ):
            assert_close(one, other, **EXACT)


@settings(max_examples=100, deadline=None)
@given(pattern=patterns, make=positions, length=lengths, padded=st.booleans())
def test_every_kernel_in_float32_is_within_rounding_of_float64(pattern, make, length, padded):
    torch.manual_seed(0)
    position = make(16)
    qkv, upstream, mask = batch(length, padded, dtype=torch.float32, head_dim=16)
    arguments = {"pattern": pattern, "mask": mask}
    kernels = able(config.KERNELS, qkv, pattern, position)
    found = [results(kernel, qkv, position, upstream, **arguments) for kernel in kernels]
    exact = [x.detach().double().requires_grad_() for x in qkv]
    expected = results("reference", exact, position.double(), upstream.double(), **arguments)
    for kernel, tensors in zip(kernels, found, strict=True):
        for one, other in zip(tensors, expected, strict=True):
            # if terms of about 1 cancel, the error is relative to the square root of their number
            size = max(float(other.detach().norm()), other.numel() ** 0.5)
            assert float((one.double() - other).detach().norm()) < 1e-5 * size, kernel


KERNELS = ["slab", pytest.param("band", marks=needs_band), pytest.param("joint", marks=needs_band)]
ONE_WINDOW = (
    Window(70) | Global(8),
    CausalPattern(Window(100) | Global(2)),
    Full(),
    CausalPattern(Full()),
)
MORE = (
    Window(70) | Global(2) | RandomBlocks(2, 64),
    Window(20) | Strided(30),
    CausalPattern(Window(20) | Global(1) | RandomBlocks(2, 32)),
    CausalPattern(Window(5) | Global(8)) | RandomBlocks(4, 16),
)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kernel", ["sdpa", *KERNELS])
@pytest.mark.parametrize("pattern", [*ONE_WINDOW, *MORE], ids=str)
@pytest.mark.parametrize(
    "make",
    [lambda: T5Bias(H, 16, 40), lambda: Rotary(16), lambda: Alibi(H)],
    ids=["t5", "rotary", "alibi"],
)
def test_kernels_are_within_rounding_of_float64(pattern, make, dtype, kernel):
    if kernel == ("band" if pattern in MORE else "joint"):
        with pytest.raises(
            ValueError,
            match=r"the pattern is not one window (with or without|combined with other parts)",
        ):
            attend(
                *torch.zeros(3, 1, H, 99, 16), pattern=pattern, position=NoPosition(), kernel=kernel
            )
        return
    torch.manual_seed(0)
    position = make()
    qkv, upstream, mask = batch(300, True, dtype=dtype, head_dim=16)
    found = results(kernel, qkv, position, upstream, pattern=pattern, mask=mask)
    exact = [x.detach().double().requires_grad_() for x in qkv]
    expected = results(
        "reference",
        exact,
        position.double(),
        upstream.double(),
        pattern=pattern,
        mask=mask,
    )
    limit = 1e-5 if dtype == torch.float32 else 2e-2
    for one, other in zip(found, expected, strict=True):
        assert float(((one.double() - other).norm() / other.norm()).detach()) < limit


@pytest.mark.parametrize("kernel", ["reference", "sdpa", *KERNELS])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("make", [NoPosition, lambda: T5Bias(H, 16, 40)], ids=["none", "t5"])
def test_queries_without_keys_have_zero_output_and_gradient(make, dtype, kernel):
    """A sequence of all padding, and queries whose keys are all padding, give 0."""
    pattern = Window(9) | Strided(200) if kernel == "joint" else Window(9)
    torch.manual_seed(0)
    qkv, upstream, _ = batch(150, False, dtype=dtype, head_dim=16)
    mask = torch.zeros(2, 150, dtype=torch.bool)
    mask[1, :70] = True
    out, *gradients = results(kernel, qkv, make().to(dtype), upstream, pattern=pattern, mask=mask)
    for x in (out, gradients[0]):
        assert not x[0].any()
        assert not x[1, :, 79:].any()
        # query 78 has a single key, so its gradient is 0
        assert x[1, :, :78].any(-1).all()
    for x in gradients[1:3]:
        assert not x[0].any()
        assert not x[1, :, 70:].any()
    assert all(bool(x.isfinite().all()) for x in gradients)


class Door(torch.nn.Module):
    """`attend` as a module, whose parameters can be replaced."""

    def __init__(self, position, kernel):
        super().__init__()
        self.position, self.kernel = position, kernel

    def forward(self, q, k, v):
        return attend(
            q,
            k,
            v,
            pattern=Window(2) | Global(1) | RandomBlocks(1, 2),
            position=self.position,
            kernel=self.kernel,
        )


@pytest.mark.parametrize("kernel", ["reference", "slab"])
@pytest.mark.parametrize(
    "make",
    [lambda: T5Bias(2, 4, 3), lambda: Shaw(2, 2), lambda: TransformerXL(2, 2, 3)],
    ids=["t5", "shaw", "xl"],
)
def test_gradcheck(kernel, make):
    torch.manual_seed(0)
    position = make().double()
    door = Door(position, kernel)
    names, tables = zip(*door.named_parameters(), strict=True)
    q, k, v = (torch.randn(1, 2, 5, 2, dtype=torch.float64, requires_grad=True) for _ in range(3))
    assert torch.autograd.gradcheck(
        lambda *x: torch.func.functional_call(door, dict(zip(names, x[3:], strict=True)), x[:3]),
        (q, k, v, *tables),
    )


def precision(kernel):
    """Return dtype, head_dim and tolerance that suit a kernel."""
    if kernel in ("band", "joint"):
        return torch.float32, 16, {"rtol": 1e-4, "atol": 1e-5}
    return torch.float64, DH, EXACT


WINDOWS = (Window(20), CausalPattern(Window(20)), Window(20) | Global(2), Full())
OTHERS = (BlockLocal(16), CausalPattern(RandomBlocks(3, 16)))
BESIDE = (
    Window(9) | Global(2) | RandomBlocks(3, 16),
    CausalPattern(Window(9) | RandomBlocks(3, 16)),
    Window(9) | Strided(20),
)


def served(*patterns):
    """Return parameters (kernel, pattern) of the CPU kernels and the patterns they support."""
    known = {
        "reference": patterns,
        "sdpa": patterns,
        "slab": patterns,
        "band": WINDOWS,
        "joint": BESIDE,
    }
    return [
        pytest.param(
            kernel,
            pattern,
            marks=needs_band if kernel in ("band", "joint") else (),
            id=f"{kernel}-{pattern}",
        )
        for kernel, some in known.items()
        for pattern in some
        if pattern in patterns
    ]


@pytest.mark.parametrize(("kernel", "pattern"), served(*WINDOWS, *OTHERS, *BESIDE))
def test_padding_never_changes_a_result(pattern, kernel):
    dtype, head_dim, tolerance = precision(kernel)
    qkv, _, _ = batch(130, False, batch_size=1, dtype=dtype, head_dim=head_dim)
    torch.manual_seed(0)
    position = T5Bias(H, 8, 20).to(dtype)
    alone = attend(*qkv, pattern=pattern, position=position, kernel=kernel)
    padded = [torch.cat((x, torch.randn(1, H, 77, head_dim, dtype=dtype)), 2) for x in qkv]
    mask = torch.arange(207)[None] < 130
    assert_close(
        attend(*padded, pattern=pattern, position=position, mask=mask, kernel=kernel)[:, :, :130],
        alone,
        **tolerance,
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda _: T5Bias(H, 8, 20),
        lambda _: Alibi(H),
        Rotary,
        lambda dim: Shaw(dim, 9),
        lambda dim: TransformerXL(H, dim, 9),
    ],
    ids=["t5", "alibi", "rotary", "shaw", "xl"],
)
@pytest.mark.parametrize(("kernel", "pattern"), served(Window(20), Full(), Window(9) | Strided(20)))
def test_a_shift_of_all_tokens_changes_nothing(pattern, make, kernel):
    dtype, head_dim, tolerance = precision(kernel)
    torch.manual_seed(0)
    position = make(head_dim).to(dtype)
    if kernel in ("sdpa", "band", "joint") and isinstance(position, Shaw | TransformerXL):
        with pytest.raises(ValueError, match="the position has its own keys"):
            attend(
                *torch.zeros(3, 1, H, 9, head_dim),
                pattern=pattern,
                position=position.float(),
                kernel=kernel,
            )
        return
    qkv, _, _ = batch(130, False, batch_size=1, dtype=dtype, head_dim=head_dim)
    moved = [torch.cat((torch.randn(1, H, 37, head_dim, dtype=dtype), x), 2) for x in qkv]
    mask = torch.arange(167)[None] >= 37
    expected = attend(*qkv, pattern=pattern, position=position, kernel=kernel)
    assert_close(
        attend(*moved, pattern=pattern, position=position, mask=mask, kernel=kernel)[:, :, 37:],
        expected,
        **tolerance,
    )


@pytest.mark.parametrize("kernel", ["reference", "sdpa", *KERNELS])
def test_two_runs_are_bit_equal(kernel):
    pattern = (
        Window(70) | Global(8) if kernel == "band" else Window(70) | Global(8) | RandomBlocks(2, 64)
    )
    torch.manual_seed(0)
    position = T5Bias(H, 16, 40)
    qkv, upstream, mask = batch(400, True, dtype=torch.float32, head_dim=16)
    first, second = (
        results(kernel, qkv, position, upstream, pattern=pattern, mask=mask) for _ in range(2)
    )
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("kernel", ["reference", "sdpa", *KERNELS])
@pytest.mark.parametrize(
    "make",
    [
        NoPosition,
        lambda: T5Bias(H, 16, 40),
        lambda: Alibi(H),
        lambda: Rotary(16),
        lambda: Shaw(16, 20),
        lambda: TransformerXL(H, 16, 30),
    ],
    ids=["none", "t5", "alibi", "rotary", "shaw", "xl"],
)
def test_mixed_precision(kernel, make):
    """Parameters are float32, and q, k and v are bfloat16, as under autocast."""
    pattern = Window(20) | Strided(30) if kernel == "joint" else Window(20)
    position = make()
    qkv, upstream, _ = batch(150, False, dtype=torch.bfloat16, head_dim=16)
    if kernel in ("sdpa", "band", "joint") and isinstance(position, Shaw | TransformerXL):
        with pytest.raises(ValueError, match="the position has its own keys"):
            attend(*qkv, pattern=pattern, position=position, kernel=kernel)
        return
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out, *gradients = results(kernel, qkv, position, upstream, pattern=pattern)
    assert out.dtype == torch.bfloat16
    expected = attend(
        *(x.double() for x in qkv), pattern=pattern, position=position.double(), kernel="reference"
    )
    assert float(((out.double() - expected).norm() / expected.norm()).detach()) < 2e-2
    assert all(bool(x.isfinite().all()) for x in gradients)


@pytest.mark.parametrize("shape", [(0, H, 5, 16), (2, H, 0, 16)])
def test_empty_sequences(shape):
    q = torch.zeros(shape)
    assert (
        attend(
            q, q, q, pattern=Window(3) | RandomBlocks(1), position=NoPosition(), kernel="slab"
        ).shape
        == shape
    )


@pytest.mark.parametrize(
    ("pattern", "chunks"),
    [
        (Window(0), 1),
        (CausalPattern(Window(0)), 1),
        (Window(0, dilation=3), 1),
        (Window(64), 3),
        (CausalPattern(Window(64)), 2),
        (BlockLocal(64), 1),
    ],
    ids=str,
)
def test_slab_looks_at_no_more_keys_than_the_pattern_has(pattern, chunks):
    length = 2000
    mask = AttentionMask(torch.ones(1, length, dtype=torch.bool))
    found = walks(pattern, mask, heads=1, done=())
    pairs = sum(tile.index().numel() for walk in found for tile in walk)
    assert pairs <= (length + 3 * 64) * 64 * chunks  # complete chunks, for each remainder
