"""Test the encoder as an ordinary module, built from plain arguments with public names only.

Convolutions by lookup equal those of embeddings, and pooling ignores padding.
"""

import pytest
import torch
from learners import scorer_of
from torch import nn
from torch.testing import assert_close

from selfattn_bio import (
    Alibi,
    Encoder,
    Global,
    Learned,
    Rotary,
    Shaw,
    Sinusoidal,
    T5Bias,
    Window,
    config,
)
from selfattn_bio.attention.kernels import band
from selfattn_bio.attention.kernels.band import unavailable_reason
from selfattn_bio.model import convolution
from selfattn_bio.model.encoder import build_encoder, split_heads
from selfattn_bio.model.stem import BatchNorm
from selfattn_bio.sequence.kmers import PAD


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
    section = config.AttentionModel(dropout=0.5)
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


needs_kernel = pytest.mark.skipif(unavailable_reason() is not None, reason="no compiled kernel")


def fused_calls(monkeypatch):
    """Count the calls of the kernel for a block."""
    calls, run = [], band.encode
    monkeypatch.setattr(band, "encode", lambda *given: calls.append(0) or run(*given))
    return calls


@needs_kernel
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("position", [None, T5Bias(4), Alibi(4), Learned(64, 41)])
def test_fused_block_equals_modules(position, threads, monkeypatch):
    torch.manual_seed(0)
    encoder = Encoder(64, 2, 4, position=position, feedforward_dim=96).eval()
    for parameter in encoder.parameters():  # norms and biases are not 1 and 0
        nn.init.normal_(parameter, std=0.2)
    x, mask = torch.randn(5, 41, 64), torch.ones(5, 41, dtype=torch.bool)
    mask[1, 12:], mask[3, 1:] = False, False
    calls, before = fused_calls(monkeypatch), torch.get_num_threads()
    with torch.no_grad():
        expected = encoder(x, mask)
    assert not calls
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            found, alone = encoder(x, mask), encoder(x[4:])
    finally:
        torch.set_num_threads(before)
    assert len(calls) == 4  # two blocks, twice
    assert_close(found[mask], expected[mask], atol=1e-5, rtol=1e-5)
    assert torch.equal(found[4:], alone)


@needs_kernel
@pytest.mark.parametrize(
    "settings",
    [
        {"position": Rotary(16)},
        {"pattern": Window(3)},
        {"num_kv_heads": 2},
        {"feedforward_dim": 80},
        {"position": Shaw(16, 8)},
    ],
)
def test_other_blocks_are_not_fused(settings, monkeypatch):
    encoder, x = Encoder(64, 1, 4, **settings).eval(), torch.randn(2, 9, 64)
    calls = fused_calls(monkeypatch)
    with torch.inference_mode():
        encoder(x)
        encoder.double()(x.double())
    assert not calls


@needs_kernel
def test_hooks_of_a_block_run_in_inference():
    encoder, seen = Encoder(64, 2, 4).eval(), []
    encoder.blocks[1].feedforward[1].register_forward_hook(lambda *given: seen.append(given))
    with torch.inference_mode():
        encoder(torch.randn(2, 9, 64))
    assert len(seen) == 1


def tokens_with_padding(size, length=45):
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(1, size, (4, length), generator=generator)
    tokens[1, 30:], tokens[2, 3:] = PAD, PAD
    return tokens


@pytest.mark.parametrize("bias", [False, True])
def test_lookup_equals_convolution_and_its_gradient(bias, monkeypatch):
    monkeypatch.setattr(convolution, "CACHED", 100)  # the last chunk is shorter than the others
    torch.manual_seed(0)
    convolve, tokens = convolution.TokenConv(5, 6, 7, bias=bias).double(), tokens_with_padding(11)
    table = nn.Embedding(11, 5, padding_idx=PAD).double()
    embedded = convolution.without_padding(table(tokens), tokens != PAD)
    weights, found = [*convolve.parameters(), table.weight], []
    for x in (convolution.EmbeddedTokens(tokens, table(torch.arange(11))), embedded):
        y = convolve(x)
        assert y.shape == (4, 6, 45)
        found.append([y, *torch.autograd.grad((y * y.detach().cos()).sum(), weights)])
    for one, other in zip(*found, strict=True):
        assert_close(one, other)


def pooled_and_gradients(convolve, tokens, mask, pool, shifts=0):
    generator = torch.Generator().manual_seed(2)
    table = torch.randn(11, 5, generator=generator).requires_grad_()
    shift = torch.randn(shifts, *tokens.shape[1:], 5, generator=generator).requires_grad_()
    embedded = convolution.EmbeddedTokens(tokens, table, shift if shifts else None)
    pooled, _ = convolve.pooled(embedded, mask, pool)
    weights = [*convolve.parameters(), table, *([shift] if shifts else [])]
    return [pooled, *torch.autograd.grad((pooled * pooled.detach().cos()).sum(), weights)]


@needs_kernel
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(("dim", "pool"), [(80, 8), (19, 3), (32, 1)])
def test_compiled_lookup_equals_torch_to_the_bit(dim, pool, threads, monkeypatch):
    monkeypatch.setattr(convolution, "CACHED", 60 * dim)  # several chunks
    torch.manual_seed(0)
    convolve, tokens = convolution.TokenConv(5, dim, 7, bias=True), tokens_with_padding(11)
    mask, before = tokens != PAD, torch.get_num_threads()
    mask[0, 16:24] = False  # between tokens, as with two inputs
    torch.set_num_threads(threads)
    try:
        found = pooled_and_gradients(convolve, tokens, mask, pool)
    finally:
        torch.set_num_threads(before)
    monkeypatch.setattr(convolution, "_is_compiled", lambda table: False)
    expected = pooled_and_gradients(convolve, tokens, mask, pool)
    assert all(map(torch.equal, found, expected))


@needs_kernel
@pytest.mark.parametrize(("dim", "pool"), [(80, 8), (19, 3), (32, 1)])
def test_compiled_lookup_of_shifted_embeddings_equals_torch(dim, pool, monkeypatch):
    torch.manual_seed(0)
    convolve, tokens = convolution.TokenConv(5, dim, 7, bias=True), tokens_with_padding(11)
    mask = tokens != PAD
    mask[0, 16:24] = False
    found = pooled_and_gradients(convolve, tokens, mask, pool, shifts=2)
    monkeypatch.setattr(convolution, "_is_compiled", lambda table: False)
    expected = pooled_and_gradients(convolve, tokens, mask, pool, shifts=2)
    assert torch.equal(found[0], expected[0])
    for one, other in zip(found, expected, strict=True):
        assert_close(one, other)


@needs_kernel
def test_compiled_lookup_keeps_nan_and_refuses_other_tokens():
    convolve, tokens = convolution.TokenConv(5, 16, 3), torch.tensor([[1, 2, 3, 3]])
    table = torch.randn(4, 5)
    table[2] = torch.nan
    mask = torch.ones_like(tokens, dtype=torch.bool)
    pooled, _ = convolve.pooled(convolution.EmbeddedTokens(tokens, table), mask, 4)
    assert pooled.isnan().all()
    for wrong in (-1, 4):
        tokens[0, 1] = wrong
        with pytest.raises(IndexError, match="a token is not below 4"):
            convolve(convolution.EmbeddedTokens(tokens, table))


def test_hooks_of_the_first_convolution_get_all_positions():
    network, tokens = scorer_of({"kind": "attention"}).network, tokens_with_padding(68)
    shapes = []
    network.members[0].stem.first.register_forward_hook(
        lambda module, given, output: shapes.append(output.shape)
    )
    network(tokens)
    assert shapes == [(4, 64, 45)]


@pytest.mark.parametrize("model", [{"kind": "attention", "dropout": 0.0}, {"kind": "cnn"}])
def test_outputs_of_tokens_equal_those_of_embeddings(model):
    network, tokens = scorer_of(model).network.double(), tokens_with_padding(68)
    assert isinstance(network.inputs(tokens), convolution.EmbeddedTokens)
    found = []
    for outputs in (network(tokens).mean(1), network.classify(network.embed(tokens), tokens != 0)):
        network.zero_grad()
        outputs.square().sum().backward()
        found.append([outputs, *(weight.grad.clone() for weight in network.parameters())])
    for one, other in zip(*found, strict=True):
        assert_close(one, other)


def test_large_vocabularies_are_embedded():
    network = scorer_of({"kind": "attention"}, k=6).network
    assert isinstance(network.inputs(tokens_with_padding(4000)), torch.Tensor)


def test_batch_norm_equals_that_of_torch():
    ours, theirs = BatchNorm(6), nn.BatchNorm1d(6)
    for x in (torch.randn(3, 6, 8), torch.randn(3, 8, 6).transpose(1, 2)):
        assert_close(ours(x), theirs(x))
    assert_close(ours.state_dict(), theirs.state_dict())


def test_group_with_a_token_is_kept():
    mask = torch.tensor([[1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 1]], dtype=torch.bool)
    assert convolution.pool_mask(mask, 3).tolist() == [[True, False, False], [True, True, True]]


@pytest.mark.parametrize("image", [False, True])
@pytest.mark.parametrize("length", [6, 7])
def test_maximum_ignores_padding(length, image):
    x = -torch.rand(2, 3, length)  # padding must not win with 0
    mask = torch.ones(2, length, dtype=torch.bool)
    mask[0, 4:] = False
    given = x[:, :, None] if image else x
    pooled, pooled_mask = convolution.max_pool(given, mask, 3)
    assert torch.equal(pooled_mask, convolution.pool_mask(mask, 3))
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
    convolution.max_pool(x * 1, mask, 3)[0].sum().backward()
    assert not x.grad[0, :, 4:].any()
    assert x.grad.sum() == 3 * 2 + 3 * 3  # one position of each group with a token
