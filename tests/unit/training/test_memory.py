"""Test that the memory peak is that of this process, and measurements without /proc."""

import subprocess
import sys

import pytest

from selfattn_bio.training import memory


@pytest.mark.slow
def test_peak_memory_excludes_parent_process():
    asks = "from selfattn_bio.training.memory import peak_mb; print(peak_mb())"
    starts = (
        "import subprocess, sys; large = b'1' * 1_200_000_000; "
        f"subprocess.run([sys.executable, '-c', {asks!r}], check=True)"
    )
    done = subprocess.run(
        [sys.executable, "-c", starts], capture_output=True, text=True, check=True
    )
    assert 10 < float(done.stdout) < 1000


@pytest.mark.parametrize("field", ["VmRSS", "VmHWM", "VmSize"])
def test_memory_without_proc_is_similar(monkeypatch, tmp_path, field):
    by_linux = memory.status_mb(field)
    monkeypatch.setattr(memory, "STATUS", tmp_path / "none")
    if field == "VmHWM":  # Linux counts kB, macOS bytes
        by_linux /= 1024
    assert memory.status_mb(field) == pytest.approx(by_linux, rel=0.5)
