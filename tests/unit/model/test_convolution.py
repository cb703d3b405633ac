"""Test convolutions by lookup against those of embeddings, and pooling with padding."""

import pytest
import torch
from torch import nn

from selfattn_bio import config
from selfattn_bio.model.build import build_network
from selfattn_bio.model.convolution import (
    EmbeddedTokens,
    TokenConv,
    max_pool,
    pool_mask,
    without_padding,
)
from selfattn_bio.model.stem import BatchNorm
from selfattn_bio.sequence.kmers import PAD


def tokens_with_padding(size, length=45):
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(1, size, (4, length), generator=generator)
    tokens[1, 30:], tokens[2, 3:] = PAD, PAD
    return tokens


def network_of(model, k=3):
    torch.manual_seed(0)
    run = {"data": {"positives": "a", "negatives": "b"}, "tokens": {"k": k}, "model": model}
    return build_network(config.RunFile.model_validate(run)).double()


@pytest.mark.parametrize("bias", [False, True])
def test_lookup_equals_convolution_and_its_gradient(bias):
    torch.manual_seed(0)
    convolve, tokens = TokenConv(5, 6, 7, bias=bias).double(), tokens_with_padding(11)
    table = nn.Embedding(11, 5, padding_idx=PAD).double()
    embedded = without_padding(table(tokens), tokens != PAD)
    weights, found = [*convolve.parameters(), table.weight], []
    for x in (EmbeddedTokens(tokens, table(torch.arange(11))), embedded):
        y = convolve(x)
        assert y.shape == (4, 6, 45)
        found.append([y, *torch.autograd.grad((y * y.detach().cos()).sum(), weights)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("model", [{"kind": "attention", "dropout": 0.0}, {"kind": "cnn"}])
def test_outputs_of_tokens_equal_those_of_embeddings(model):
    network, tokens = network_of(model).eval(), tokens_with_padding(68)
    assert isinstance(network.inputs(tokens), EmbeddedTokens)
    found = []
    for outputs in (network(tokens).mean(1), network.classify(network.embed(tokens), tokens != 0)):
        network.zero_grad()
        outputs.square().sum().backward()
        found.append([outputs, *(weight.grad.clone() for weight in network.parameters())])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_large_vocabularies_are_embedded():
    network = network_of({"kind": "attention"}, k=6)
    assert isinstance(network.inputs(tokens_with_padding(4000)), torch.Tensor)


def test_batch_norm_equals_that_of_torch():
    ours, theirs = BatchNorm(6), nn.BatchNorm1d(6)
    for x in (torch.randn(3, 6, 8), torch.randn(3, 8, 6).transpose(1, 2)):
        torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())


def test_group_with_a_token_is_kept():
    mask = torch.tensor([[1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 1]], dtype=torch.bool)
    assert pool_mask(mask, 3).tolist() == [[True, False, False], [True, True, True]]


@pytest.mark.parametrize("image", [False, True])
@pytest.mark.parametrize("length", [6, 7])
def test_maximum_ignores_padding(length, image):
    x = -torch.rand(2, 3, length)  # padding must not win with 0
    mask = torch.ones(2, length, dtype=torch.bool)
    mask[0, 4:] = False
    given = x[:, :, None] if image else x
    pooled, pooled_mask = max_pool(given, mask, 3)
    assert torch.equal(pooled_mask, pool_mask(mask, 3))
    pooled = pooled[:, :, 0] if image else pooled
    for row, real in enumerate((4, length)):
        groups = x[row, :, :real].split(3, dim=-1)
        expected = torch.stack([group.amax(-1) for group in groups], -1)
        assert torch.equal(pooled[row, :, : expected.shape[-1]], expected)
        assert not pooled[row, :, expected.shape[-1] :].any()


def test_padding_gets_no_gradient():
    x = torch.randn(2, 3, 9, requires_grad=True)
    mask = torch.ones(2, 9, dtype=torch.bool)
    mask[0, 4:] = False
    max_pool(x * 1, mask, 3)[0].sum().backward()
    assert not x.grad[0, :, 4:].any()
    assert x.grad.sum() == 3 * 2 + 3 * 3  # one position of each group with a token
