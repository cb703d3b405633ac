"""Test the choice of precision and of CPU threads."""

import pytest
import torch

from selfattn_bio import config
from selfattn_bio.training.dry_run import best_number
from selfattn_bio.training.hardware import (
    PRECISION_FILE,
    fast_precision,
    keep_precision,
    with_precision,
)

DATA = {"positives": "a", "negatives": "b"}


def run_file(precision, **model):
    sections = {"data": DATA, "training": {"precision": precision}}
    return config.RunFile.model_validate(sections | ({"model": model} if model else {}))


@pytest.mark.skipif(torch.cuda.is_available(), reason="the rule for CPUs")
@pytest.mark.parametrize(
    ("has_amx", "has_avx512_bf16", "expected"),
    [(True, False, "bf16-mixed"), (False, True, "bf16-mixed"), (False, False, "32-true")],
)
def test_instructions_of_the_cpu_decide(has_amx, has_avx512_bf16, expected, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_avx512_bf16)
    assert fast_precision() == expected
    assert with_precision(run_file("auto")).training.precision == expected


def test_named_precision_and_own_networks_ignore_the_machine(monkeypatch):
    monkeypatch.setattr("selfattn_bio.training.hardware.fast_precision", lambda: "bf16-mixed")
    named = run_file("32-true")
    assert with_precision(named) is named
    own = run_file("auto", kind="module", module="mine:build")
    assert with_precision(own).training.precision == "32-true"


def test_precision_of_the_first_start_is_kept(tmp_path):
    keep_precision(run_file("16-mixed"), tmp_path)
    assert (tmp_path / PRECISION_FILE).read_text() == "16-mixed\n"
    assert with_precision(run_file("auto"), tmp_path).training.precision == "16-mixed"
    assert with_precision(run_file("32-true"), tmp_path).training.precision == "32-true"


@pytest.mark.parametrize(
    ("most", "speeds", "chosen"),
    [
        (2, {2: 1.6}, 2),
        (2, {2: 1.4}, 1),
        (8, {2: 1.9, 4: 3.2, 8: 5.0}, 4),
        (8, {2: 1.0, 4: 4.0, 8: 8.0}, 1),  # the first that is too slow ends the search
        (6, {2: 2.0, 4: 4.0, 6: 5.5}, 6),
        (1, {}, 1),
    ],
)
def test_threads_must_reach_three_quarters_of_the_ideal_speed(most, speeds, chosen):
    seconds = {1: 1.0, **{number: 1 / speed for number, speed in speeds.items()}}
    assert best_number(most, seconds.__getitem__) == chosen
