"""Test that convolutions by lookup equal convolutions of embeddings."""

import pytest
import torch
from torch import nn

from selfattn_bio import config
from selfattn_bio.model.build import build_network
from selfattn_bio.model.lookup import EmbeddedTokens, TokenConv, without_padding
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
