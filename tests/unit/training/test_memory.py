"""Test the memory peak of this process, measurements without /proc, and errors out of memory."""

import resource
import subprocess
import sys

import pytest
import torch

from selfattn_bio.training import memory
from selfattn_bio.training.memory import is_out_of_memory, words_of


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
