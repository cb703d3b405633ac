"""Test the encoder as an ordinary module, built from plain arguments with public names only."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from selfattn_bio import Encoder, Global, Learned, Rotary, Sinusoidal, T5Bias, Window
from selfattn_bio.config import AttentionModel
from selfattn_bio.model.encoder import build_encoder, split_heads


def inputs(length=20):
    torch.manual_seed(0)
    mask = torch.ones(2, length, dtype=torch.bool)
    mask[1, 12:] = False
    return torch.randn(2, length, 16), mask


@pytest.mark.parametrize(
    "position", [None, Rotary(4), T5Bias(4), Sinusoidal(), Learned(16, 20), lambda: Rotary(4)]
)
def test_encoder_runs_on_tensors(position):
    encoder = Encoder(16, 2, 4, pattern=Window(3) | Global(1), position=position).eval()
    x, mask = inputs()
    y = encoder(x, mask)
    assert y.shape == x.shape
    y.square().sum().backward()
    assert_close(encoder(x[1:, :12], mask[1:, :12])[0], y[1, :12])


def test_each_layer_copies_the_position():
    position = T5Bias(4)
    encoder = Encoder(16, 2, 4, position=position)
    tables = [block.attention.position.table.weight for block in encoder.blocks]
    assert torch.equal(tables[0], tables[1])
    assert len({id(table) for table in (*tables, position.table.weight)}) == 3


def test_dropout_of_attention_weights_is_a_separate_setting():
    section = AttentionModel(dropout=0.5)
    (first, _), (other, _) = (
        build_encoder(each).blocks
        for each in (section, section.model_copy(update={"attention_dropout": 0.2}))
    )
    assert (first.attention.dropout, other.attention.dropout) == (0.0, 0.2)
    assert first.dropout[0].p == other.dropout[0].p == 0.5


def test_absolute_position_is_added_once():
    encoder = Encoder(16, 2, 4, position=Learned(16, 20))
    assert sum("table" in name for name, _ in encoder.named_parameters()) == 1


def test_feedforward_is_four_times_as_wide_by_default():
    encoder = Encoder(16, 1, 4, num_kv_heads=2)
    sizes = [layer.weight.shape for layer in encoder.modules() if isinstance(layer, nn.Linear)]
    assert sizes == [(32, 16), (16, 16), (64, 16), (16, 64)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_heads": 3}, "embed_dim 16 is not a multiple of num_heads 3"),
        ({"num_kv_heads": 3}, "num_heads 4 is not a multiple of num_kv_heads 3"),
        ({"position": "rotary"}, "position is 'rotary'; expected one such as"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Encoder(**{"embed_dim": 16, "num_layers": 1, "num_heads": 4} | arguments)


def test_heads_are_views_of_the_projection():
    packed = torch.arange(2 * 3 * 12.0).reshape(2, 3, 12)
    q, k, v = split_heads(packed, (2, 1, 1), 3)
    assert torch.equal(q, packed[..., :6].unflatten(-1, (2, 3)).transpose(1, 2))
    assert torch.equal(k, packed[..., 6:9][:, None])
    assert torch.equal(v, packed[..., 9:][:, None])
    assert q.data_ptr() == packed.data_ptr()


def test_gradients_of_heads_are_concatenated():
    packed = torch.randn(2, 5, 24, requires_grad=True)
    parts = split_heads(packed, (2, 2, 2), 4)
    grads = [torch.randn(2, 2, 5, 4) for _ in range(3)]
    (found,) = torch.autograd.grad(parts, packed, grads)
    assert torch.equal(found, torch.cat(grads, 1).transpose(1, 2).flatten(2))


def test_encoder_without_mask_has_no_padding():
    encoder, x = Encoder(16, 1, 2), torch.randn(2, 5, 16)
    assert torch.equal(encoder(x), encoder(x, torch.ones(2, 5, dtype=torch.bool)))
