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


def test_failed_row_has_its_reason(gpu, monkeypatch):
    errors = [torch.OutOfMemoryError(), RuntimeError("no kernel\nmore")]

    def fail():
        raise errors.pop(0)

    monkeypatch.setattr(gpu, "cases", lambda *given: [("large", 9, 9, fail), ("odd", 9, 9, fail)])
    rows = gpu.rows("cpu", quick=True)
    assert next(rows)["failed"] == "out of memory"
    assert next(rows)["failed"] == "RuntimeError: no kernel"
    with pytest.raises(SystemExit, match=r"for another reason than memory: odd at 9$"):
        next(rows)
