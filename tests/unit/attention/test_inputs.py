"""Test the mask of a batch, that the layers of an encoder share its work, and dropout."""

import pytest
import torch

from selfattn_bio import Alibi, Encoder, Full, Global, NoPosition, Rotary, T5Bias, Window
from selfattn_bio.attention import inputs
from selfattn_bio.attention.dropout import Dropout, dropout
from selfattn_bio.attention.inputs import AttentionMask, as_mask


def tokens():
    mask = torch.ones(2, 6, dtype=torch.bool)
    mask[1, 4:] = False
    return mask


def test_mask_without_padding_restricts_nothing():
    mask = AttentionMask(torch.ones(2, 6, dtype=torch.bool))
    assert mask.padded is None
    assert mask.labels == (None, None)
    assert mask.dense(Full()) is None
    assert mask.lengths.tolist() == [6]
    assert AttentionMask(tokens()).lengths.tolist() == [6, 4]


def test_labels_are_equal_where_pairs_may_attend():
    mask = AttentionMask(tokens())
    queries, keys = mask.labels
    same = queries[:, :, None] == keys[:, None, :]
    assert torch.equal(same, mask.dense(Full()).expand(2, 1, 6, 6)[:, 0])


def test_dense_mask_is_computed_once_per_pattern():
    mask = AttentionMask(tokens())
    first = mask.dense(Window(1))
    assert mask.dense(Window(1)) is first
    assert not torch.equal(mask.dense(Window(2)), first)


def test_rows_are_selected():
    assert torch.equal(AttentionMask(tokens()).select(slice(1, 2)).tokens, tokens()[1:])


def test_as_mask_checks_the_shape():
    with pytest.raises(ValueError, match=r"mask has shape \(2, 6\); expected \(B, L\) = \(2, 5\)"):
        as_mask(AttentionMask(tokens()), torch.zeros(2, 1, 5, 4))
    assert as_mask(None, torch.zeros(2, 5, 4)).tokens.shape == (2, 5)


@pytest.mark.parametrize("position", [NoPosition, lambda: Rotary(4), lambda: Alibi(4)])
def test_layers_share_the_mask(position, monkeypatch):
    """Outputs are equal to those without sharing."""
    seen, prepare = [], inputs.prepare
    monkeypatch.setattr(
        "selfattn_bio.attention.attend.prepare",
        lambda *args, **named: seen.append(named["mask"]) or prepare(*args, **named),
    )
    torch.manual_seed(0)
    encoder = Encoder(16, 3, 4, pattern=Window(3) | Global(1), position=position()).eval()
    x = torch.randn(2, 6, 16)
    together = encoder(x, tokens())
    assert len(seen) == 3
    assert len({id(mask) for mask in seen}) == 1
    alone = encoder.place(x)
    for block in encoder.blocks:
        alone = block(alone, tokens())
    assert torch.equal(encoder.norm(alone), together)


def test_tables_kept_in_inference_mode_can_be_trained_with():
    for position in (Rotary(4, base=7.0), T5Bias(2, 8, 21)):
        q = torch.randn(1, 2, 13, 4, requires_grad=True)
        with torch.inference_mode():
            expected = position.rotate(q, q)[0], position.terms(q, 12).bias
        found = position.rotate(q, q)[0], position.terms(q, 12).bias
        for one, other in zip(found, expected, strict=True):
            if one is not None:
                one.sum().backward()
                assert torch.equal(one, other)


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_dropout_of_a_tensor_keeps_the_mean(p):
    torch.manual_seed(0)
    x = torch.ones(1_000_003)
    y = dropout(x, p)
    assert abs(float((y == 0).float().mean()) - p) < 0.002
    assert abs(float(y.mean()) - 1) < 0.005
    low, high = y.unique().tolist()
    assert low == 0
    assert high == pytest.approx(1 / (1 - p), rel=1e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rate_between_two_half_precision_values(dtype):
    """Sample in float32: bfloat16 has 256 steps from 0 to 1, which would round 1/1000 to 1/256."""
    dropped = []
    for each in (torch.float32, dtype):
        torch.manual_seed(0)
        y = dropout(torch.ones(1_000_003, dtype=each), 0.001)
        assert y.dtype == each
        dropped.append(y == 0)
    assert abs(float(dropped[1].double().mean()) - 0.001) < 0.0001
    assert torch.equal(*dropped)


def test_dropout_has_the_gradient_of_its_mask():
    x = torch.randn(37, requires_grad=True, dtype=torch.float64)
    torch.manual_seed(3)
    y = dropout(x, 0.3)
    y.sum().backward()
    assert torch.equal(x.grad * x.detach(), y.detach())


@pytest.mark.parametrize("p", [0.3, 0.99999999])
def test_dropout_works_in_every_memory_layout(p):
    rows = torch.randn(50, 40, 60)
    for x in (rows, rows.transpose(1, 2), rows[:, ::2], rows[:, :1].expand(-1, 40, -1)):
        y = dropout(x, p)
        assert y.shape == x.shape
        assert abs(float((y == 0).float().mean()) - p) < 0.01


def test_dropout_is_off_in_evaluation():
    x = torch.randn(9)
    assert Dropout(0.5).eval()(x) is x
