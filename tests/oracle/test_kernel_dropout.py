"""Test dropout of every kernel: its rate, its independence, and equal masks in both passes."""

import pytest
import torch
from band_here import needs_band
from kernel_cases import DH, batch
from torch.testing import assert_close

from selfattn_bio.attention import tiles
from selfattn_bio.attention.attend import attend
from selfattn_bio.attention.patterns import BlockLocal, Full, Global, RandomBlocks, Strided, Window
from selfattn_bio.attention.positions import NoPosition, Shaw


@pytest.mark.parametrize(
    ("kernel", "pattern"),
    [
        ("slab", Window(70)),
        ("slab", Window(5) | Global(3) | RandomBlocks(2, 16)),
        pytest.param("band", Window(70) | Global(3) | RandomBlocks(2, 64), marks=needs_band),
        pytest.param("joint", Window(70) | Global(3) | RandomBlocks(2, 24), marks=needs_band),
        pytest.param("joint", Window(40) | Global(3) | Strided(50), marks=needs_band),
    ],
    ids=str,
)
def test_dropout_is_the_same_in_forward_and_backward(kernel, pattern):
    """Check that sum(out * u) = sum(v * dv), because the output is linear in v."""
    qkv, upstream, _ = batch(300, False, dtype=torch.float32, head_dim=16)
    rule = {"pattern": pattern, "position": NoPosition(), "kernel": kernel}
    torch.manual_seed(3)
    out = attend(*qkv, **rule, dropout=0.4)
    (d_v,) = torch.autograd.grad(out, qkv[2], upstream)
    assert_close((out * upstream).sum(), (qkv[2] * d_v).sum(), rtol=1e-4, atol=1e-3)
    torch.manual_seed(3)
    assert torch.equal(out, attend(*qkv, **rule, dropout=0.4))
    whole = attend(*qkv, **rule)
    assert float(((out - whole).norm() / whole.norm()).detach()) > 0.1


# With these inputs a row of the output is the row of weights: all scores are 0, and values are
# one-hot.
DROPPED = {
    "sdpa": Full(),
    "reference": Window(9) | Global(2),
    "band": Window(3) | Global(2) | RandomBlocks(2, 16),
    "joint": Window(3) | Global(2) | RandomBlocks(2, 8),
    "slab": Window(3) | Global(2) | RandomBlocks(2, 16),
}


@pytest.mark.parametrize(
    "kernel",
    [pytest.param(name, marks=needs_band if name in ("band", "joint") else ()) for name in DROPPED],
)
def test_every_kernel_drops_weights_at_its_rate(kernel):
    length, share = 64 if kernel in ("band", "joint") else 130, 0.3
    pattern = DROPPED[kernel]
    q = torch.zeros(8, 2, length, length if length == 64 else 130)
    v = torch.eye(length, q.shape[-1]).expand(8, 2, -1, -1)
    torch.manual_seed(0)
    kept, again = (
        attend(q, q, v, pattern=pattern, position=NoPosition(), dropout=share, kernel=kernel)
        for _ in range(2)
    )
    whole = attend(q, q, v, pattern=pattern, position=NoPosition(), kernel=kernel)
    at = torch.arange(length)
    allowed = pattern.dense_mask(length)
    parts = {
        "window": (at[None] - at[:, None]).abs() <= 3,
        "global keys": at[None].expand(length, -1) < 2,
        "global rows": (at < 2)[:, None],
    }
    parts["far keys"] = ~(parts["window"] | parts["global keys"] | parts["global rows"])
    for name, part in parts.items():
        pairs = (allowed & part).expand(8, 2, -1, -1)
        assert abs(float((kept[pairs] == 0).float().mean()) - share) < 0.04, name
        ratio = (kept[pairs] / whole[pairs])[kept[pairs] != 0]
        assert_close(ratio, torch.full_like(ratio, 1 / (1 - share)), rtol=1e-4, atol=1e-4)
    assert not torch.equal(kept, again)  # sampled again at each call
    zeros = (kept == 0) & allowed
    for one in range(8):  # and for each sequence and head
        assert not torch.equal(zeros[one, 0], zeros[one, 1])
        assert not torch.equal(zeros[one], zeros[(one + 1) % 8])


def kept_by_slab(pattern, length):
    """Return which weights are kept with dropout 0.5, (L, L)."""
    torch.manual_seed(0)
    q, v = torch.zeros(1, 1, length, length), torch.eye(length)[None, None]
    rule = {"position": NoPosition(), "dropout": 0.5, "kernel": "slab"}
    return attend(q, q, v, pattern=pattern, **rule)[0, 0] > 0


def test_tiles_of_slab_are_dropped_apart(monkeypatch):
    monkeypatch.setattr(tiles, "SCORES", 2**15)
    kept = kept_by_slab(Window(70), 1024)
    # the first row of each chunk; each chunk is one tile
    rows = [kept[i, i - 70 : i + 71] for i in range(128, 896, 64)]
    assert len({tuple(row.tolist()) for row in rows}) == len(rows)


def test_parts_of_slab_are_dropped_apart():
    """Parts whose tiles have the same shape and position drop different weights."""
    length, at = 640, torch.arange(640)
    kept = kept_by_slab(BlockLocal(64) | RandomBlocks(1, 64), length)
    blocks = RandomBlocks(1, 64).dense_mask(length).unflatten(1, (-1, 64)).any(-1)
    drawn = blocks.to(torch.int64).argmax(1)  # (L,) block sampled for each query
    by_block = kept.unflatten(1, (-1, 64))  # (L, blocks, 64)
    own, other = by_block[at, at // 64], by_block[at, drawn]
    elsewhere = drawn != at // 64
    assert elsewhere.any()
    assert 0.4 < float((own == other)[elsewhere].float().mean()) < 0.6


def test_shaw_values_are_dropped_with_their_weights():
    """Compare gradients of all inputs with finite differences, with the same seed for dropout."""
    torch.manual_seed(0)
    position = Shaw(DH, 5).double()
    qkv, upstream, _ = batch(90, False)

    def run(moved=None, step=0.0):
        leaves = [*qkv, position.keys, position.values]
        saved = [leaf.detach().clone() for leaf in leaves]
        if moved is not None:
            with torch.no_grad():
                leaves[moved] += step * directions[moved]
        torch.manual_seed(3)
        out = attend(*qkv, pattern=Window(20), position=position, dropout=0.4, kernel="slab")
        with torch.no_grad():
            for leaf, old in zip(leaves, saved, strict=True):
                leaf.copy_(old)
        return out

    directions = [torch.randn_like(leaf) for leaf in [*qkv, position.keys, position.values]]
    torch.manual_seed(3)
    out = attend(*qkv, pattern=Window(20), position=position, dropout=0.4, kernel="slab")
    gradients = torch.autograd.grad(out, [*qkv, position.keys, position.values], upstream)
    for number, gradient in enumerate(gradients):
        high, low = (run(number, sign * 1e-6).detach() for sign in (1, -1))
        found, expected = ((high - low) * upstream).sum() / 2e-6, gradient * directions[number]
        assert_close(found, expected.sum(), rtol=1e-5, atol=1e-5)
