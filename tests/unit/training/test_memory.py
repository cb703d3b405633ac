"""Test that the memory peak is that of this process."""

import subprocess
import sys

import pytest


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
