"""`attend` against attention written as loops over queries and keys, in float64: outputs and all gradients."""

import math

import pytest
import torch
from torch.testing import assert_close

from selfattn_bio.attention.attend import attend, weights
from selfattn_bio.attention.patterns import Full, Window
from selfattn_bio.attention.positions import NoPosition, Rotary, T5Bias

B, H, DH = 2, 3, 8
LENGTHS = (1, 2, 7, 19)
PATTERNS = (Full(), Window(3), Window(3, num_global=1), Window(2, num_global=8), Window(50))


def may_attend(pattern, i, j):
    if isinstance(pattern, Full):
        return True
    return abs(i - j) <= pattern.window or i < pattern.num_global or j < pattern.num_global


def rotated(x, at, base=10_000.0):
    half = x.shape[-1] // 2
    angles = torch.tensor([at * base ** (-2 * i / x.shape[-1]) for i in range(half)], dtype=x.dtype)
    a, b = x[:half], x[half:]
    return torch.cat((a * angles.cos() - b * angles.sin(), a * angles.sin() + b * angles.cos()))


def t5_bucket(distance, num_buckets, max_distance):
    """The published rule, one distance at a time."""
    half = num_buckets // 2
    start, exact, size = (half if distance > 0 else 0), half // 2, abs(distance)
    if size < exact:
        return start + size
    grown = exact + int(math.log(size / exact) / math.log(max_distance / exact) * (half - exact))
    return start + min(grown, half - 1)


def attention_by_loops(q, k, v, pattern, position, mask):
    """Scaled dot-product attention, one query and one key at a time."""
    out = []
    for b in range(q.shape[0]):
        for h in range(q.shape[1]):
            for i in range(q.shape[2]):
                keys = [j for j in range(q.shape[2]) if may_attend(pattern, i, j) and mask[b, j]]
                if not keys:
                    out.append(torch.zeros(q.shape[3], dtype=q.dtype))
                    continue
                scores = []
                for j in keys:
                    qi, kj = q[b, h, i], k[b, h, j]
                    if isinstance(position, Rotary):
                        qi, kj = rotated(qi, i), rotated(kj, j)
                    score = (qi * kj).sum() / math.sqrt(q.shape[3])
                    if isinstance(position, T5Bias):
                        score = score + position.table.weight[t5_bucket(j - i, position.num_buckets, position.max_distance), h]
                    scores.append(score)
                weight = torch.stack(scores).exp()
                out.append(((weight / weight.sum())[:, None] * torch.stack([v[b, h, j] for j in keys])).sum(0))
    return torch.stack(out).view(q.shape)


def make_position(kind):
    torch.manual_seed(1)
    position = {"none": NoPosition, "t5": lambda: T5Bias(H, 8, 16), "rotary": lambda: Rotary(DH)}[kind]().double()
    for table in position.parameters():
        torch.nn.init.normal_(table)
    return position


def make_inputs(length, padded):
    torch.manual_seed(length)
    q, k, v = (torch.randn(B, H, length, DH, dtype=torch.float64, requires_grad=True) for _ in range(3))
    mask = torch.ones(B, length, dtype=torch.bool)
    if padded:
        mask[1, length // 2 :] = False  # for length 1: a sequence of padding alone
    return q, k, v, mask


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("kind", ["none", "t5", "rotary"])
@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
@pytest.mark.parametrize("length", LENGTHS)
def test_attend_equals_loops_in_output_and_gradients(length, pattern, kind, padded):
    q, k, v, mask = make_inputs(length, padded)
    position = make_position(kind)
    leaves = [q, k, v, *position.parameters()]
    upstream = torch.randn(q.shape, dtype=q.dtype)

    found = attend(q, k, v, pattern=pattern, position=position, mask=mask)
    found_gradients = torch.autograd.grad(found, leaves, upstream)
    expected = attention_by_loops(q, k, v, pattern, position, mask)
    expected_gradients = torch.autograd.grad(expected, leaves, upstream, materialize_grads=True) if expected.requires_grad else None

    assert_close(found, expected, rtol=1e-10, atol=1e-12)
    for one, other in zip(found_gradients, expected_gradients, strict=True):
        assert_close(one, other, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("kind", ["none", "t5", "rotary"])
@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_scoring_path_and_weights_agree_with_training_path(pattern, kind):
    q, k, v, mask = make_inputs(19, padded=True)
    position = make_position(kind)
    trained = attend(q, k, v, pattern=pattern, position=position, mask=mask)
    with torch.no_grad():
        scored = attend(q, k, v, pattern=pattern, position=position, mask=mask)
        weight = weights(q, k, pattern=pattern, position=position, mask=mask)
    assert_close(scored, trained.detach(), rtol=1e-10, atol=1e-12)
    assert_close(weight @ v, scored, rtol=1e-10, atol=1e-12)
    assert float(weight[1, :, :, 9:].abs().max()) == 0  # padding receives nothing


@pytest.mark.parametrize("kind", ["none", "t5", "rotary"])
def test_float32_is_within_rounding_of_float64(kind):
    q, k, v, mask = make_inputs(19, padded=True)
    position = make_position(kind)
    exact = attend(q, k, v, pattern=Window(4, 1), position=position, mask=mask)
    single = attend(*(x.float() for x in (q, k, v)), pattern=Window(4, 1), position=position.float(), mask=mask)
    assert_close(single.double(), exact, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["t5", "rotary"])
def test_a_shift_of_all_tokens_changes_nothing_under_a_window(kind):
    q, k, v, _ = make_inputs(19, padded=False)
    position = make_position(kind)
    front = torch.zeros(B, H, 5, DH, dtype=torch.float64)
    moved = [torch.cat((front, x), 2) for x in (q, k, v)]
    mask = torch.ones(B, 24, dtype=torch.bool)
    mask[:, :5] = False
    expected = attend(q, k, v, pattern=Window(4), position=position)
    assert_close(attend(*moved, pattern=Window(4), position=position, mask=mask)[:, :, 5:], expected, rtol=1e-9, atol=1e-11)


def test_dropout_keeps_the_mean_and_drops_its_share():
    torch.manual_seed(0)
    q = k = torch.zeros(1, 1, 400, 2)
    v = torch.ones(1, 1, 400, 2)
    found = attend(q, k, v, pattern=Full(), position=T5Bias(1), dropout=0.25).detach()
    assert abs(float(found.mean()) - 1) < 0.01
    assert float(found.std()) > 0.01
