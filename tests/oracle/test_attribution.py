"""Compare AttnLRP and CP-LRP by hooks with explicit rules, for every pattern and kernel.

Also tested: on linear networks, the projection to letters equals substitution, and it preserves
sums.
"""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from letters import ascii_of
from torch import nn
from torch.testing import assert_close

from selfattn_bio import config
from selfattn_bio.attention.inputs import AttentionMask
from selfattn_bio.attention.kernels.band import unavailable_reason
from selfattn_bio.attribution.rules import (
    ATTNLRP,
    CP_LRP,
    PLAIN,
    attribution_rules,
    gradient_at,
    gradient_scores,
    letter_parts,
    project_to_letters,
)
from selfattn_bio.model.build import build_members
from selfattn_bio.model.classifier import Network
from selfattn_bio.model.convolution import max_pool
from selfattn_bio.model.heads import equal_parts
from selfattn_bio.sequence.alphabet import DNA, PROTEIN
from selfattn_bio.sequence.kmers import KmerTokenizer

V = 20
SMALL = {"members": 1, "embed_dim": 8, "num_layers": 2, "num_heads": 2, "feedforward_dim": 12}
SMALL |= {"dropout": 0.1}
CONV = config.ConvStemSection(token_dim=6, kernel=5, pool=2, second_kernel=3)
BY_RECORD = CONV.model_copy(update={"norm": "record"})
ATTENTION = {
    "conv, t5, pooling": config.AttentionModel(**SMALL, stem=CONV),
    "conv by the record": config.AttentionModel(**SMALL, stem=BY_RECORD),
    "no stem, rotary, window, cls": config.AttentionModel(
        **SMALL,
        stem=config.NoStemSection(),
        position=config.RotaryPosition(),
        pattern=config.WindowPattern(window=3, num_global=1),
        head=config.ClsHeadSection(),
    ),
}
CNN = config.CnnModel(
    embed_dim=4, channels=(8, 8, 8), kernels=(5, 3, 3), pools=(2, 2, 2), hidden_dim=8
)


def network_of(section):
    torch.manual_seed(0)
    network = Network(build_members(section, 1, config.BinaryObjective()), V).eval().double()
    # biases of 0 would hide errors in their rules
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return network


def tokens():
    torch.manual_seed(1)
    found = torch.randint(1, V, (3, 14))
    found[1, 9:] = 0
    return found


def half(x):
    """Return the same value with half the gradient."""
    return x / 2 + x.detach() / 2


def norm(module, x):
    deviation = (x.var(-1, unbiased=False, keepdim=True) + module.eps).sqrt().detach()
    return (x - x.mean(-1, keepdim=True)) / deviation * module.weight + module.bias


def stem_norm(module, x, mask):
    """Apply a batch norm, or normalise each record over its own positions."""
    if isinstance(module, nn.BatchNorm1d):
        return module(x)
    normal = torch.zeros_like(x)
    for row, (record, places) in enumerate(zip(x, mask, strict=True)):
        known = record[:, places]
        normal[row][:, places] = (known - known.mean()) / (
            known.var(unbiased=False) + module.eps
        ).sqrt().detach()
    return normal * module.weight[:, None] + module.bias[:, None]


def gelu(x):
    return x * (torch.nn.functional.gelu(x) / x).detach()


def attnlrp_weights(product, *others):
    """Split the attribution in halves between weights and values.

    The halves apply to both products, so that q and k do not get quarters.
    """
    return half(product(*map(half, others[:-1]))), half(others[-1])


def cp_lrp_weights(product, *others):
    return product(*others[:-1]).detach(), others[-1]


def written_out(network, x, mask, rule=attnlrp_weights):
    """Compute the network of `ATTENTION` with each rule at its operation."""
    (body,) = network.members
    if hasattr(body.stem, "first"):
        stem = body.stem
        x, mask = max_pool(stem.first((x * mask[..., None]).transpose(1, 2)), mask, stem.pool)
        x = gelu(stem_norm(stem.first_norm, x, mask)) * mask[:, None]
        x = (x + gelu(stem_norm(stem.second_norm, stem.second(x), mask))) * mask[:, None]
        x = x.transpose(1, 2)
    x, mask = body.head.add_prefix(x, mask)
    for block in body.encoder.blocks:
        attention = block.attention
        qkv = attention.qkv.linear(norm(block.attention_norm, x)).unflatten(-1, (3, 2, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        q, k = attention.position.rotate(q, k)
        bias, at = attention.position.terms(q, x.shape[1]).bias, torch.arange(x.shape[1])
        allowed = AttentionMask(mask).dense(attention.pattern)

        def weigh(q, k, bias=bias, keys=allowed, at=at):
            scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
            if bias is not None:
                scores = scores + bias[:, (at - at[:, None]) + bias.shape[1] // 2]
            return scores.masked_fill(~keys, -1e300).softmax(-1).masked_fill(~keys, 0.0)

        weights, v = rule(weigh, q, k, v)
        x = x + attention.out((weights @ v).transpose(1, 2).flatten(2))
        first, _, _, last = block.feedforward
        x = x + last(gelu(first(norm(block.feedforward_norm, x))))
    x = norm(body.encoder.norm, x)
    if body.head.num_prefix:
        return body.head.classify(x[:, 0]).squeeze(-1)
    pooled = []
    for inside in equal_parts(mask, body.head.parts).unbind(-1):  # (B, L) for each part

        def weigh(scores, inside=inside[..., None]):
            return scores.masked_fill(~inside, -1e300).softmax(1).masked_fill(~inside, 0.0)

        # A single softmax of scores that are linear in the tokens: the scores get the complete
        # attribution of the weights.
        scores = body.head.project.score(x)
        split = rule is attnlrp_weights
        weights = half(weigh(scores)) if split else weigh(scores).detach()
        values = half(x) if split else x
        pooled.append((weights[..., None] * values.unflatten(-1, (2, -1))).sum(1).flatten(1))
    _, first, _, _, last = body.head.classify
    return last(gelu(first(torch.cat(pooled, 1)))).squeeze(-1)


COMPILED = {"window": "band", "global": "band", "bigbird": "joint", "strided": "joint"}
RULES = {"attnlrp": (ATTNLRP, attnlrp_weights), "cp_lrp": (CP_LRP, cp_lrp_weights)}
PATTERNS = {
    "full": config.FullPattern(),
    "window": config.WindowPattern(window=3, num_global=0),
    "dilated": config.WindowPattern(window=2, dilation=3, num_global=0),
    "global": config.WindowPattern(window=2, num_global=2),
    "bigbird": config.BigBirdPattern(window=1, random_blocks=1, block=4, num_global=1),
    "strided": config.StridedPattern(window=1, stride=4, num_global=0),
    "causal": config.WindowPattern(window=3, num_global=0, causal=True),
}


@pytest.mark.parametrize("rules", RULES.values(), ids=RULES.keys())
@pytest.mark.parametrize("section", ATTENTION.values(), ids=ATTENTION.keys())
def test_hooks_equal_the_rules_written_out(section, rules):
    hooks, rule = rules
    network, ids = network_of(section), tokens()
    embeddings = network.embed(ids).detach().requires_grad_()
    logits = written_out(network, embeddings, ids != 0, rule)
    assert_close(logits, network(ids)[:, 0, 0])  # the explicit network is the same
    expected = torch.autograd.grad(logits.sum(), embeddings)[0]
    got = gradient_at(network, ids, torch.zeros_like(embeddings), hooks)
    assert_close(got, expected)
    for other in (PLAIN, ATTNLRP, CP_LRP):
        different = gradient_at(network, ids, torch.zeros_like(embeddings), other)
        assert (other is hooks) == torch.allclose(got, different)


@pytest.mark.parametrize("rules", RULES.values(), ids=RULES.keys())
@pytest.mark.parametrize("name", PATTERNS)
def test_every_pattern_and_kernel_equals_the_rules_written_out(name, rules):
    hooks, rule = rules
    model = SMALL | {"embed_dim": 32, "stem": config.NoStemSection(), "pattern": PATTERNS[name]}
    network, ids = network_of(config.AttentionModel(**model)), tokens()
    embeddings = network.embed(ids).detach().requires_grad_()
    value = written_out(network, embeddings, ids != 0, rule).sum()
    (expected,) = torch.autograd.grad(value, embeddings)
    compiled = unavailable_reason() is None and COMPILED.get(name)
    for kernel in ("auto", "reference", "slab", "sdpa", *([compiled] if compiled else [])):
        for block in network.members[0].encoder.blocks:
            block.attention.kernel = kernel
        if kernel == compiled:
            network, embeddings, expected = network.float(), embeddings.float(), expected.float()
        found = gradient_at(network, ids, torch.zeros_like(embeddings), hooks)
        close = {"atol": 1e-5, "rtol": 1e-4} if kernel == compiled else {}
        assert_close(found, expected, msg=kernel, **close)


def test_cnn_attribution_is_its_gradient():
    network, ids = network_of(CNN), tokens()
    embeddings = network.embed(ids).detach().requires_grad_()
    (expected,) = torch.autograd.grad(network.classify(embeddings, ids != 0).sum(), embeddings)
    assert_close(gradient_at(network, ids, torch.zeros_like(embeddings)), expected)


@pytest.mark.parametrize("section", [*ATTENTION.values(), CNN], ids=[*ATTENTION, "cnn"])
def test_gradients_of_copies_are_summed_at_their_shift(section):
    network, ids = network_of(section), tokens()
    copies = torch.randint(1, V, (3 * len(ids), ids.shape[1])) * (ids.repeat(3, 1) != 0)
    shift = torch.randn(*ids.shape, network.embedding.embedding_dim).double()
    shift = shift * (ids != 0)[..., None]
    embeddings = (network.embed(copies) + shift.repeat(3, 1, 1)).detach().requires_grad_()
    with attribution_rules(network, ATTNLRP):
        value = network.classify(embeddings, copies != 0)
    (expected,) = torch.autograd.grad(value.sum(), embeddings)
    found = gradient_at(network, copies, shift)
    assert_close(found, expected.unflatten(0, (3, -1)).sum(0))
    assert not torch.allclose(found, gradient_at(network, copies, torch.zeros_like(shift)))
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_outputs_stay_and_hooks_go():
    network, ids = network_of(ATTENTION["conv, t5, pooling"]), tokens()
    before = network(ids)

    def hooks():
        return sum(len(module._forward_hooks) for module in network.modules())

    with attribution_rules(network, ATTNLRP):
        assert hooks() > 0
        assert_close(network(ids), before)
    assert hooks() == 0
    with pytest.raises(RuntimeError, match="stop"), attribution_rules(network, ATTNLRP):
        raise RuntimeError("stop")
    assert hooks() == 0


def test_gelu_has_a_gradient_at_zero():
    module = nn.Sequential(nn.GELU())
    x = torch.tensor([0.0, 1e-9, -2.0, 3.0], requires_grad=True)
    with attribution_rules(module, ATTNLRP):
        module(x).sum().backward()
    assert_close(x.grad[:2], torch.tensor([0.5, 0.5]))
    assert_close(x.grad[2:] * x.detach()[2:], torch.nn.functional.gelu(x.detach()[2:]))


class Linear(nn.Module):
    """Network that is linear in its embeddings, so that AttnLRP equals substitution."""

    def __init__(self, vocabulary_size, num_tokens):
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(vocabulary_size, 5, padding_idx=0).double()
        self.weights = nn.Parameter(torch.randn(num_tokens, 5, dtype=torch.float64))

    def embed(self, ids):
        return self.embedding(ids)

    inputs = embed

    def classify(self, embeddings, mask):
        return (embeddings * self.weights[: embeddings.shape[1]] * mask[..., None]).sum((1, 2))

    def forward(self, ids):
        return self.classify(self.embed(ids), ids != 0)


def scorer_of(alphabet, k, stride, length):
    tokenizer = KmerTokenizer(alphabet, k, stride)
    network = Linear(tokenizer.vocabulary_size, tokenizer.num_tokens(length)).eval()

    def tokens_of(letters):
        return torch.from_numpy(tokenizer.encode(alphabet.codes(letters)).astype(np.int64))

    parts = {"alphabet": alphabet, "tokenizer": tokenizer, "network": network}
    return SimpleNamespace(**parts, device=torch.device("cpu"), tokens=tokens_of)


KMERS = [(DNA, 1, 1), (DNA, 3, 1), (DNA, 3, 2), (DNA, 3, 3), (DNA, 6, 4)]
KMERS += [(PROTEIN, 1, 1), (PROTEIN, 2, 1)]


@pytest.mark.parametrize(("alphabet", "k", "stride"), KMERS)
def test_projection_is_substitution_on_a_linear_network(alphabet, k, stride):
    length, rng = 17, np.random.default_rng(0)
    known = ascii_of(alphabet.letters)
    letters = rng.choice(known, (3, length))
    letters[1, 5] = ord(alphabet.unknown)
    letters[2, 13:] = 0
    scorer = scorer_of(alphabet, k, stride, length)
    expected = np.zeros((3, length, len(known)))
    with torch.no_grad():
        base = scorer.network(scorer.tokens(letters)).numpy()
        for row, at, letter in np.ndindex(3, length, len(known)):
            if letters[row, at] in known:
                mutant = letters[row : row + 1].copy()
                mutant[0, at] = known[letter]
                value = scorer.network(scorer.tokens(mutant)).numpy()[0]
                expected[row, at, letter] = value - base[row]
    ids = scorer.tokens(letters)
    gradient = gradient_at(scorer.network, ids, torch.zeros_like(scorer.network.embed(ids)))
    table = scorer.network.embedding.weight.detach()
    got = project_to_letters(gradient, ids, table, scorer.tokenizer, length)
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-12)
    assert np.abs(expected).max() > 1
    centred = expected - expected.mean(-1, keepdims=True)
    np.testing.assert_allclose(gradient_scores(scorer, letters), centred, atol=1e-5)


@pytest.mark.parametrize(("alphabet", "k", "stride"), KMERS)
def test_base_attributions_keep_token_sums(alphabet, k, stride):
    length, rng = 17, np.random.default_rng(0)
    known = ascii_of(alphabet.letters)
    letters = rng.choice(known, (2, length))
    letters[1, 5] = ord(alphabet.unknown)
    scorer = scorer_of(alphabet, k, stride, length)
    ids, table = scorer.tokens(letters), scorer.network.embedding.weight.detach()
    gradient = gradient_at(scorer.network, ids, torch.zeros_like(scorer.network.embed(ids)))
    of_tokens = ((gradient * (table[ids] - table[4:].mean(0))).sum(-1) * (ids >= 4)).sum(1)
    parts = letter_parts(table, scorer.tokenizer)
    scores = project_to_letters(gradient, ids, parts, scorer.tokenizer, length)
    scores -= scores.mean(-1, keepdim=True)
    there = torch.from_numpy(letters[..., None] == known)
    assert_close((scores * there).sum((1, 2)), of_tokens)
    assert of_tokens.abs().min() > 0.1
