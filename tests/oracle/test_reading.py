"""Compare attention computed for some queries at a time with dense weights, for any pattern."""

import pytest
import torch
from dense_weights import dense_weights
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from selfattn_bio.attention import reading
from selfattn_bio.attention.inputs import prepare
from selfattn_bio.attention.patterns import (
    BlockLocal,
    CausalPattern,
    Full,
    Global,
    RandomBlocks,
    Strided,
    Window,
)
from selfattn_bio.attention.positions import Alibi, NoPosition, Rotary, Shaw, T5Bias, TransformerXL
from selfattn_bio.attention.reading import between, binned, received, rollout, weight_rows

B, H, L, DH = 2, 2, 150, 4
PATTERNS = (
    Full(),
    Window(20),
    Window(4, dilation=3),
    Window(10) | Global(3),
    Window(5) | Strided(40),
    BlockLocal(32),
    Window(10) | Global(2) | RandomBlocks(2, 16),
    CausalPattern(Window(20) | Global(3)),
    CausalPattern(Window(5) | Strided(40)),
    CausalPattern(Window(10) | Global(2) | RandomBlocks(2, 16)),
)
POSITIONS = {
    "none": NoPosition,
    "t5": lambda: T5Bias(H, 8, 20),
    "alibi": lambda: Alibi(H),
    "rotary": lambda: Rotary(DH),
    "shaw": lambda: Shaw(DH, 9),
    "transformer-xl": lambda: TransformerXL(H, DH, 9),
}


def layer_of(pattern, kind, seed=0):
    torch.manual_seed(seed)
    q, k = (2 * torch.randn(B, H, L, DH, dtype=torch.float64) for _ in range(2))
    mask = torch.ones(B, L, dtype=torch.bool)
    mask[1, 90:] = False
    return inputs(q, k, pattern, POSITIONS[kind]().double(), mask)


def inputs(q, k, pattern, position, mask=None):
    return prepare(q, k, k, pattern=pattern, position=position, mask=mask)


def dense(layer):
    with torch.no_grad():
        return dense_weights(layer)


each = pytest.mark.parametrize("pattern", PATTERNS, ids=str)
each_position = pytest.mark.parametrize("kind", POSITIONS)


@each
@each_position
def test_between_is_spans_times_weights_times_spans(pattern, kind):
    layer = layer_of(pattern, kind)
    spans = torch.zeros(B, 3, L, dtype=torch.float64)
    spans[:, 0, 2:9], spans[:, 1, 30:41], spans[:, 2, 0:2] = 1, 1, 1
    assert_close(
        between(layer, spans), torch.einsum("bsq,bhqk,btk->bhst", spans, dense(layer), spans)
    )


@each
def test_binned_is_bins_times_weights_times_bins(pattern):
    layer = layer_of(pattern, "t5")
    bins = torch.arange(L) // 40
    bins[5] = 4  # in no bin
    spans = torch.nn.functional.one_hot(bins, 5)[:, :4].T.expand(B, -1, -1).double()
    assert_close(
        binned(layer, bins, 4), torch.einsum("bsq,bhqk,btk->bhst", spans, dense(layer), spans)
    )


@pytest.fixture(autouse=True)
def few_queries_at_once(monkeypatch):
    monkeypatch.setattr(reading, "WEIGHTS", 64 * B * H * L)


@each
@each_position
def test_rows_hold_the_dense_weights(pattern, kind):
    layer = layer_of(pattern, kind)
    found = list(weight_rows(layer))
    assert [rows.start for rows, _ in found] == [0, 64, 128]
    assert_close(torch.cat([weights for _, weights in found], 2), dense(layer))


@each
@each_position
def test_received_mass(pattern, kind):
    layer = layer_of(pattern, kind)
    assert_close(received(layer), (dense(layer) * layer.mask.tokens[:, None, :, None]).sum(2))


@each
def test_rollout(pattern):
    layers = [layer_of(pattern, kind, seed) for seed, kind in enumerate(("t5", "rotary", "t5"))]
    start = torch.zeros(B, L, dtype=torch.float64)
    start[:, 0], start[:, 40] = 1, 2
    flow = torch.eye(L, dtype=torch.float64)
    for layer in reversed(layers):
        flow = flow @ (dense(layer).mean(1) + torch.eye(L)) / 2  # (B, L, L)
    found = rollout(layers, start)
    assert_close(found, (start[:, None] @ flow).squeeze(1))
    assert_close(found.sum(1), start.sum(1))


class Largest(TorchDispatchMode):
    """Record the number of elements of the largest new tensor."""

    largest = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for x in out if isinstance(out, tuple | list) else [out]:
            if isinstance(x, torch.Tensor) and not x._is_view():
                self.largest = max(self.largest, x.numel())
        return out


@pytest.mark.parametrize("pattern", [Window(20) | Global(3), Window(10) | RandomBlocks(2, 16)])
@pytest.mark.parametrize(
    "read",
    [
        received,
        lambda layer: rollout([layer, layer], torch.ones(1, layer.q.shape[2])),
    ],
    ids=["received", "rollout"],
)
def test_memory_grows_with_the_length_alone(pattern, read):
    q, k = torch.randn(2, 1, H, 2000, DH)
    with Largest() as made:
        read(inputs(q, k, pattern, T5Bias(H, 8, 20)))
    assert made.largest <= 64 * B * H * L


def test_gradients_stay_as_they_were_for_the_caller():
    for _, weights in weight_rows(layer_of(Window(20) | Global(2), "shaw")):
        assert torch.is_grad_enabled()
        assert not weights.requires_grad


def test_low_precision_is_computed_in_float32():
    q, k = 2 * torch.randn(2, B, H, L, DH, dtype=torch.float64)
    pattern, position = Window(20) | Global(2), T5Bias(H, 8, 20).double()
    layer, half = (inputs(*each, pattern, position) for each in ((q, k), (q.half(), k.half())))
    assert received(half).dtype == torch.float32
    assert_close(received(half).double(), received(layer), rtol=0.02, atol=0.02)
