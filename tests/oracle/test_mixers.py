"""Rules that hold for every kind of attention: padding, precision, dropout, shapes."""

import pytest
import torch
from mixer_cases import DH, MIXERS, B, H, make, make_inputs
from torch.testing import assert_close

from selfattn_bio.attention.positions import NoPosition


@pytest.mark.parametrize("name", MIXERS)
def test_padding_changes_nothing(name):
    mixer = make(MIXERS, name)
    q, k, v, _ = make_inputs(7, padded=False)
    alone = mixer(q, k, v, position=NoPosition())
    for more in (1, 5, 30):
        longer = [
            torch.cat(
                (x.detach(), 9 * torch.randn(B, H, more, DH, dtype=x.dtype)), 2
            ).requires_grad_()
            for x in (q, k, v)
        ]
        mask = torch.arange(7 + more).expand(B, -1) < 7
        padded = mixer(*longer, position=NoPosition(), mask=mask)
        assert_close(padded[:, :, :7], alone, rtol=1e-10, atol=1e-12)
        upstream = torch.randn(alone.shape, dtype=alone.dtype)
        wanted = torch.autograd.grad(
            alone, (q, k, v), upstream, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        got = torch.autograd.grad(
            padded[:, :, :7], longer, upstream, allow_unused=True, materialize_grads=True
        )
        for one, other in zip(got, wanted, strict=True):
            assert_close(one[:, :, :7], other, rtol=1e-9, atol=1e-11)
            assert float(one[:, :, 7:].abs().amax().detach()) == 0


@pytest.mark.parametrize("name", MIXERS)
def test_sequence_of_padding_gives_zero(name):
    mixer = make(MIXERS, name)
    q, k, v, mask = make_inputs(7)
    mask[1] = False
    out = mixer(q, k, v, position=NoPosition(), mask=mask)
    assert float(out[1].abs().amax().detach()) == 0
    gradients = torch.autograd.grad(out.sum(), (q, k, v), allow_unused=True, materialize_grads=True)
    assert all(
        bool(x.isfinite().all()) and float(x[1].abs().amax().detach()) == 0 for x in gradients
    )


@pytest.mark.parametrize("name", MIXERS)
@pytest.mark.parametrize("shape", [(0, H, 5, DH), (B, H, 0, DH)])
def test_empty_sequence_gives_empty_output(name, shape):
    x = torch.zeros(shape, dtype=torch.float64)
    assert make(MIXERS, name)(x, x, x, position=NoPosition()).shape == shape


@pytest.mark.parametrize("name", MIXERS)
def test_two_runs_are_equal_bit_by_bit(name):
    mixer = make(MIXERS, name)
    outs = []
    for _ in range(2):
        q, k, v, mask = make_inputs(40)
        torch.manual_seed(3)
        out = mixer(q, k, v, position=NoPosition(), mask=mask, dropout=0.2)
        outs.append(
            (
                out,
                *torch.autograd.grad(
                    out.square().sum(), (q, k, v), allow_unused=True, materialize_grads=True
                ),
            )
        )
    assert all(torch.equal(one, other) for one, other in zip(*outs, strict=True))


@pytest.mark.parametrize("name", MIXERS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_is_near(name, dtype):
    """Test autocast and low-precision tensors, with sums that overflow float16."""
    mixer = make(MIXERS, name).float()
    q, k, v, mask = make_inputs(1800, dtype=torch.float32)
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
        gradients = torch.autograd.grad(
            out.float().mean(), low, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        assert all(bool(x.isfinite().all()) for x in gradients)


DROPPING = [
    ("softmax", 0),
    ("dynamic", 0),
    ("hierarchical", -99),
    ("hierarchical", 99),
]


@torch.no_grad()
@pytest.mark.parametrize(("name", "share"), DROPPING)
def test_dropout_has_its_rate_and_keeps_the_mean(name, share):
    """Test hierarchical with each level alone.

    On average, the mean of 400 samples is off by 0.8 of its standard error.
    """
    mixer = make(MIXERS, name)
    if name == "hierarchical":
        torch.nn.init.constant_(mixer.share, share)
    q, k, v, _ = make_inputs(19, padded=False)
    whole = mixer(q, k, v, position=NoPosition())
    drawn = torch.stack([mixer(q, k, v, position=NoPosition(), dropout=0.3) for _ in range(400)])
    error = drawn.std(0) / 20
    assert float(error.min()) > 1e-4
    assert 0.6 < float(((drawn.mean(0) - whole) / error).abs().mean()) < 1.0


@pytest.mark.parametrize("name", MIXERS)
def test_heads_share_keys_and_values(name):
    mixer = make(MIXERS, name)
    q, k, v, mask = make_inputs(19)
    shared = mixer(q, k[:, :1], v[:, :1], position=NoPosition(), mask=mask)
    assert_close(
        shared,
        mixer(q, k[:, :1].expand_as(k), v[:, :1].expand_as(v), position=NoPosition(), mask=mask),
    )


@pytest.mark.parametrize("name", MIXERS)
def test_shapes_are_checked(name):
    q, k, v, mask = make_inputs(7)
    with pytest.raises(ValueError, match=r"mask has shape \(2, 6\); expected \(B, L\) = \(2, 7\)"):
        make(MIXERS, name)(q, k, v, position=NoPosition(), mask=mask[:, :6])
