"""Compare each kind of attention with dense formulas in float64, and test rules for all kinds."""

import pytest
import torch
from kernel_cases import filled, gradients, three_heads
from torch.testing import assert_close

from selfattn_bio.attention.attend import attend
from selfattn_bio.attention.mixers import Dynamic, Hierarchical, Softmax
from selfattn_bio.attention.patterns import Full, Window
from selfattn_bio.attention.positions import Alibi, NoPosition, Rotary, T5Bias

B, H, DH = 2, 3, 6
# small mixers for the tests that apply to every kind
MIXERS = {
    "softmax": lambda: Softmax(Window(3)),
    "dynamic": lambda: Dynamic(block=2, top=2),
    "hierarchical": lambda: Hierarchical(H, window=2, pool=4),
}


@pytest.mark.parametrize("name", MIXERS)
def test_padding_changes_nothing(name):
    mixer = filled(MIXERS, name)
    q, k, v, _ = three_heads(7, padded=False)
    alone = mixer(q, k, v, position=NoPosition())
    for more in (1, 5, 30):
        pads = [9 * torch.randn(B, H, more, DH, dtype=q.dtype) for _ in range(3)]
        longer = [torch.cat((x.detach(), pad), 2) for x, pad in zip((q, k, v), pads, strict=True)]
        longer = [x.requires_grad_() for x in longer]
        mask = torch.arange(7 + more).expand(B, -1) < 7
        padded = mixer(*longer, position=NoPosition(), mask=mask)
        assert_close(padded[:, :, :7], alone, rtol=1e-10, atol=1e-12)
        upstream = torch.randn(alone.shape, dtype=alone.dtype)
        wanted = gradients(alone, (q, k, v), upstream)
        got = gradients(padded[:, :, :7], longer, upstream)
        for one, other in zip(got, wanted, strict=True):
            assert_close(one[:, :, :7], other, rtol=1e-9, atol=1e-11)
            assert float(one[:, :, 7:].abs().amax().detach()) == 0


@pytest.mark.parametrize("name", MIXERS)
def test_sequence_of_padding_gives_zero(name):
    mixer = filled(MIXERS, name)
    q, k, v, mask = three_heads(7)
    mask[1] = False
    out = mixer(q, k, v, position=NoPosition(), mask=mask)
    assert float(out[1].abs().amax().detach()) == 0
    for x in gradients(out.sum(), (q, k, v), None):
        assert x.isfinite().all()
        assert not x[1].any()


@pytest.mark.parametrize("name", MIXERS)
@pytest.mark.parametrize("shape", [(0, H, 5, DH), (B, H, 0, DH)])
def test_empty_sequence_gives_empty_output(name, shape):
    x = torch.zeros(shape, dtype=torch.float64)
    assert filled(MIXERS, name)(x, x, x, position=NoPosition()).shape == shape


@pytest.mark.parametrize("name", MIXERS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_is_near(name, dtype):
    """Test autocast and low-precision tensors, with sums that overflow float16."""
    mixer = filled(MIXERS, name).float()
    q, k, v, mask = three_heads(1800, dtype=torch.float32)
    v = (v + 40).detach().requires_grad_()  # the sum over 1,800 tokens overflows float16
    expected = mixer(q, k, v, position=NoPosition(), mask=mask)
    low = [x.detach().to(dtype).requires_grad_() for x in (q, k, v)]
    tolerance = float(expected.detach().abs().median()) * (
        2**-7 if dtype == torch.float16 else 2**-5
    )
    with torch.autocast("cpu", dtype):
        cast = mixer(*low, position=NoPosition(), mask=mask)
    plain = mixer.to(dtype)(*low, position=NoPosition(), mask=mask)
    for out in (cast, plain):
        assert out.dtype == dtype
        assert float((out.float() - expected).detach().abs().median()) < tolerance
        assert all(bool(x.isfinite().all()) for x in gradients(out.float().mean(), low, None))


DROPPING = [("softmax", 0), ("dynamic", 0), ("hierarchical", -99), ("hierarchical", 99)]


@torch.no_grad()
@pytest.mark.parametrize(("name", "gate"), DROPPING)
def test_dropout_has_its_rate_and_keeps_the_mean(name, gate):
    """Test hierarchical with each level alone.

    On average, the mean of 400 samples is off by 0.8 of its standard error.
    """
    mixer = filled(MIXERS, name)
    if name == "hierarchical":
        torch.nn.init.constant_(mixer.gate, gate)
    q, k, v, _ = three_heads(19, padded=False)
    whole = mixer(q, k, v, position=NoPosition())
    drawn = torch.stack([mixer(q, k, v, position=NoPosition(), dropout=0.3) for _ in range(400)])
    error = drawn.std(0) / 20
    assert float(error.min()) > 1e-4
    assert 0.6 < float(((drawn.mean(0) - whole) / error).abs().mean()) < 1.0


@pytest.mark.parametrize("name", MIXERS)
def test_heads_share_keys_and_values(name):
    mixer = filled(MIXERS, name)
    q, k, v, mask = three_heads(19)
    rule, one = {"position": NoPosition(), "mask": mask}, (k[:, :1], v[:, :1])
    repeated = (x.expand_as(k) for x in one)
    assert_close(mixer(q, *one, **rule), mixer(q, *repeated, **rule))


# ------------ formulas
LENGTHS = (1, 2, 7, 19)
POSITIONS = {
    "none": NoPosition,
    "t5": lambda: T5Bias(H, 8, 16),
    "alibi": lambda: Alibi(H),
    "rotary": lambda: Rotary(DH),
}


def assert_equal_with_gradients(found, expected, leaves):
    assert_close(found, expected, rtol=1e-9, atol=1e-11)
    upstream = torch.randn(found.shape, dtype=found.dtype)
    each = [gradients(out, leaves, upstream) for out in (found, expected)]
    for one, other in zip(*each, strict=True):
        assert_close(one, other, rtol=1e-8, atol=1e-10)


def dense(q, k, v, position, allowed):
    """Compute softmax attention over allowed pairs, (B, H, L, L) bool; 0 without keys."""
    length = q.shape[2]
    bias, (q, k) = position.terms(q, length).bias, position.rotate(q, k)
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    if bias is not None:
        distance = torch.arange(length) - torch.arange(length)[:, None]
        most = bias.shape[1] // 2
        scores = scores + bias[:, distance.clamp(-most, most) + most]
    return scores.masked_fill(~allowed, -1e300).softmax(-1).masked_fill(~allowed, 0.0) @ v


# ------------ dynamic
def chosen_blocks(q, k, mask, block, top):
    """Return the pairs of the chosen blocks, (B, H, L, L) bool, estimated one by one."""
    (q, k), length = (q.detach(), k.detach()), q.shape[2]
    allowed = torch.zeros(B, H, length, length, dtype=torch.bool)
    for b, h, i in torch.cartesian_prod(
        torch.arange(B), torch.arange(H), torch.arange(length)
    ).tolist():
        ranked = []
        for number, start in enumerate(range(0, length, block)):
            keys, far = (
                k[b, h, start : start + block][mask[b, start : start + block]],
                abs(number - i // block) > 1,
            )
            if len(keys):
                x = q[b, h, i] / DH**0.5
                weight = len(keys) * torch.exp(
                    x @ keys.mean(0) + (x.square() * keys.var(0, correction=0)).sum() / 2
                )
                ranked.append((far, -float(weight), start))
        for _, _, start in sorted(ranked)[: top + 3]:
            allowed[b, h, i, start : start + block] = True
    return allowed & mask[:, None, None]


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("kind", POSITIONS)
def test_dynamic_attends_to_blocks_of_highest_weight(kind, padded):
    position = filled(POSITIONS, kind)
    for length in LENGTHS:
        q, k, v, mask = three_heads(length, padded)
        allowed = chosen_blocks(*position.rotate(q, k), mask, 2, 2)
        found = Dynamic(block=2, top=2)(q, k, v, position=position, mask=mask)
        assert_equal_with_gradients(
            found, dense(q, k, v, position, allowed), [q, k, v, *position.parameters()]
        )


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("kind", POSITIONS)
def test_dynamic_of_all_blocks_is_full_attention(kind, padded):
    position = filled(POSITIONS, kind)
    for length in LENGTHS:
        q, k, v, mask = three_heads(length, padded)
        found = Dynamic(block=3, top=100)(q, k, v, position=position, mask=mask)
        expected = attend(q, k, v, pattern=Full(), position=position, mask=mask, kernel="reference")
        assert_equal_with_gradients(found, expected, [q, k, v, *position.parameters()])


def test_dynamic_gives_no_gradient_to_other_blocks():
    q, k, v, mask = three_heads(19, padded=False)
    used = chosen_blocks(q, k, mask, 2, 2)[0, 0, 5]
    out = Dynamic(block=2, top=2)(q, k, v, position=NoPosition())
    assert int(used.sum()) == 10
    _, d_k, d_v = torch.autograd.grad(out[0, 0, 5].sum(), (q, k, v))
    assert torch.equal(d_v[0, 0].abs().sum(-1) > 0, used)
    assert torch.equal(d_k[0, 0].abs().sum(-1) > 0, used)


def test_dynamic_takes_first_of_equal_blocks():
    q, k, v, _ = three_heads(2, padded=False)
    repeated = [x.detach().repeat(1, 1, 8, 1) for x in (k, v)]
    queries = q.detach()[:, :, :1].expand(-1, -1, 16, -1)
    mixer = Dynamic(block=2, top=2)
    for length in (16, 12):
        chosen = mixer.chosen(
            queries[0, :, :length],
            repeated[0][0, :, :length].reshape(-1, 2, DH),
            torch.ones(H * length // 2, 2).bool(),
        )
        assert chosen[:, 8].tolist() == [[3, 4, 5, 0, 1]] * H


def test_dynamic_finds_a_key_at_any_position():
    """One of 4,096 keys matches a query at the start.

    It is in one of 128 blocks. Two blocks are near and 6 are chosen, so that chance is 0.06.
    """
    torch.manual_seed(0)
    mixer, length, found = Dynamic(block=32, top=5), 4096, []
    for at in torch.linspace(64, length - 1, 64).long().tolist():
        query, k = torch.randn(1, 1, 32), torch.randn(length, 32)
        k[at] = 3 * query
        found.append(
            at // 32
            in mixer.chosen(query, k.view(-1, 32, 32), torch.ones(128, 32, dtype=torch.bool))
        )
    assert sum(found) > 0.9 * len(found)


# ------------ hierarchical
def two_levels(q, k, v, position, mask, window, pool, shares):
    """Combine near and far attention, with each coarse token computed separately."""
    length = q.shape[2]
    at = torch.arange(length)
    allowed = ((at - at[:, None]).abs() <= window) & mask[:, None, None]
    near = dense(q, k, v, position, allowed.expand(-1, H, -1, -1))
    bias, (q, k) = position.terms(q, length).bias, position.rotate(q, k)
    starts, blocks, coarse = range(0, length, pool), mask.split(pool, 1), []
    for x in (q, k, v):
        sums = [
            (part * real[:, None, :, None]).sum(2)
            for part, real in zip(x.split(pool, 2), blocks, strict=True)
        ]
        counts = [real.sum(1).clamp(min=1)[:, None, None] for real in blocks]
        coarse.append(torch.stack(sums, 2) / torch.stack(counts, 2))
    some = torch.stack([real.any(1) for real in blocks], 1)[:, None, None]  # (B, 1, 1, M)
    scores = coarse[0] @ coarse[1].transpose(-1, -2) / DH**0.5
    if bias is not None:
        distance = torch.tensor([[(j - i) for j in starts] for i in starts])
        most = bias.shape[1] // 2
        scores = scores + bias[:, distance.clamp(-most, most) + most]
    far = scores.masked_fill(~some, -1e300).softmax(-1).masked_fill(~some, 0.0) @ coarse[2]
    far = torch.stack([far[:, :, i // pool] for i in range(length)], 2)
    return (1 - shares) * near + shares * far


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("kind", POSITIONS)
def test_hierarchical_is_a_window_and_attention_of_means(kind, padded):
    position, mixer = filled(POSITIONS, kind), filled(MIXERS, "hierarchical")
    for length in LENGTHS:
        q, k, v, mask = three_heads(length, padded)
        far = 1 / (1 + (-mixer.gate).exp())[:, None, None]
        expected = two_levels(q, k, v, position, mask, 2, 4, far)
        found = mixer(q, k, v, position=position, mask=mask)
        assert_equal_with_gradients(
            found, expected, [q, k, v, *position.parameters(), *mixer.parameters()]
        )


def test_hierarchical_of_single_tokens_is_full_attention():
    q, k, v, mask = three_heads(19)
    mixer, position = Hierarchical(H, window=1, pool=1).double(), filled(POSITIONS, "t5")
    torch.nn.init.constant_(mixer.gate, 100.0)
    found = mixer(q, k, v, position=position, mask=mask)
    expected = attend(q, k, v, pattern=Full(), position=position, mask=mask, kernel="reference")
    # padding queries are left out
    assert_close(*(x.transpose(1, 2)[mask] for x in (found, expected)))
