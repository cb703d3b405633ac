"""Test the benchmark of the GPU without one."""

import importlib

import pytest
import torch


@pytest.fixture
def gpu(benchmarks):
    return importlib.import_module("gpu")


def test_attentions_agree_with_a_window_over_all_tokens(gpu):
    length = gpu.WINDOW
    q, k, v = (torch.randn(1, length, gpu.HEADS, gpu.HEAD_DIM) for _ in range(3))
    one, other = (function(q, k, v) for function in gpu.attentions(length, "cpu").values())
    torch.testing.assert_close(one, other)


def out_of_memory():
    raise torch.OutOfMemoryError


def broken():
    raise RuntimeError("no kernel\nmore")


def test_failed_row_has_its_reason(gpu, monkeypatch):
    cases = [("large", 9, 9, out_of_memory), ("odd", 9, 9, broken), ("good", 9, 9, lambda: int)]
    monkeypatch.setattr(gpu, "cases", lambda device, quick: iter(cases))
    measured = gpu.rows("cpu", quick=True)
    assert [next(measured)["failed"] for _ in cases] == [
        "out of memory",
        "RuntimeError: no kernel",
        "",
    ]
    with pytest.raises(
        SystemExit, match=r"^error: failed for another reason than memory: odd at 9$"
    ):
        next(measured)
