"""Compare every kernel with `reference` in float64: outputs and gradients.

Patterns, positions, lengths and padding vary.
"""

import itertools

import pytest
import torch
from band_here import needs_band
from hypothesis import example, given, settings
from hypothesis import strategies as st
from kernel_cases import DH, EXACT, H, batch, gradients
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
    return out, *gradients(out, [*qkv, *position.parameters()], upstream)


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


@pytest.mark.parametrize("make", [lambda: Shaw(DH, 20), lambda: TransformerXL(H, DH, 30)])
@pytest.mark.parametrize("frozen", [slice(3), slice(3, None)], ids=["inputs", "position"])
def test_frozen_tensors_do_not_change_other_gradients(make, frozen):
    torch.manual_seed(0)
    position, (qkv, upstream, _) = make().double(), batch(150, False)
    expected = results("reference", qkv, position, upstream, pattern=Window(20))[1:]
    tensors = [*qkv, *position.parameters()]
    for x in tensors[frozen]:
        x.requires_grad_(False)
    learned = [number for number, x in enumerate(tensors) if x.requires_grad]
    out = attend(*qkv, pattern=Window(20), position=position, kernel="slab")
    found = torch.autograd.grad(out, [tensors[number] for number in learned], upstream)
    for number, gradient in zip(learned, found, strict=True):
        assert_close(gradient, expected[number], **EXACT)


# a band kernel that samples blocks leaves a second band to the tiles
SAMPLED_AND_BAND = CausalPattern(Window(1) | RandomBlocks(1, 16)) | Window(40)


@settings(max_examples=150, deadline=None)
@example(
    pattern=SAMPLED_AND_BAND,
    make=lambda head_dim: NoPosition(),
    length=63,
    padded=True,
    dtype=torch.float32,
)
@given(
    pattern=patterns,
    make=positions,
    length=lengths,
    padded=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_every_kernel_is_within_rounding_of_float64(pattern, make, length, padded, dtype):
    torch.manual_seed(0)
    position = make(16)
    qkv, upstream, mask = batch(length, padded, dtype=dtype, head_dim=16)
    arguments = {"pattern": pattern, "mask": mask}
    kernels = able(config.KERNELS, qkv, pattern, position)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        found = [results(kernel, qkv, position, upstream, **arguments) for kernel in kernels]
    exact = [x.detach().double().requires_grad_() for x in qkv]
    expected = results("reference", exact, position.double(), upstream.double(), **arguments)
    limit = 1e-5 if dtype == torch.float32 else 2e-2
    for kernel, tensors in zip(kernels, found, strict=True):
        assert tensors[0].dtype == dtype
        for number, (one, other) in enumerate(zip(tensors, expected, strict=True)):
            # If terms of about 1 cancel, the error is relative to the square root of their number.
            # Gradients of the tables of positions are sums over all queries.
            terms = other.numel() * (length if number > 3 else 1)
            size = max(float(other.detach().norm()), terms**0.5)
            assert float((one.double() - other).detach().norm()) < limit * size, kernel


KERNELS = ["slab", pytest.param("band", marks=needs_band), pytest.param("joint", marks=needs_band)]


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
    out, *grads = results(kernel, qkv, make().to(dtype), upstream, pattern=pattern, mask=mask)
    for x in (out, grads[0]):
        assert not x[0].any()
        assert not x[1, :, 79:].any()
        # query 78 has a single key, so its gradient is 0
        assert x[1, :, :78].any(-1).all()
    for x in grads[1:3]:
        assert not x[0].any()
        assert not x[1, :, 70:].any()
    assert all(bool(x.isfinite().all()) for x in grads)


def precision(kernel):
    """Return dtype, head_dim and tolerance that suit a kernel."""
    if kernel in ("band", "joint"):
        return torch.float32, 16, {"rtol": 1e-4, "atol": 1e-5}
    return torch.float64, DH, EXACT


WINDOWS = (Window(20), CausalPattern(Window(20)), Window(20) | Global(2), Full())
BIGBIRD = Window(9) | Global(2) | RandomBlocks(3, 16)
OTHERS = (BlockLocal(16), CausalPattern(RandomBlocks(3, 16)))
SAMPLED = (BIGBIRD, CausalPattern(BIGBIRD))
BESIDE = (*SAMPLED, BIGBIRD | RandomBlocks(2, 8), Window(9) | Strided(20))


def served(*patterns):
    """Return parameters (kernel, pattern) of the CPU kernels and the patterns they support."""
    known = dict.fromkeys(("reference", "sdpa", "slab"), patterns)
    known |= {"band": WINDOWS + SAMPLED, "joint": BESIDE}
    marks = {"band": needs_band, "joint": needs_band}
    return [
        pytest.param(kernel, pattern, marks=marks.get(kernel, ()), id=f"{kernel}-{pattern}")
        for kernel, some in known.items()
        for pattern in some
        if pattern in patterns
    ]


@pytest.mark.parametrize(("kernel", "pattern"), served(*WINDOWS, *OTHERS, *BESIDE))
def test_padding_at_either_end_changes_nothing(pattern, kernel):
    # the others depend on the start of the sequence
    shifted = (Window(20), CausalPattern(Window(20)), Full(), Window(9) | Strided(20))
    fronts = (0, 37) if pattern in shifted else (0,)
    dtype, head_dim, tolerance = precision(kernel)
    qkv, _, _ = batch(130, False, batch_size=1, dtype=dtype, head_dim=head_dim)
    torch.manual_seed(0)
    positions = [T5Bias(H, 8, 20), Alibi(H), Rotary(head_dim)]
    if kernel in ("reference", "slab"):
        positions += [Shaw(head_dim, 9), TransformerXL(H, head_dim, 9)]
    for position, front in itertools.product(positions, fronts):
        rule = {"pattern": pattern, "position": position.to(dtype), "kernel": kernel}
        alone = attend(*qkv, **rule)
        padded = [torch.randn(1, H, 207, head_dim, dtype=dtype) for _ in qkv]
        at = slice(front, front + 130)
        for x, real in zip(padded, qkv, strict=True):
            x[:, :, at] = real.detach()
        mask = torch.zeros(1, 207, dtype=torch.bool)
        mask[:, at] = True
        assert_close(attend(*padded, **rule, mask=mask)[:, :, at], alone, **tolerance)


@pytest.mark.parametrize("kernel", ["reference", "sdpa", *KERNELS])
def test_two_runs_are_bit_equal(kernel):
    pattern = Window(70) | Global(8) | RandomBlocks(2, 64)
    torch.manual_seed(0)
    position = T5Bias(H, 16, 40)
    qkv, upstream, mask = batch(400, True, dtype=torch.float32, head_dim=16)
    first, second = (
        results(kernel, qkv, position, upstream, pattern=pattern, mask=mask) for _ in range(2)
    )
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("shape", [(0, H, 5, 16), (2, H, 0, 16)])
def test_empty_sequences(shape):
    q = torch.zeros(shape)
    rule = {"pattern": Window(3) | RandomBlocks(1), "position": NoPosition(), "kernel": "slab"}
    assert attend(q, q, q, **rule).shape == shape


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
    pairs = sum(
        (tile.queries.stop - tile.queries.start) * tile.index().shape[-1]
        for walk in found
        for tile in walk
    )
    assert pairs <= (length + 3 * 64) * 64 * chunks  # complete chunks, for each remainder


@pytest.mark.parametrize("pattern", [Window(64), Window(20) | Window(64, dilation=2)], ids=str)
def test_tiles_of_windows_share_distances_and_mask_only_ends(pattern):
    mask = AttentionMask(torch.ones(1, 4096, dtype=torch.bool))
    for walk in walks(pattern, mask, heads=8, done=()):
        tiles = list(walk)
        assert {len(tile.distances) for tile in tiles} == {1}
        # the first and last chunk of each remainder have keys without tokens
        assert sum(tile.allowed is not None for tile in tiles) <= 2 * walk.step < len(tiles)
