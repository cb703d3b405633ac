"""Tests of kernel choice: order, reasons, and messages when a kernel cannot run."""

import re
from dataclasses import replace
from functools import partial
from typing import get_args

import pytest
import torch
from learners import OnCuda
from pydantic import ValidationError

from selfattn_bio import config
from selfattn_bio.attention import attend as attend_module
from selfattn_bio.attention import kernels
from selfattn_bio.attention.attend import attend
from selfattn_bio.attention.inputs import prepare
from selfattn_bio.attention.kernels import choose, why_unsupported
from selfattn_bio.attention.kernels.band import unavailable_reason
from selfattn_bio.attention.patterns import (
    CausalPattern,
    Full,
    Global,
    RandomBlocks,
    Strided,
    Window,
    build_pattern,
)
from selfattn_bio.attention.positions import (
    Alibi,
    Learned,
    NoPosition,
    RelativePosition,
    Rotary,
    Shaw,
    T5Bias,
    build_position,
)
from selfattn_bio.config import KERNELS, SHORT, SHORT_JOINED
from selfattn_bio.errors import KernelError

needs_band = pytest.mark.skipif(
    unavailable_reason() is not None, reason=f"no band kernel here: {unavailable_reason()}"
)


def inputs_of(pattern, position, length=100, head_dim=16, dtype=torch.float32, dropout=0.0):
    q = torch.zeros(1, 2, length, head_dim, dtype=dtype)
    return prepare(q, q, q, pattern=pattern, position=position, dropout=dropout)


@needs_band
@pytest.mark.parametrize(
    ("pattern", "position", "arguments", "expected"),
    [
        (Full(), NoPosition(), {}, "band"),
        (Full(), T5Bias(2), {}, "band"),
        (Window(9) | Global(2), Alibi(2), {"dropout": 0.1}, "band"),
        (CausalPattern(Window(9) | Global(2)), Rotary(16), {"dtype": torch.bfloat16}, "band"),
        (Full(), NoPosition(), {"head_dim": 24}, "sdpa"),
        (Full(), Alibi(2), {"dtype": torch.float64}, "sdpa"),
        (Full(), Alibi(2), {"dtype": torch.float64, "length": 5000}, "slab"),
        (Full(), T5Bias(2), {"dtype": torch.float64}, "slab"),
        (Full(), NoPosition(), {"length": SHORT}, "sdpa"),
        (Full(), Alibi(2), {"length": SHORT}, "reference"),
        (Window(9), NoPosition(), {"length": SHORT}, "reference"),
        (Window(9), Shaw(16, 3), {}, "slab"),
        (Window(9, 2), NoPosition(), {}, "slab"),
        (Window(9) | Strided(20), NoPosition(), {"length": SHORT_JOINED + 1}, "joint"),
        (Window(9) | Global(1) | RandomBlocks(2), T5Bias(2), {"length": SHORT + 1}, "band"),
        (Window(9) | Global(1) | RandomBlocks(2, 8), Alibi(2), {"length": SHORT_JOINED}, "sdpa"),
        (Window(9) | RandomBlocks(2, 8), Alibi(2), {"length": SHORT_JOINED + 1}, "joint"),
        (Window(9) | Global(1) | RandomBlocks(2), Rotary(16), {"length": 10}, "sdpa"),
        (Window(9) | Strided(20), NoPosition(), {"dropout": 0.1}, "sdpa"),
        (Window(9) | Global(1) | RandomBlocks(2), Shaw(16, 3), {}, "slab"),
        # band treats a window without later keys as causal
        (Window(0) | Global(1), NoPosition(), {"length": SHORT_JOINED + 1}, "joint"),
    ],
)
def test_auto_takes_first_suitable_kernel(pattern, position, arguments, expected):
    assert choose(inputs_of(pattern, position, **arguments)) == expected


def test_missing_compiler_warns_once_and_uses_torch(monkeypatch, caplog):
    monkeypatch.setattr(kernels, "unavailable_reason", lambda: "no C++ compiler found")
    kernels._warn_once.cache_clear()
    assert [choose(inputs_of(Window(9), NoPosition())) for _ in range(2)] == ["slab", "slab"]
    assert choose(inputs_of(Full(), NoPosition())) == "sdpa"
    assert caplog.messages == [
        "compiled attention kernels are not available (no C++ compiler found); using slower ones"
    ]
    with pytest.raises(
        KernelError, match=r"'band' cannot handle this request: no C\+\+ compiler f"
    ):
        choose(inputs_of(Window(9), NoPosition()), "band")
    assert choose(inputs_of(Window(9), NoPosition(), length=SHORT)) == "reference"
    kernels._warn_once.cache_clear()


def test_flex_is_for_cuda():
    message = "'flex' cannot handle this request: it needs CUDA, but the tensors are on the device"
    with pytest.raises(KernelError, match=f"{message} 'cpu'. Use kernel 'auto'"):
        choose(inputs_of(Window(9), NoPosition()), "flex")


UNSUITABLE = {"head_dim": 8, "dtype": torch.float64, "dropout": 0.1}
ALL_REASONS = (
    "the position has its own keys; it does not support float64; head_dim 8 is less than 16; "
    "it does not support dropout (set model.attention_dropout = 0)"
)


@pytest.mark.parametrize(
    ("pattern", "position", "arguments", "reason"),
    [
        (Window(9), NoPosition(), {}, None),
        (Window(9) | Global(1) | RandomBlocks(2), NoPosition(), {}, None),
        (Full(), NoPosition(), {"dropout": 0.1}, None),  # sdpa is as good
        (Window(9), NoPosition(), {"dropout": 0.1, "length": SHORT}, None),
        (Window(9), Shaw(8, 3), UNSUITABLE, ALL_REASONS),
    ],
    ids=str,
)
def test_cuda_reports_once_why_flex_is_not_used(
    pattern, position, arguments, reason, monkeypatch, caplog
):
    kernels._warn_once.cache_clear()
    on_cpu = inputs_of(pattern, position.to(arguments.get("dtype", torch.float32)), **arguments)
    on_cuda = replace(on_cpu, q=OnCuda(on_cpu.q))
    monkeypatch.setattr(attend_module, "prepare", lambda *_, **__: on_cuda)
    monkeypatch.setattr(kernels, "run", lambda name, inputs: name)
    call = partial(attend, on_cpu.q, on_cpu.k, on_cpu.v, pattern=pattern, position=position)
    served = [call(), call()]
    line = f"attention kernel 'flex' cannot handle this request: {reason}; using the slower kernel"
    assert caplog.messages == ([] if reason is None else [f"{line} 'slab'"])
    assert (served == ["slab", "slab"]) == (reason is not None)
    if reason is not None:  # a named kernel runs, or an error gives the reason
        with pytest.raises(KernelError, match=re.escape(f"cannot handle this request: {reason}")):
            call(kernel="flex")
        assert call(kernel="slab") == "slab"
        assert len(caplog.messages) == 1


def test_the_run_file_names_the_kernels_of_the_table():
    assert get_args(config.AttentionModel.model_fields["kernel"].annotation) == ("auto", *KERNELS)


GLOBAL, CAUSAL = {"num_global": 2}, {"causal": True}
PATTERNS = [{"kind": kind} for kind in ("full", "window", "block_local", "bigbird")]
PATTERNS += [{"kind": kind, **CAUSAL} for kind in ("full", "bigbird")]
PATTERNS += [{"kind": kind, **CAUSAL, **GLOBAL} for kind in ("window", "strided", "block_local")]
PATTERNS += [{"kind": "window", "dilation": 2}, {"kind": "strided", "stride": 9}]
PATTERNS += [{"kind": "bigbird", "num_global": 0}]
POSITIONS = ("none", "t5", "alibi", "rotary", "shaw", "transformer_xl", "sinusoidal")


@needs_band
@pytest.mark.parametrize("head_dim", [8, 16, 24])
@pytest.mark.parametrize("kernel", [name for name in KERNELS if name != "flex"])
@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_run_file_with_unsuitable_kernel_is_refused(pattern, kernel, head_dim):
    for position in POSITIONS:
        settings = {"pattern": pattern, "position": {"kind": position}, "embed_dim": 2 * head_dim}
        settings = config.AttentionModel.model_validate(settings | {"num_heads": 2})
        try:
            config.AttentionModel.model_validate(settings.model_dump() | {"kernel": kernel})
            is_refused = False
        except ValidationError:
            is_refused = True
        relative = build_position(settings.position, 2, head_dim)
        if not isinstance(relative, RelativePosition):
            relative = NoPosition()
        inputs = inputs_of(build_pattern(settings.pattern), relative, head_dim=head_dim)
        assert is_refused == (why_unsupported(kernel, inputs) is not None), position


def test_attend_without_pattern_and_position_is_full_attention():
    q, k, v = torch.randn(3, 1, 2, 6, 4)
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(attend(q, k, v), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"position": Learned(4, 6)}, r"position has type Learned; expected a relative position"),
        ({"position": Rotary(8)}, "position has head_dim 8, but q has 4"),
        ({"position": Shaw(8, 2)}, "position has head_dim 8, but q has 4"),
        ({"position": Alibi(3)}, "position has 3 heads, but q has 2"),
        ({"pattern": "window"}, "pattern is 'window'; expected a pattern such as"),
        ({"k": torch.zeros(1, 3, 6, 4)}, r"the shapes of q .*, k \(1, 3, 6, 4\) .* do not fit"),
        (dict.fromkeys("qkv", torch.zeros(1, 0, 6, 4)), r"the shapes of q \(1, 0, 6, 4\), k"),
        ({"q": torch.zeros(2, 6, 4)}, r"the shapes of q \(2, 6, 4\), k \(1, 2, 6, 4\)"),
        ({"mask": torch.ones(1, 4, dtype=torch.bool)}, r"mask has shape \(1, 4\); .* = \(1, 6\)"),
        ({"mask": torch.ones(1, 6)}, "mask has type torch.float32; expected torch.bool"),
        ({"dropout": 1.0}, r"dropout is 1.0; expected a fraction in \[0, 1\)"),
        ({"kernel": "fast"}, r"unknown kernel 'fast'; available: auto, .*slab"),
    ],
)
def test_attend_names_wrong_arguments(arguments, message):
    q = torch.zeros(1, 2, 6, 4)
    with pytest.raises(ValueError, match=message):
        attend(**{"q": q, "k": q, "v": q} | arguments)
