"""Test the scripts that need the bench extra."""

import importlib
import importlib.util
import math
import warnings
from collections import Counter, defaultdict
from types import ModuleType

import pandas as pd
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


def script(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(variable, "1")  # the script may set it; restored after the test
    with warnings.catch_warnings(action="ignore"):
        return importlib.import_module(name)


def test_agreement_fails_above_tolerance(monkeypatch: pytest.MonkeyPatch) -> None:
    agreement = script("agreement", monkeypatch)
    (table,) = agreement.measure(None)
    rows = list(table.rows)
    assert len(rows) == len(agreement.WAYS)
    monkeypatch.setattr(agreement, "TOLERANCE", 1e-9)
    measured = agreement.measure(None)
    assert list(next(measured).rows) == rows
    with pytest.raises(
        SystemExit, match=r"^error: difference above 1e-09: ALiBi slopes: Hugging Face BLOOM, "
    ):
        next(measured)


def test_speed_cases_are_timed_three_times(monkeypatch: pytest.MonkeyPatch) -> None:
    speed = script("speed_cases", monkeypatch)
    monkeypatch.setattr(torch, "set_float32_matmul_precision", lambda precision: None)
    cases = [
        speed.Case(name, 1, 1, lambda seconds=seconds: (seconds, seconds))
        for name, seconds in (("fast", 0.1), ("slow", 9.0))
    ]
    rounds = list(speed.rounds_of([speed.Table("table", 3, cases)]))
    assert len(rounds) == 4
    assert set(
        Counter(
            (each["name"], each["precision"]) for samples in rounds for each in samples
        ).values()
    ) == {3}
    size = speed.Size()
    assert min(*(rounds for _, rounds in size.layers), size.far_rounds, size.step_rounds) >= 3


def test_reachable_speed_counts_all_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    peers, report = script("peers", monkeypatch), script("speed_targets", monkeypatch)
    length, qkv, out = (
        64,
        torch.nn.Linear(peers.DIM, 3 * peers.DIM),
        torch.nn.Linear(peers.DIM, peers.DIM),
    )
    x = torch.randn(1, length, peers.DIM, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        peers.dense_oracle(
            x, qkv, out, torch.ones(length, length, dtype=torch.bool)
        ).sum().backward()
    assert counter.get_total_flops() == length * (
        report.PROJECTIONS + report.pairs(report.keys_of_window(length))
    )
    allowed = peers.build_pattern(peers.WINDOWED).dense_mask(300)
    assert report.keys_of_window(300) == pytest.approx(int(allowed.sum()) / 300)
    row = report.Target("layer", 4, True, {"a": 3.0, "b": 2.0}, {"a": 3.5, "b": 2.5}).row()
    assert row == ["layer", ">= 4", "2", "2.5", "b", "NO"]


def test_peers_of_a_bfloat16_target_have_their_fastest_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    targets = script("speed_targets", monkeypatch)
    monkeypatch.setattr(targets, "AMX", False)
    bounds = targets.Bounds(2.5, 3, 5)
    assert (bounds.of("float32"), bounds.of("bfloat16")) == (2.5, 3)
    assert math.isnan(targets.Bounds(2.5).of("bfloat16"))

    size = targets.Size()
    settings = ("highest, malloc default", "bfloat16, malloc default")
    names = targets.PEERS["local-attention"] + [
        *("HF Longformer", "HF BigBird", "HF BERT", "HF ESM", "dense SDPA"),
        *{*targets.OURS, "ours, band, T5"},
        *("ours, BigBird pattern", "floor: no attention"),
        *(f"{name}, {rest}" for name in targets.OURS for rest in ("all pairs", "window 128")),
    ]
    rows = pd.DataFrame(
        [
            {"setting": setting, "table": table, "length": length, "name": name, "total": 1.0}
            for setting in settings
            for table, length in (("layer", size.middle), ("step", size.step), ("step", 300))
            for name in names
        ]
    )
    layer = (rows["table"] == "layer") & (rows["length"] == size.middle)
    band, low = rows["name"] == "ours, band, T5", rows["setting"] == settings[1]
    rows.loc[layer & (rows["name"] == "local-attention"), "total"] = 6.0
    rows.loc[layer & (rows["name"] == "local-attention, rotary"), "total"] = 8.0
    rows.loc[layer & (rows["name"] == "local-attention") & low, "total"] = 10.0
    rows.loc[layer & (rows["name"] == "local-attention, rotary") & low, "total"] = 4.0
    rows.loc[layer & band & ~low, "total"] = 2.0
    figures = {setting: defaultdict(lambda: 1.0) for setting in (*settings, "memory")}
    found = {each.what: each for each in targets.targets(size, rows, figures)}
    what = f"layer, {size.middle:,}: local-attention / band"
    assert found[f"{what}, float32"].values == {settings[0]: 3.0}
    assert found[f"{what}, bfloat16"].values == {settings[1]: 4.0}
    assert found[f"{what}, bfloat16"].bound == 3
