"""Compare cross-attention with loops over queries and keys in float64: outputs and gradients.

Also tested: in the network with two inputs, padding changes nothing and the sum of the attribution
is preserved.
"""

import math

import pytest
import torch
from kernel_cases import gradients
from torch.testing import assert_close

from selfattn_bio import config
from selfattn_bio.attention.attend import cross_attention
from selfattn_bio.attention.positions import Alibi, NoPosition, Rotary, T5Bias
from selfattn_bio.attribution.rules import ATTNLRP, CP_LRP, attribution_rules, gradient_at
from selfattn_bio.model.build import build_network
from selfattn_bio.model.classifier import OneInput

B, H, DH = 3, 2, 4
POSITIONS = {
    "none": NoPosition,
    "t5": lambda: T5Bias(H, 8, 16),
    "alibi": lambda: Alibi(H),
    "rotary": lambda: Rotary(DH),
}
LENGTHS = [(5, 3), (2, 7), (4, 1)]


def oracle(q, k, v, position, mask):
    """Compute cross-attention query by query and key by key, with explicit rotations and biases."""
    rows = []
    for b in range(len(q)):
        for h in range(H):
            group = h // (H // k.shape[1])
            for i in range(q.shape[2]):
                scores = []
                for j in range(k.shape[2]):
                    query, key = q[b, h, i], k[b, group, j]
                    if isinstance(position, Rotary):
                        query, key = turned(query, i), turned(key, j)
                    score = (query * key).sum() / math.sqrt(DH)
                    if isinstance(position, T5Bias):
                        score = score + position.table.weight[position.buckets(40)[40 + j - i], h]
                    if isinstance(position, Alibi):
                        score = score - position.slopes[h] * abs(j - i)
                    scores.append(score.exp() * mask[b, j])
                total = sum(scores)
                rows.append(
                    sum(s / total * v[b, group, j] for j, s in enumerate(scores))
                    if mask[b].any()
                    else v[b, group, 0] * 0
                )
    return torch.stack(rows).view(*q.shape)


def turned(x, at):
    half = DH // 2
    angles = at * 10_000.0 ** (-torch.arange(half, dtype=torch.float64) * 2 / DH)
    first, second = x[:half], x[half:]
    return torch.cat(
        (first * angles.cos() - second * angles.sin(), second * angles.cos() + first * angles.sin())
    )


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("name", POSITIONS)
@pytest.mark.parametrize("kv_heads", [H, 1])
def test_outputs_and_gradients(name, lengths, kv_heads):
    torch.manual_seed(0)
    length, others = lengths
    position = POSITIONS[name]().double()
    q = torch.randn(B, H, length, DH, dtype=torch.float64, requires_grad=True)
    k, v = (
        torch.randn(B, kv_heads, others, DH, dtype=torch.float64, requires_grad=True)
        for _ in range(2)
    )
    mask = torch.ones(B, others, dtype=torch.bool)
    mask[1, max(1, others // 2) :] = False
    mask[2] = False  # a partner that is all padding
    weighed = torch.randn(B, H, length, DH, dtype=torch.float64)
    learned = [q, k, v, *position.parameters()]
    found = cross_attention(q, k, v, position=position, mask=mask)
    wanted = oracle(q, k, v, position, mask)
    assert_close(found, wanted)
    assert not found[2].any()
    both = (gradients(out, learned, weighed) for out in (found, wanted))
    for one, other in zip(*both, strict=True):
        assert one.isfinite().all()
        assert_close(one, other)


# ------------ the network
def network_of(cross_position="none", **encoder):
    torch.manual_seed(0)
    small = {"embed_dim": 16, "num_heads": 2, "num_layers": 1, "feedforward_dim": 16}
    encoder = small | {"dropout": 0.0} | encoder
    model = {"kind": "paired", "members": 2, "cross_layers": 2, "encoder": encoder}
    model |= {"cross_position": {"kind": cross_position}}
    partner = {"kind": "sequence", "files": "c", "k": 2}
    sections = {"data": {"positives": "a", "negatives": "b"}, "partner": partner, "model": model}
    return build_network(config.RunFile.model_validate(sections)).double().eval()


def tokens(network, length=30, others=21):
    torch.manual_seed(1)
    first, partner = torch.randint(4, 68, (3, length)), torch.randint(4, 20, (3, others))
    first[1, 17:] = 0
    partner[2, 9:] = 0
    return first, partner


@pytest.mark.parametrize("head", [{"kind": "pooling", "parts": 2}, {"kind": "cls"}])
@pytest.mark.parametrize("position", ["none", "t5"])
def test_padding_of_either_input_changes_nothing(position, head):
    network = network_of(position, head=head)
    first, partner = tokens(network)
    together = network(network.joined(first, partner))
    for i in range(3):
        bare = (x[i : i + 1, : (x[i] > 0).sum()] for x in (first, partner))
        assert_close(together[i : i + 1], network(network.joined(*bare)))


def test_both_inputs_change_the_output():
    network = network_of()
    first, partner = tokens(network)
    before = network(network.joined(first, partner))
    assert (network(network.joined(first, partner.roll(1, 0))) - before).abs().min() > 1e-6
    assert (network(network.joined(first.roll(1, 0), partner)) - before).abs().min() > 1e-6


def test_weights_of_cross_attention_are_dropped_in_training_only():
    block = network_of(attention_dropout=0.5).members[0].cross[0]
    x, partner = (torch.randn(1, length, 16).double() for length in (9, 7))
    mask = torch.ones(1, 7, dtype=torch.bool)
    assert not torch.equal(block.train()(x, partner, mask), block(x, partner, mask))
    assert torch.equal(block.eval()(x, partner, mask), block(x, partner, mask))


@pytest.mark.parametrize("partner", [False, True])
def test_fixed_input_gives_network_of_the_other(partner):
    network = network_of()
    first, second = tokens(network)
    view = OneInput(network, first if partner else network.of_partner(second), partner=partner)
    own = second if partner else first
    together = network(network.joined(first, second))
    assert_close(view(own), together)
    assert_close(view.classify(view.embed(own), own != 0), together.mean(1))
    message = "the fixed input has 3 rows; expected 1, or one for each of the 2 rows"
    with pytest.raises(ValueError, match=message):
        view(own[:2])


def attribution_of_each(network, rules, first, partner):
    """Return the attribution (B, N, D) of each input, with the other input held fixed."""
    views = (
        (OneInput(network, network.of_partner(partner), partner=False), first),
        (OneInput(network, first, partner=True), partner),
    )
    return [
        gradient_at(view, own, torch.zeros_like(view.embed(own)), rules) * view.embed(own)
        for view, own in views
    ]


def test_attributions_of_both_inputs_sum_to_output():
    """With CP-LRP and without biases, the attribution of both inputs sums to the output.

    CP-LRP does not propagate through the softmax, and biases would receive attribution.
    """
    network = network_of(stem={"kind": "none"}, head={"kind": "pooling", "parts": 1})
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            parameter.data.zero_()
    first, partner = tokens(network)
    each = attribution_of_each(network, CP_LRP, first, partner)
    found = [attribution.sum((1, 2)) for attribution in each]
    assert_close(sum(found), network(network.joined(first, partner)).mean(1)[:, 0])
    assert all(attribution.abs().min() > 1e-8 for attribution in found)


@pytest.mark.parametrize("rules", [ATTNLRP, CP_LRP])
def test_attribution_of_each_input_alone_is_the_same(rules):
    network = network_of("t5")
    first, partner = tokens(network)
    joined = network.joined(first, partner)
    embeddings = network.embed(joined).detach().requires_grad_()
    with attribution_rules(network, rules):
        value = network.classify(embeddings, network.mask_of(joined)).sum()
    wanted = torch.autograd.grad(value, embeddings)[0] * embeddings
    assert_close(torch.cat(attribution_of_each(network, rules, first, partner), 1), wanted)
