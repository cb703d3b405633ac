"""Tests of patterns: worked masks, block masks, and random blocks that ignore padding."""

import pytest
import torch

from selfattn_bio import config
from selfattn_bio.attention.patterns import (
    BlockLocal,
    CausalPattern,
    Full,
    Global,
    RandomBlocks,
    Strided,
    Window,
    build_pattern,
)

PATTERNS = [
    Full(),
    Window(1),
    Window(37),
    Window(3, dilation=4),
    Window(2) | Global(3),
    Window(2) | Strided(9),
    BlockLocal(5),
    BlockLocal(16),
    Window(4) | Global(1) | RandomBlocks(2, block=8, seed=1),
    RandomBlocks(3, block=32),
    RandomBlocks(2, block=12),
]
PATTERNS += [CausalPattern(pattern) for pattern in PATTERNS]


def shown(pattern, length):
    mask = pattern.dense_mask(length).tolist()
    return " ".join("".join("x" if allowed else "." for allowed in row) for row in mask)


def test_masks_of_worked_examples():
    assert shown(Window(1), 4) == "xx.. xxx. .xxx ..xx"
    assert shown(Window(1) | Global(1), 4) == "xxxx xxx. xxxx x.xx"
    assert shown(Window(1, dilation=2), 5) == "x.x.. .x.x. x.x.x .x.x. ..x.x"
    assert shown(Strided(3), 5) == "x..x. .x..x ..x.. x..x. .x..x"
    assert shown(BlockLocal(2), 5) == "xx... xx... ..xx. ..xx. ....x"
    assert shown(CausalPattern(Full()), 3) == "x.. xx. xxx"
    assert shown(CausalPattern(Window(1) | Global(1)), 4) == "x... xx.. xxx. x.xx"
    assert shown(Full(), 2) == "xx xx"


def test_random_patterns_are_pinned():
    blocks, causal = RandomBlocks(1, block=2, seed=3), CausalPattern(RandomBlocks(2, block=1))
    assert shown(blocks, 7) == "..xx... ..xx... ....xx. ....xx. ..xx... ..xx... ....xx."
    assert shown(causal, 6) == "x..... x..... x..... ..x... x...x. ..xx.."
    assert shown(blocks, 3) == "..x ..x xx."  # two blocks


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
@pytest.mark.parametrize(("length", "block"), [(1, 4), (40, 8), (41, 8), (64, 16), (50, 64)])
def test_block_mask_summarises_dense_mask(pattern, length, block):
    dense = pattern.dense_mask(length)
    n = -(-length // block)
    padded = torch.zeros(n * block, n * block, dtype=torch.bool)
    padded[:length, :length] = dense
    expected = padded.unflatten(0, (n, block)).unflatten(2, (n, block)).any(1).any(-1)
    assert torch.equal(pattern.block_mask(length, block), expected)


@pytest.mark.parametrize(
    ("rule", "arguments", "message"),
    [
        (Window, (-1,), "window is -1; expected at least 0"),
        (Window, (3, 0), "dilation is 0; expected at least 1"),
        (Strided, (0,), "stride is 0"),
        (BlockLocal, (0,), "block is 0"),
        (Global, (-1,), "num_global is -1; expected at least 0"),
        (RandomBlocks, (0,), "count is 0"),
        (RandomBlocks, (2, 0), "block is 0"),
    ],
)
def test_rules_out_of_range_are_refused(rule, arguments, message):
    with pytest.raises(ValueError, match=message):
        rule(*arguments)


def test_random_blocks_depend_on_seed_and_length():
    def drawn(seed, length):
        return RandomBlocks(3, block=8, seed=seed).dense_mask(length)

    assert torch.equal(drawn(1, 400), drawn(1, 400))
    assert not torch.equal(drawn(1, 400), drawn(2, 400))
    each = drawn(1, 800).unflatten(1, (100, 8)).any(-1).sum(1)
    assert int(each.max()) <= 3  # blocks per query
    assert float(each.float().mean()) > 2.9  # few of 100 are sampled twice
    # number of query blocks that sampled each block; 3 expected
    received = drawn(1, 4000).unflatten(1, (500, 8)).any(-1).float()[::8].sum(0)
    assert abs(float(received.var()) - 3) < 1  # variance of a Poisson distribution


def test_unions_flatten_and_count_each_part_once():
    pattern = Window(3) | Global(1) | Window(3)
    assert pattern.parts(9) == (Window(3) | Global(1)).parts(9)
    assert pattern.num_global == 1
    assert CausalPattern(pattern).num_global == 0


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        (config.FullPattern(), Full()),
        (config.FullPattern(causal=True), CausalPattern(Full())),
        (config.WindowPattern(window=5, dilation=2), Window(5, 2)),
        (config.WindowPattern(window=5, num_global=2), Window(5) | Global(2)),
        (config.StridedPattern(window=5, stride=7), Window(5) | Strided(7)),
        (config.BlockLocalPattern(block=9, causal=True), CausalPattern(BlockLocal(9))),
        (
            config.BigBirdPattern(window=4, random_blocks=2, block=8, num_global=1, seed=3),
            Window(4) | RandomBlocks(2, 8, 3) | Global(1),
        ),
    ],
)
def test_each_kind_is_built(section, expected):
    assert build_pattern(section) == expected


@pytest.mark.parametrize("length", [1, 7, 50])
@pytest.mark.parametrize(
    "pattern",
    [each for each in PATTERNS if "Union" not in str(each) and "RandomBlocks" not in str(each)],
    ids=str,
)
def test_pairs_of_a_part_are_counted(pattern, length):
    (part,) = pattern.parts(length)
    assert part.num_pairs(length) == pattern.dense_mask(length).sum()
