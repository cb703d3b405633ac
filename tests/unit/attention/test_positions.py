"""Tests of positions: invalid arguments, and numbers of published implementations."""

import math

import pytest
import torch
from torch.testing import assert_close

from selfattn_bio import config
from selfattn_bio.attention.positions import (
    Alibi,
    Learned,
    RelativePosition,
    Rotary,
    Sinusoidal,
    T5Bias,
    build_position,
    collect,
    look_up,
    spread,
)
from selfattn_bio.config.attention import POSITION_SECTIONS
from selfattn_bio.errors import SelfAttnBioError


def test_invalid_positions_are_refused():
    with pytest.raises(ValueError, match="head_dim is 7; rotary positions need an even number"):
        Rotary(7)
    for settings, message in (
        ({"num_buckets": 32, "max_distance": 4}, "with num_buckets = 32 it must be larger than 8"),
        ({"num_buckets": 32, "max_distance": 16, "symmetric": True}, "it must be larger than 16"),
        ({"num_buckets": 7}, "num_buckets is 7; expected an even number of at least 4"),
    ):
        with pytest.raises(ValueError, match=message):
            T5Bias(2, **settings)
    with pytest.raises(SelfAttnBioError, match=r"a sequence has 4 tokens, more than model\.pos"):
        Learned(2, 3)(torch.zeros(1, 4, 2))


def test_alibi_slopes_of_the_paper():
    assert Alibi(8).slopes == [2.0**-i for i in range(1, 9)]
    assert Alibi(16).slopes[:2] == [2**-0.5, 2**-1.0]
    # Twelve heads: the slopes of eight heads, then every second slope of sixteen.
    assert Alibi(12).slopes[8:] == [2.0**-0.5, 2**-1.5, 2**-2.5, 2**-3.5]


def test_tables_reach_no_further_than_distances_differ():
    q = torch.zeros(1, 2, 9, 4)
    assert T5Bias(2, 8, 16).terms(q, 1000).bias.shape == (2, 33)
    assert T5Bias(2, 8, 16).terms(q, 5).bias.shape == (2, 11)
    assert Alibi(2).terms(q, 1000).bias.shape == (2, 2001)


def test_symmetric_buckets_see_no_direction():
    buckets = T5Bias(2, 8, 16, symmetric=True).buckets(20)
    assert torch.equal(buckets, buckets.flip(0))
    assert buckets.unique().tolist() == list(range(8))


def test_interpolated_rotary_rescales_long_sequences():
    short, long = Rotary(8), Rotary(8, interpolation=4.0)
    q = torch.randn(1, 1, 1, 8, dtype=torch.float64)
    few, many = q.expand(1, 1, 10, 8), q.expand(1, 1, 40, 8)
    assert_close(long.rotate(many, many)[0][:, :, ::4], short.rotate(few, few)[0])


def test_sinusoids_of_a_worked_example():
    x = Sinusoidal()(torch.zeros(1, 3, 4))
    assert_close(x[0, 2], torch.tensor([math.sin(2), math.sin(0.02), math.cos(2), math.cos(0.02)]))


def test_learned_positions_are_rows_of_the_table():
    position, x = Learned(4, 9), torch.randn(2, 3, 4)
    assert torch.equal(position(x), x + position.table[:3])
    position(x).sum().backward()
    assert position.table.grad[:, 0].tolist() == [2.0] * 3 + [0.0] * 6  # once per sequence


@pytest.mark.parametrize("section", POSITION_SECTIONS, ids=lambda section: section.__name__)
def test_effect_of_section_is_that_of_module(section):
    """Every section has a module. Rules about kernels, mixers and tiles depend on the effect."""
    built = section(**({"max_length": 9} if section is config.LearnedPosition else {}))
    position, q = build_position(built, 2, 8), torch.randn(1, 2, 6, 8)
    if not isinstance(position, RelativePosition):
        assert (section.effect, position(torch.zeros(1, 6, 16)).shape) == ("absolute", (1, 6, 16))
        return
    terms = position.terms(q, 5)
    effects = {"own_keys": terms.keys is not None, "bias": terms.bias is not None}
    effects |= {"rotation": not torch.equal(position.rotate(q, q)[0], q), "none": True}
    assert section.effect == next(effect for effect, is_true in effects.items() if is_true)


@pytest.mark.parametrize("position", [Rotary(8), Alibi(2)], ids=["rotary", "alibi"])
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
    assert look_up(table, distance).tolist() == [[[11, 12, 12], [10, 11, 12]]]
    rows = torch.tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]])
    assert spread(rows, distance, (1, 2, 3)).tolist() == [[[2, 3, 3], [4, 5, 6]]]
    sums = collect(torch.tensor([[[1.0, 2.0, 4.0], [1.0, 2.0, 4.0]]]), distance, 3)
    assert sums.tolist() == [[[0, 1, 6], [1, 2, 4]]]
