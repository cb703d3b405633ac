"""Test the choice of precision and CPU threads, the peak of memory, and errors out of memory."""

import resource
import subprocess
import sys

import pytest
import torch

from selfattn_bio import config
from selfattn_bio.training import memory
from selfattn_bio.training.dry_run import best_number
from selfattn_bio.training.hardware import (
    PRECISION_FILE,
    fast_precision,
    keep_precision,
    with_precision,
)
from selfattn_bio.training.memory import is_out_of_memory, words_of


def run_file(precision, **sections):
    data = config.Data(positives=("a",), negatives=("b",))
    return config.RunFile(data=data, training={"precision": precision}, **sections)


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
    own = run_file("auto", model=config.ModuleModel(module="mine:build"))
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


@pytest.mark.slow
def test_peak_memory_excludes_parent_process():
    asks = "from selfattn_bio.training.memory import peak_mb; print(peak_mb())"
    starts = (
        "import subprocess, sys; large = b'1' * 1_200_000_000; "
        f"subprocess.run([sys.executable, '-c', {asks!r}], check=True)"
    )
    out = subprocess.check_output([sys.executable, "-c", starts], text=True)
    assert 10 < float(out) < 1000


@pytest.mark.parametrize("field", ["VmRSS", "VmHWM", "VmSize"])
def test_memory_without_proc_is_similar(monkeypatch, tmp_path, field):
    by_linux = memory.status_mb(field)
    monkeypatch.setattr(memory, "STATUS", tmp_path / "none")
    if field == "VmHWM":  # Linux counts kB, macOS bytes
        by_linux /= 1024
    assert memory.status_mb(field) == pytest.approx(by_linux, rel=0.5)


def test_out_of_memory_errors_are_recognised():
    cpu = RuntimeError(
        "[enforce fail at alloc_cpu.cpp:1] data. DefaultCPUAllocator: can't allocate memory: you "
        "tried to allocate 9 bytes. E"
    )
    assert words_of(cpu) == "can't allocate memory: you tried to allocate 9 bytes"
    gpu = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB.")
    assert words_of(gpu) == "CUDA out of memory"
    assert words_of(MemoryError()) == "MemoryError"
    assert all(map(is_out_of_memory, (cpu, gpu, MemoryError())))
    others = (RuntimeError("shape"), OSError("no file"), ValueError("can't allocate memory"))
    assert not any(map(is_out_of_memory, others))


@pytest.mark.skipif(torch.cuda.is_available(), reason="oneDNN computes on the CPU")
def test_onednn_error_counts_only_near_a_limit(monkeypatch):
    error = RuntimeError("could not create a primitive")
    assert not is_out_of_memory(error)
    near = int((memory.status_mb("VmData") + memory.HEAP_PAD) * 1e6)
    limits = {resource.RLIMIT_DATA: near, resource.RLIMIT_AS: resource.RLIM_INFINITY}
    monkeypatch.setattr(resource, "getrlimit", lambda limit: (limits[limit], limits[limit]))
    assert is_out_of_memory(error)
