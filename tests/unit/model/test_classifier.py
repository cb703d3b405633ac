"""Test networks of every kind: shapes, padding, and a gradient for each weight."""

import pytest
import torch
from torch.nn.functional import gelu, pad
from torch.testing import assert_close

from selfattn_bio import config
from selfattn_bio.model.build import build_members
from selfattn_bio.model.classifier import Network
from selfattn_bio.model.encoder import Encoder, SelfAttention, StochasticDepth
from selfattn_bio.model.heads import equal_parts
from selfattn_bio.model.stem import TowerStem

V = 20
SMALL = {"embed_dim": 16, "num_layers": 2, "num_heads": 2, "feedforward_dim": 32, "dropout": 0.1}
CONV = config.ConvStemSection(token_dim=6, kernel=5, pool=4, second_kernel=3)
TOWER = config.TowerStemSection(
    token_dim=6, channels=(8,), kernels=(5, 3), pools=(2, 2), residual_kernel=3
)
CLS, NO_STEM = {"kind": "cls"}, {"kind": "none"}
WINDOW = {"kind": "window", "window": 3, "num_global": 1}
SECTIONS = {
    name: config.AttentionModel(**SMALL, **settings)
    for name, settings in {
        "conv, t5, pooling": {"stem": CONV},
        "conv, rotary, cls": {"stem": CONV, "position": {"kind": "rotary"}, "head": CLS},
        "no stem, t5, window + global, cls": {"stem": NO_STEM, "pattern": WINDOW, "head": CLS},
        "no stem, no position, one part": {
            **{"stem": NO_STEM, "position": {"kind": "none"}},
            "head": {"kind": "pooling", "parts": 1},
        },
        "three members": {"stem": CONV, "members": 3},
        "tower, t5, pooling": {"stem": TOWER},
        "conv by the record": {"stem": CONV.model_copy(update={"norm": "record"})},
    }.items()
} | {
    "cnn": config.CnnModel(
        embed_dim=4, channels=(8, 8, 8), kernels=(5, 3, 3), pools=(2, 2, 2), hidden_dim=8
    )
}


@pytest.fixture(params=SECTIONS.values(), ids=SECTIONS.keys())
def network(request):
    torch.manual_seed(0)
    return Network(build_members(request.param, 1, config.BinaryObjective()), V)


def tokens_of(*lengths):
    torch.manual_seed(1)
    tokens = torch.randint(1, V, (len(lengths), max(lengths)))
    for row, length in zip(tokens, lengths, strict=True):
        row[length:] = 0
    return tokens


def score(network, tokens):
    return network.classify(network.embed(tokens), tokens != 0)


def test_sequence_logit_is_mean_of_members(network):
    network.eval()
    tokens = tokens_of(30, 17, 9)
    of_members = network(tokens)
    assert of_members.shape == (3, len(network.members), 1)
    assert_close(score(network, tokens), of_members.mean(1))
    assert len(of_members[0].unique()) == len(network.members)


def test_padding_changes_no_score(network):
    network.eval()
    tokens = tokens_of(30, 17, 9)
    alone = torch.cat([score(network, row[row != 0][None]) for row in tokens])
    assert_close(score(network, tokens), alone, rtol=1e-4, atol=1e-5)
    assert_close(score(network, pad(tokens, (0, 23))), alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SECTIONS)
def test_token_order_matters_with_positions(name):
    torch.manual_seed(0)
    network = Network(build_members(SECTIONS[name], 1, config.BinaryObjective()), V).eval()
    tokens = tokens_of(30)
    change = float((score(network, tokens.flip(1)) - score(network, tokens)).detach().abs())
    assert (change > 1e-5) == (name != "no stem, no position, one part")


def test_every_weight_gets_a_gradient(network):
    network.train()
    network(tokens_of(30, 17, 25, 28)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        # The softmax does not change when a constant is added to all scores, so their bias has no
        # gradient.
        if not name.endswith(("project.score.bias", "linear.bias")):
            assert float(parameter.grad.abs().max()) > 0, name


def test_equal_parts_of_worked_example():
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]], dtype=torch.bool)
    assert equal_parts(mask, 2).long().tolist() == [
        [[1, 0], [1, 0], [0, 1], [0, 1]],
        [[1, 0], [0, 1], [0, 0], [0, 0]],
    ]


def test_attention_weights_are_dropped_in_training_only():
    torch.manual_seed(0)
    attention = SelfAttention(16, 2, dropout=0.5)
    x, mask = torch.randn(1, 9, 16), torch.ones(1, 9, dtype=torch.bool)
    assert not torch.equal(attention.train()(x, mask), attention(x, mask))
    assert torch.equal(attention.eval()(x, mask), attention(x, mask))


def test_stochastic_depth_drops_branches_and_keeps_mean():
    branch = torch.ones(4000, 3, 2)
    layer = StochasticDepth(0.25)
    torch.manual_seed(0)
    seen = layer.train()(branch)
    # a sequence keeps or loses the complete branch
    assert torch.equal(seen, seen[:, :1, :1].expand_as(seen))
    assert seen.unique().tolist() == pytest.approx([0, 4 / 3])
    assert float(seen.mean()) == pytest.approx(1, abs=0.03)
    assert torch.equal(layer.eval()(branch), branch)


def test_stochastic_depth_grows_with_the_depth():
    encoder = Encoder(16, 2, 2, stochastic_depth=0.4)
    layers = [module for module in encoder.modules() if isinstance(module, StochasticDepth)]
    assert [layer.p for layer in layers] == [0.2, 0.4]


OF_PLACES = {
    "window + global": config.AttentionModel(
        **SMALL, members=2, stem=TOWER, pattern=config.WindowPattern(window=3, num_global=2)
    ),
    "dilated": config.DilatedModel(embed_dim=16, stem=TOWER, dilations=(1, 2)),
}


@pytest.mark.parametrize("section", OF_PLACES.values(), ids=OF_PLACES.keys())
def test_outputs_per_position_ignore_padding(section):
    torch.manual_seed(0)
    network = Network(build_members(section, 2, config.BinsObjective(points="p.bed")), V).eval()
    tokens = tokens_of(30, 17, 9)
    outputs = network(tokens)
    assert outputs.shape == (3, section.members, 8, 2)  # 30 tokens, four per position
    for row, of_row, places in zip(tokens, outputs, (8, 5, 3), strict=True):
        assert_close(network(row[row != 0][None])[0], of_row[:, :places], atol=1e-5, rtol=1e-5)
    network.train()(tokens).sum().backward()
    assert all(weight.grad.isfinite().all() for weight in network.parameters())


def test_tower_uses_max_pooling():
    section = config.TowerStemSection(token_dim=1, channels=(), kernels=(1,), pools=(3,))
    stem = TowerStem(section, 1, 0.0).eval()
    stem.stages[0].first.weight.data.fill_(1.0)
    x = torch.tensor([1.0, 5.0, -2.0, -7.0, -3.0, 9.0])
    found, places = stem(x[None, :, None], torch.tensor([[True] * 5 + [False]]))
    assert_close(found.flatten(), gelu(torch.tensor([5.0, -3.0])), atol=1e-3, rtol=1e-3)
    assert places.tolist() == [[True, True]]
