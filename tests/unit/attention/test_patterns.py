"""Test patterns on worked masks, and positions against numbers of published implementations."""

import math

import pytest
import torch
from torch.testing import assert_close

from selfattn_bio import config
from selfattn_bio.attention import positions
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
from selfattn_bio.config.attention import POSITION_SECTIONS
from selfattn_bio.errors import SelfAttnBioError

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


def test_invalid_positions_are_refused():
    with pytest.raises(ValueError, match="head_dim is 7; rotary positions need an even number"):
        positions.Rotary(7)
    for settings, message in (
        ({"num_buckets": 32, "max_distance": 4}, "with num_buckets = 32 it must be larger than 8"),
        ({"num_buckets": 32, "max_distance": 16, "symmetric": True}, "it must be larger than 16"),
        ({"num_buckets": 7}, "num_buckets is 7; expected an even number of at least 4"),
    ):
        with pytest.raises(ValueError, match=message):
            positions.T5Bias(2, **settings)
    with pytest.raises(SelfAttnBioError, match=r"a sequence has 4 tokens, more than model\.pos"):
        positions.Learned(2, 3)(torch.zeros(1, 4, 2))


def test_alibi_slopes_of_the_paper():
    assert positions.Alibi(8).slopes == [2.0**-i for i in range(1, 9)]
    assert positions.Alibi(16).slopes[:2] == [2**-0.5, 2**-1.0]
    # Twelve heads: the slopes of eight heads, then every second slope of sixteen.
    assert positions.Alibi(12).slopes[8:] == [2.0**-0.5, 2**-1.5, 2**-2.5, 2**-3.5]


def test_tables_reach_no_further_than_distances_differ():
    q = torch.zeros(1, 2, 9, 4)
    assert positions.T5Bias(2, 8, 16).terms(q, 1000).bias.shape == (2, 33)
    assert positions.T5Bias(2, 8, 16).terms(q, 5).bias.shape == (2, 11)
    assert positions.Alibi(2).terms(q, 1000).bias.shape == (2, 2001)


def test_symmetric_buckets_see_no_direction():
    buckets = positions.T5Bias(2, 8, 16, symmetric=True).buckets(20)
    assert torch.equal(buckets, buckets.flip(0))
    assert buckets.unique().tolist() == list(range(8))


def test_interpolated_rotary_rescales_long_sequences():
    short, long = positions.Rotary(8), positions.Rotary(8, interpolation=4.0)
    q = torch.randn(1, 1, 1, 8, dtype=torch.float64)
    few, many = q.expand(1, 1, 10, 8), q.expand(1, 1, 40, 8)
    assert_close(long.rotate(many, many)[0][:, :, ::4], short.rotate(few, few)[0])


def test_sinusoids_of_a_worked_example():
    x = positions.Sinusoidal()(torch.zeros(1, 3, 4))
    assert_close(x[0, 2], torch.tensor([math.sin(2), math.sin(0.02), math.cos(2), math.cos(0.02)]))


def test_learned_positions_are_rows_of_the_table():
    position, x = positions.Learned(4, 9), torch.randn(2, 3, 4)
    assert torch.equal(position(x), x + position.table[:3])
    position(x).sum().backward()
    assert position.table.grad[:, 0].tolist() == [2.0] * 3 + [0.0] * 6  # once per sequence


@pytest.mark.parametrize("section", POSITION_SECTIONS, ids=lambda section: section.__name__)
def test_effect_of_section_is_that_of_module(section):
    """Every section has a module. Rules about kernels and tiles depend on the effect."""
    built = section(**({"max_length": 9} if section is config.LearnedPosition else {}))
    position, q = positions.build_position(built, 2, 8), torch.randn(1, 2, 6, 8)
    if not isinstance(position, positions.RelativePosition):
        assert (section.effect, position(torch.zeros(1, 6, 16)).shape) == ("absolute", (1, 6, 16))
        return
    terms = position.terms(q, 5)
    effects = {"own_keys": terms.keys is not None, "bias": terms.bias is not None}
    effects |= {"rotation": not torch.equal(position.rotate(q, q)[0], q), "none": True}
    assert section.effect == next(effect for effect, is_true in effects.items() if is_true)


@pytest.mark.parametrize(
    "position", [positions.Rotary(8), positions.Alibi(2)], ids=["rotary", "alibi"]
)
def test_cast_does_not_round_positions(position):
    q = torch.randn(1, 2, 3000, 8)
    before = position.rotate(q, q)[0], position.terms(q, 9).bias
    position.to(torch.bfloat16)
    after = position.rotate(q, q)[0], position.terms(q, 9).bias
    assert torch.equal(before[0], after[0])
    assert before[1] is None or torch.equal(before[1], after[1])


def test_tables_by_distance():
    """`look_up` and `spread` read a table at the distance of each pair; `collect` sums into it."""
    distance = torch.tensor([[0, 1, 5], [-1, 0, 1]])
    table = torch.tensor([[10.0, 11.0, 12.0]])  # distances -1, 0, 1 and beyond
    assert positions.look_up(table, distance).tolist() == [[[11, 12, 12], [10, 11, 12]]]
    rows = torch.tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]])
    assert positions.spread(rows, distance, (1, 2, 3)).tolist() == [[[2, 3, 3], [4, 5, 6]]]
    sums = positions.collect(torch.tensor([[[1.0, 2.0, 4.0], [1.0, 2.0, 4.0]]]), distance, 3)
    assert sums.tolist() == [[[0, 1, 6], [1, 2, 4]]]
