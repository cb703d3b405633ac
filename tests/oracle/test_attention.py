"""Compare the reference kernel with loops over pairs in float64: outputs and gradients."""

import math

import pytest
import torch
from kernel_cases import filled, gradients, three_heads
from torch.testing import assert_close

from selfattn_bio.attention.attend import attend
from selfattn_bio.attention.patterns import (
    BlockLocal,
    CausalPattern,
    Full,
    Global,
    RandomBlocks,
    Strided,
    Union,
    Window,
)
from selfattn_bio.attention.positions import Alibi, NoPosition, Rotary, Shaw, T5Bias, TransformerXL

B, H, DH = 2, 3, 6
LENGTHS = (1, 2, 7, 19)
PATTERNS = (
    Full(),
    Window(3),
    Window(50),
    Window(2, dilation=3),
    Window(3) | Global(1),
    Window(2) | Global(8),
    Window(1) | Strided(5),
    BlockLocal(4),
    Window(1) | Global(1) | RandomBlocks(2, block=3, seed=5),
)
POSITIONS = {
    "none": NoPosition,
    "t5": lambda: T5Bias(H, 8, 16),
    "t5, symmetric": lambda: T5Bias(H, 8, 16, symmetric=True),
    "alibi": lambda: Alibi(H),
    "rotary": lambda: Rotary(DH),
    "rotary, interpolated": lambda: Rotary(DH, interpolation=4.0),
    "rotary, another base": lambda: Rotary(DH, base=50.0),
    "shaw": lambda: Shaw(DH, 4),
    "transformer-xl": lambda: TransformerXL(H, DH, 5),
}


def hashed(query_block, number, seed):
    """Return the 32-bit hash for sample `number` of a block of queries.

    It is lowbias32 of Wellons 2018 of the weighted sum, in Python integers.
    """
    x = (0x9E3779B1 * query_block + 0x85EBCA77 * number + 0xC2B2AE3D * seed) % 2**32
    x = (x ^ x >> 16) * 0x7FEB352D % 2**32
    x = (x ^ x >> 15) * 0x846CA68B % 2**32
    return x ^ x >> 16


def may_attend(pattern, i, j, length, causal=False):
    match pattern:
        case Full():
            return True
        case Window():
            return (j - i) in [
                step * pattern.dilation for step in range(-pattern.window, pattern.window + 1)
            ]
        case Strided():
            return (j - i) % pattern.stride == 0
        case BlockLocal():
            return i // pattern.block == j // pattern.block
        case Global():
            return i < pattern.num_global or j < pattern.num_global
        case RandomBlocks():
            own, blocks = i // pattern.block, -(-length // pattern.block)
            # causal: sampled from the blocks up to that of the query
            last = min(own, blocks - 1) if causal else blocks - 1
            return any(
                hashed(own, number, pattern.seed) % (last + 1) == j // pattern.block
                for number in range(pattern.count)
            )
        case Union():
            return any(may_attend(member, i, j, length, causal) for member in pattern.members)
        case CausalPattern():
            return j <= i and may_attend(pattern.pattern, i, j, length, causal=True)


def rotated(x, at, position):
    half = x.shape[-1] // 2
    angles = torch.tensor(
        [
            at / position.interpolation * position.base ** (-2 * i / x.shape[-1])
            for i in range(half)
        ],
        dtype=x.dtype,
    )
    a, b = x[..., :half], x[..., half:]
    return torch.cat((a * angles.cos() - b * angles.sin(), a * angles.sin() + b * angles.cos()), -1)


def t5_bucket(distance, num_buckets, max_distance, symmetric):
    """Return the bucket of one distance by the published rule."""
    half = num_buckets if symmetric else num_buckets // 2
    start, exact, size = (half if distance > 0 and not symmetric else 0), half // 2, abs(distance)
    if size < exact:
        return start + size
    grown = exact + int(math.log(size / exact) / math.log(max_distance / exact) * (half - exact))
    return start + min(grown, half - 1)


def clipped(distance, most):
    return max(-most, min(most, distance)) + most


def score(position, qi, kj, i, j):
    """Return the score of one pair (H,) by the formula of each paper."""
    scale, distance = math.sqrt(DH), j - i
    match position:
        case Rotary():
            return (rotated(qi, i, position) * rotated(kj, j, position)).sum(-1) / scale
        case T5Bias():
            bucket = t5_bucket(
                distance, position.num_buckets, position.max_distance, position.directions == 1
            )
            return (qi * kj).sum(-1) / scale + position.table.weight[bucket]
        case Alibi():
            # three heads: the slopes of two heads, then the first slope of four heads
            slopes = torch.tensor([2**-4, 2**-8, 2**-2], dtype=qi.dtype)
            return (qi * kj).sum(-1) / scale - slopes * abs(distance)
        case Shaw():
            return (qi * (kj + position.keys[clipped(distance, position.max_distance)])).sum(
                -1
            ) / scale
        case TransformerXL():
            at, dim = clipped(distance, position.max_distance) - position.max_distance, H * DH
            angles = [at / 10_000 ** (2 * m / dim) for m in range(dim // 2)]
            sinusoid = torch.tensor(
                [math.sin(a) for a in angles] + [math.cos(a) for a in angles], dtype=qi.dtype
            )
            place = (position.project.weight @ sinusoid).view(H, DH)
            content, bias = position.content[:, 0], position.place[:, 0]
            return ((qi + content) * kj + (qi + bias) * place).sum(-1) / scale
        case _:
            return (qi * kj).sum(-1) / scale


def attention_by_loops(q, k, v, pattern, position, mask):
    """Compute scaled dot-product attention of all heads, one query and one key at a time."""
    out = []
    for b in range(q.shape[0]):
        length = max((j + 1 for j in range(q.shape[2]) if mask[b, j]), default=0)
        for i in range(q.shape[2]):
            keys = [
                j for j in range(q.shape[2]) if mask[b, j] and may_attend(pattern, i, j, length)
            ]
            if not keys:
                out.append(torch.zeros_like(q[b, :, i]))
                continue
            weight = torch.stack([score(position, q[b, :, i], k[b, :, j], i, j) for j in keys])
            values = [v[b, :, j] for j in keys]
            if isinstance(position, Shaw):
                values = [
                    value + position.values[clipped(j - i, position.max_distance)]
                    for value, j in zip(values, keys, strict=True)
                ]
            weight = weight.exp()
            out.append(((weight / weight.sum(0))[..., None] * torch.stack(values)).sum(0))
    return torch.stack(out).view(q.transpose(1, 2).shape).transpose(1, 2)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("kind", POSITIONS)
@pytest.mark.parametrize("pattern", [*PATTERNS, *map(CausalPattern, PATTERNS)], ids=str)
def test_reference_equals_loops_in_output_and_gradients(pattern, kind, padded):
    position = filled(POSITIONS, kind)
    for length in LENGTHS if kind == "none" else (7,):
        q, k, v, mask = three_heads(length, padded)
        leaves, upstream = [q, k, v, *position.parameters()], torch.randn(q.shape, dtype=q.dtype)
        found = attend(q, k, v, pattern=pattern, position=position, mask=mask, kernel="reference")
        expected = attention_by_loops(q, k, v, pattern, position, mask)
        assert_close(found, expected, rtol=1e-10, atol=1e-12)
        both = (gradients(out, leaves, upstream) for out in (found, expected))
        for one, other in zip(*both, strict=True):
            assert_close(one, other, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("heads", [1, 2])
def test_grouped_queries_share_keys_and_values(heads):
    torch.manual_seed(0)
    q = torch.randn(B, 4, 9, DH, dtype=torch.float64)
    k, v = (torch.randn(B, heads, 9, DH, dtype=torch.float64, requires_grad=True) for _ in range(2))
    found = attend(q, k, v, pattern=Window(3), position=NoPosition())
    for h in range(4):
        shared = h * heads // 4
        own = (q[:, h : h + 1], k[:, shared : shared + 1], v[:, shared : shared + 1])
        alone = attend(*own, pattern=Window(3), position=NoPosition())
        assert_close(found[:, h : h + 1], alone)
    assert torch.autograd.grad(found.sum(), v)[0].shape == v.shape


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_is_near(dtype):
    """Test autocast and low-precision tensors, with sums that overflow float16."""
    q, k, v, mask = three_heads(1800, dtype=torch.float32)
    v = (v + 40).detach().requires_grad_()  # the sum over 1,800 tokens overflows float16
    expected = attend(q, k, v, pattern=Window(3), mask=mask)
    low = [x.detach().to(dtype).requires_grad_() for x in (q, k, v)]
    tolerance = float(expected.detach().abs().median()) * (
        2**-7 if dtype == torch.float16 else 2**-5
    )
    with torch.autocast("cpu", dtype):
        cast = attend(*low, pattern=Window(3), mask=mask)
    for out in (cast, attend(*low, pattern=Window(3), mask=mask)):
        assert out.dtype == dtype
        assert float((out.float() - expected).detach().abs().median()) < tolerance
        assert all(bool(x.isfinite().all()) for x in gradients(out.float().mean(), low, None))
