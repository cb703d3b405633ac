"""Which kernel runs: the order, the reasons, and what is said when one cannot run."""

from typing import get_args

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from selfattn_bio import config
from selfattn_bio.attention import attend as door
from selfattn_bio.attention.attend import KERNELS, SHORT, Asked, choose
from selfattn_bio.attention.native import why_not
from selfattn_bio.attention.patterns import Causal, Full, Global, RandomBlocks, Strided, Window, build_pattern
from selfattn_bio.attention.positions import Alibi, NoPosition, Rotary, Shaw, T5Bias, build_position
from selfattn_bio.attention.tiles import Setting
from selfattn_bio.errors import KernelError

needs_band = pytest.mark.skipif(why_not() is not None, reason=f"no band kernel here: {why_not()}")


def asked(pattern, position, length=100, head_dim=16, dtype=torch.float32, dropout=0.0):
    q = torch.zeros(1, 2, length, head_dim, dtype=dtype)
    setting = Setting(pattern, (1, 2, length), q.device)
    return Asked(q, q, q, setting, position.terms(q, setting.reach()), dropout)


@needs_band
@pytest.mark.parametrize(
    ("pattern", "position", "arguments", "expected"),
    [
        (Full(), NoPosition(), {}, "band"),
        (Full(), T5Bias(2), {}, "band"),
        (Window(9) | Global(2), Alibi(2), {"dropout": 0.1}, "band"),
        (Causal(Window(9) | Global(2)), Rotary(16), {"dtype": torch.bfloat16}, "band"),
        (Full(), NoPosition(), {"head_dim": 24}, "sdpa"),
        (Full(), Alibi(2), {"dtype": torch.float64}, "sdpa"),
        (Full(), Alibi(2), {"dtype": torch.float64, "length": 5000}, "slab"),
        (Full(), T5Bias(2), {"dtype": torch.float64}, "slab"),
        (Full(), NoPosition(), {"length": SHORT}, "sdpa"),
        (Window(9), NoPosition(), {"length": SHORT}, "reference"),
        (Window(9), Shaw(16, 3), {}, "slab"),
        (Window(9, 2), NoPosition(), {}, "slab"),
        (Window(9) | Strided(20), NoPosition(), {}, "joint"),
        (Window(9) | Global(1) | RandomBlocks(2), NoPosition(), {}, "joint"),
        (Window(9) | Global(1) | RandomBlocks(2), Shaw(16, 3), {}, "slab"),
        (Window(0) | Global(1), NoPosition(), {}, "joint"),  # band takes a window without keys to come for a causal one
    ],
)
def test_the_first_that_can_and_should(pattern, position, arguments, expected):
    assert choose(asked(pattern, position, **arguments)).name == expected


def test_without_a_compiler_it_is_said_once_and_torch_serves(monkeypatch, capsys):
    monkeypatch.setattr(door, "why_not", lambda: "no C++ compiler found")
    door._say_once.cache_clear()
    assert [choose(asked(Window(9), NoPosition())).name for _ in range(2)] == ["slab", "slab"]
    assert choose(asked(Full(), NoPosition())).name == "sdpa"
    assert (
        capsys.readouterr().err == "attention: the band kernel cannot run here (no C++ compiler found); torch does its work, more slowly\n"
    )
    with pytest.raises(ValueError, match=r"kernel 'band' must be able to do what is asked, got no C\+\+ compiler found"):
        choose(asked(Window(9), NoPosition()), "band")
    assert choose(asked(Window(9), NoPosition(), length=SHORT)).name == "reference"


def test_flex_is_for_cuda():
    message = "kernel 'flex' must be able to do what is asked, got tensors on cpu, where it needs CUDA"
    with pytest.raises(KernelError, match=f"{message}. See `selfattn-bio doctor`"):  # which the command line prints as one line
        choose(asked(Window(9), NoPosition()), "flex")


def test_the_run_file_names_the_kernels_of_the_table():
    assert get_args(config.AttentionModel.model_fields["kernel"].annotation) == ("auto", *KERNELS)


PATTERNS = [
    {"kind": kind} | more
    for kind, more in [
        ("full", {}),
        ("full", {"causal": True}),
        ("window", {}),
        ("window", {"dilation": 2}),
        ("window", {"num_global": 2, "causal": True}),
        ("strided", {"stride": 9}),
        ("block_local", {}),
        ("bigbird", {}),
    ]
]
POSITIONS = [{"kind": kind} for kind in ("none", "t5", "alibi", "rotary", "shaw", "transformer_xl", "sinusoidal")]


@needs_band
@pytest.mark.parametrize("head_dim", [8, 16, 24])
@pytest.mark.parametrize("kernel", [name for name in KERNELS if name != "flex"])
@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_a_run_file_is_refused_where_its_kernel_could_not_run(pattern, kernel, head_dim):
    for position in POSITIONS:
        values = {"kernel": kernel, "pattern": pattern, "position": position, "embed_dim": 2 * head_dim, "num_heads": 2}
        try:
            section = config.AttentionModel.model_validate(values)
        except ValidationError:
            section = None
        relative = build_position(TypeAdapter(config.Position).validate_python(position), 2, head_dim)
        rule = build_pattern(TypeAdapter(config.Pattern).validate_python(pattern))
        assert (section is None) == (KERNELS[kernel].cannot(asked(rule, relative, head_dim=head_dim)) is not None), values
