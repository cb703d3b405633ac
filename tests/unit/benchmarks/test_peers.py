"""Test the scripts that need the bench extra."""

import importlib
import importlib.util
import warnings

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

MISSING = [
    name
    for name in ("local_attention", "transformers", "x_transformers")
    if importlib.util.find_spec(name) is None
]
pytestmark = [
    pytest.mark.slow,  # the imports are slow
    pytest.mark.filterwarnings("ignore"),  # other libraries may warn
    pytest.mark.skipif(
        bool(MISSING), reason=f"not installed, pip install --group bench: {', '.join(MISSING)}"
    ),
]


def script(name, monkeypatch):
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(variable, "1")  # the script may set it; restored after the test
    with warnings.catch_warnings(action="ignore"):
        return importlib.import_module(name)


def test_agreement_fails_above_tolerance(monkeypatch):
    agreement = script("agreement", monkeypatch)
    (table,) = agreement.measure(None)
    rows = list(table.rows)
    assert len(rows) == len(agreement.WAYS)
    monkeypatch.setattr(agreement, "TOLERANCE", 1e-9)
    measured = agreement.measure(None)
    assert list(next(measured).rows) == rows
    with pytest.raises(SystemExit, match=r"^error: difference above 1e-09: ALiBi slopes: Huggi"):
        next(measured)


def test_reachable_speed_counts_all_operations(monkeypatch):
    peers, report = script("peers", monkeypatch), script("speed_targets", monkeypatch)
    length, qkv, out = 64, *(torch.nn.Linear(peers.DIM, n * peers.DIM) for n in (3, 1))
    x = torch.randn(1, length, peers.DIM, requires_grad=True)
    mask = torch.ones(length, length, dtype=torch.bool)
    with FlopCounterMode(display=False) as counter:
        peers.dense_oracle(x, qkv, out, mask).sum().backward()
    of_token = report.PROJECTIONS + report.pairs(report.keys_of_window(length))
    assert counter.get_total_flops() == length * of_token
    allowed = peers.build_pattern(peers.WINDOWED).dense_mask(300)
    assert report.keys_of_window(300) == pytest.approx(int(allowed.sum()) / 300)
    row = report.Target("layer", 4, True, {"a": 3.0, "b": 2.0}, {"a": 3.5, "b": 2.5}).row()
    assert row == ["layer", ">= 4", "2", "2.5", "b", "NO"]
