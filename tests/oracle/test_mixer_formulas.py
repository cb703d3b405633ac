"""Compare each kind of attention with dense formulas in float64: outputs and gradients."""

import pytest
import torch
from mixer_cases import DH, MIXERS, B, H, make, make_inputs
from torch.testing import assert_close

from selfattn_bio.attention.attend import attend
from selfattn_bio.attention.mixers import (
    Dynamic,
    Hierarchical,
    Linear,
    Linformer,
    Performer,
    Reformer,
)
from selfattn_bio.attention.patterns import Full
from selfattn_bio.attention.positions import Alibi, NoPosition, Rotary, T5Bias
from selfattn_bio.errors import SelfAttnBioError

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
    each = [
        torch.autograd.grad(out, leaves, upstream, allow_unused=True, materialize_grads=True)
        for out in (found, expected)
    ]
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
    position = make(POSITIONS, kind)
    for length in LENGTHS:
        q, k, v, mask = make_inputs(length, padded)
        allowed = chosen_blocks(*position.rotate(q, k), mask, 2, 2)
        found = Dynamic(block=2, top=2)(q, k, v, position=position, mask=mask)
        assert_equal_with_gradients(
            found, dense(q, k, v, position, allowed), [q, k, v, *position.parameters()]
        )


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("kind", POSITIONS)
def test_dynamic_of_all_blocks_is_full_attention(kind, padded):
    position = make(POSITIONS, kind)
    for length in LENGTHS:
        q, k, v, mask = make_inputs(length, padded)
        found = Dynamic(block=3, top=100)(q, k, v, position=position, mask=mask)
        expected = attend(q, k, v, pattern=Full(), position=position, mask=mask, kernel="reference")
        assert_equal_with_gradients(found, expected, [q, k, v, *position.parameters()])


def test_dynamic_gives_no_gradient_to_other_blocks():
    q, k, v, mask = make_inputs(19, padded=False)
    used = chosen_blocks(q, k, mask, 2, 2)[0, 0, 5]
    out = Dynamic(block=2, top=2)(q, k, v, position=NoPosition())
    assert int(used.sum()) == 10
    _, d_k, d_v = torch.autograd.grad(out[0, 0, 5].sum(), (q, k, v))
    assert torch.equal(d_v[0, 0].abs().sum(-1) > 0, used)
    assert torch.equal(d_k[0, 0].abs().sum(-1) > 0, used)


def test_dynamic_takes_first_of_equal_blocks():
    q, k, v, _ = make_inputs(2, padded=False)
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


# ------------ linear and performer
def by_features(phi_q, phi_k, v, mask):
    """Compute attention with products of features as weights, each row divided by its sum."""
    products = (phi_q @ phi_k.transpose(-1, -2)) * mask[:, None, None]  # (B, H, L, L)
    total = products.sum(-1, keepdim=True)
    return products / total.masked_fill(total == 0, 1.0) @ v


@pytest.mark.parametrize("padded", [False, True])
def test_linear_equals_its_weights_written_out(padded):
    for length in LENGTHS:
        q, k, v, mask = make_inputs(length, padded)
        phi_q, phi_k = (torch.where(x > 0, x + 1, x.exp()) for x in (q, k))
        found = Linear(DH)(q, k, v, position=NoPosition(), mask=mask)
        assert_equal_with_gradients(found, by_features(phi_q, phi_k, v, mask), [q, k, v])


@pytest.mark.parametrize("kind", ["none", "rotary"])
@pytest.mark.parametrize("padded", [False, True])
def test_performer_equals_its_weights_written_out(kind, padded):
    position, mixer = make(POSITIONS, kind), make(MIXERS, "performer")
    for length in LENGTHS:
        q, k, v, mask = make_inputs(length, padded)
        found = mixer(q, k, v, position=position, mask=mask)
        turned = [x / DH**0.25 for x in position.rotate(q, k)]
        phi = [
            (
                torch.einsum("bhld,hrd->bhlr", x, mixer.directions)
                - x.norm(dim=-1, keepdim=True) ** 2 / 2
            ).exp()
            for x in turned
        ]
        assert_equal_with_gradients(found, by_features(*phi, v, mask), [q, k, v])


def test_directions_are_orthogonal_and_point_everywhere():
    torch.manual_seed(0)
    directions = Performer(500, 4, 8).directions  # (500, 8, 4), two groups
    first = torch.nn.functional.normalize(directions, dim=-1)[:, :4]
    assert_close(
        first @ first.transpose(-1, -2), torch.eye(4).expand(500, -1, -1), atol=1e-5, rtol=0
    )
    # 0.5 / sqrt(500) = 0.02 is the noise of unit vectors
    assert float(first.mean(0).abs().max()) < 0.1
    assert 3.7 < float(directions.square().sum(-1).mean()) < 4.3  # normal vectors in 4 dimensions


def test_performer_nears_softmax_with_more_features():
    q, k, v, mask = make_inputs(40)
    q, k = q / 2, k / 2  # the variance of the estimate grows with exp(q^2 + k^2)
    exact = dense(q, k, v, NoPosition(), mask[:, None, None].expand(-1, H, 40, -1)).detach()
    errors = []
    for features in (16, 256, 4096):
        torch.manual_seed(0)
        found = (
            Performer(H, DH, features).double()(q, k, v, position=NoPosition(), mask=mask).detach()
        )
        errors.append(float((found - exact).square().mean().sqrt() / exact.std()))
    assert errors[0] > 2 * errors[1] > 4 * errors[2]  # error falls as 1 / sqrt(features)
    assert errors[2] < 0.05


@pytest.mark.parametrize("name", ["linear", "performer"])
def test_large_scores_stay_finite(name):
    """Products of very small features are 0 in float32 and must not give 0 / 0."""
    mixer = make(MIXERS, name).float()
    q, k, v = (x.detach().float().mul(60).requires_grad_() for x in make_inputs(19)[:3])
    out = mixer(q, k, v, position=NoPosition())
    assert all(bool(x.isfinite().all()) for x in (out, *torch.autograd.grad(out.sum(), (q, k, v))))


# ------------ linformer
@pytest.mark.parametrize("padded", [False, True])
def test_linformer_attends_to_its_sums_of_keys(padded):
    mixer = make({"": lambda: Linformer(max_length=19, rank=5)}, "")
    for length in LENGTHS:
        q, k, v, mask = make_inputs(length, padded)
        sums = [torch.zeros(B, H, 5, DH, dtype=q.dtype) for _ in range(2)]
        for b, j in mask.nonzero().tolist():
            for rows, x, weights in zip(sums, (k, v), (mixer.keys, mixer.values), strict=True):
                rows[b] = rows[b] + weights[:, j, None] * x[b, :, None, j]
        expected = (q @ sums[0].transpose(-1, -2) / DH**0.5).softmax(-1) @ sums[1]
        found = mixer(q, k, v, position=NoPosition(), mask=mask)
        assert_equal_with_gradients(found, expected, [q, k, v, *mixer.parameters()])


def test_linformer_refuses_longer_sequences():
    q, k, v, _ = make_inputs(19)
    message = "a sequence has 19 tokens, more than model.mixer.max_length = 18"
    with pytest.raises(SelfAttnBioError, match=message):
        Linformer(max_length=18, rank=5).double()(q, k, v, position=NoPosition())


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
    position, mixer = make(POSITIONS, kind), make(MIXERS, "hierarchical")
    for length in LENGTHS:
        q, k, v, mask = make_inputs(length, padded)
        shares = 1 / (1 + (-mixer.share).exp())[:, None, None]
        expected = two_levels(q, k, v, position, mask, 2, 4, shares)
        found = mixer(q, k, v, position=position, mask=mask)
        assert_equal_with_gradients(
            found, expected, [q, k, v, *position.parameters(), *mixer.parameters()]
        )


def test_hierarchical_of_single_tokens_is_full_attention():
    q, k, v, mask = make_inputs(19)
    mixer, position = Hierarchical(H, window=1, pool=1).double(), make(POSITIONS, "t5")
    torch.nn.init.constant_(mixer.share, 100.0)
    found = mixer(q, k, v, position=position, mask=mask)
    expected = attend(q, k, v, pattern=Full(), position=position, mask=mask, kernel="reference")
    # padding queries are left out
    assert_close(*(x.transpose(1, 2)[mask] for x in (found, expected)))


# ------------ reformer
def meeting(q, mask, mixer):
    """Return which pairs attend in any round, (B, H, L, L) bool, one round at a time."""
    length = q.shape[2]
    allowed = torch.zeros(B, H, length, length, dtype=torch.bool)
    for b in range(B):
        real = mask[b].nonzero().flatten().tolist()
        for h in range(H):
            for rotation in mixer.rotations:
                numbers = [
                    [float(x) for x in q[b, h, i].detach() @ rotation] for i in range(length)
                ]
                bucket = [
                    (row + [-x for x in row]).index(max(row + [-x for x in row])) if row else 0
                    for row in numbers
                ]
                chunk = {
                    token: place // mixer.chunk
                    for place, token in enumerate(sorted(real, key=lambda i: (bucket[i], i)))
                }
                for i in real:
                    allowed[
                        b,
                        h,
                        i,
                        [
                            j
                            for j in real
                            if bucket[i] == bucket[j] and abs(chunk[i] - chunk[j]) <= 1
                        ],
                    ] = True
    return allowed


def of_shared(q, v, position, allowed):
    """Compute softmax attention over the allowed pairs, with queries of length 1 as keys.

    A token attends to itself only if it has no other key.
    """
    length = q.shape[2]
    itself = torch.eye(length, dtype=torch.bool)
    lonely = (allowed & ~itself).sum(-1, keepdim=True) == 0
    return dense(q, q / q.norm(dim=-1, keepdim=True), v, position, allowed & (~itself | lonely))


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("kind", POSITIONS)
@pytest.mark.parametrize(
    ("num_buckets", "chunk", "hashes"), [(4, 3, 1), (4, 3, 3), (2, 2, 2), (1, 4, 2)]
)
def test_reformer_attends_to_tokens_of_shared_buckets(kind, padded, num_buckets, chunk, hashes):
    torch.manual_seed(0)
    position, mixer = make(POSITIONS, kind), Reformer(DH, num_buckets, chunk, hashes).double()
    for length in LENGTHS:
        q, _, v, mask = make_inputs(length, padded)
        turned, _ = position.rotate(q, q)
        expected = of_shared(q, v, position, meeting(turned, mask, mixer))
        found = mixer(q, q, v, position=position, mask=mask)
        assert_equal_with_gradients(found, expected, [q, v, *position.parameters()])


@pytest.mark.parametrize("padded", [False, True])
def test_reformer_of_one_bucket_in_two_chunks_is_full_attention(padded):
    q, _, v, mask = make_inputs(19, padded)
    found = Reformer(DH, num_buckets=1, chunk=10, hashes=2).double()(
        q, q, v, position=NoPosition(), mask=mask
    )
    full = (mask[:, None, None] & mask[:, None, :, None]).expand(-1, H, -1, -1)
    assert_equal_with_gradients(found, of_shared(q, v, NoPosition(), full), [q, v])


def test_reformer_finds_more_of_the_nearest_with_more_rounds():
    torch.manual_seed(0)
    q = torch.randn(B, H, 100, DH)
    scores = torch.nn.functional.normalize(q, dim=-1) @ torch.nn.functional.normalize(
        q, dim=-1
    ).transpose(-1, -2)
    nearest = (scores - 2 * torch.eye(100)).topk(5).indices
    recalls = []
    for hashes in (1, 3, 8):
        torch.manual_seed(1)
        met = meeting(
            q,
            torch.ones(B, 100, dtype=torch.bool),
            Reformer(DH, num_buckets=8, chunk=8, hashes=hashes),
        )
        recalls.append(float(met.gather(-1, nearest).float().mean()))
    assert recalls[0] > 0.3  # at most 24 of 100 by chance
    assert recalls[0] + 0.2 < recalls[1] < recalls[2]
