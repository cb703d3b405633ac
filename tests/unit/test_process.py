"""Test cores and heap of a process."""

import os
import platform
import subprocess
import sys

import pytest

from selfattn_bio.process import available_cores


def test_available_cores_follow_the_affinity(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {2, 5, 7}, raising=False)
    assert available_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    assert available_cores() == 12


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc",
    reason="the C library is not glibc, the only one that `keep_memory` affects",
)
def test_freed_memory_is_reused():
    code = """if True:
        import resource
        import numpy as np
        from selfattn_bio.process import keep_memory
        {}
        np.ones(500_000)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(100):
            np.ones(500_000)  # 4 MB, freed at once
        print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)"""
    default, kept = (
        int(subprocess.check_output([sys.executable, "-c", code.format(line)], text=True))
        for line in ("", "keep_memory()")
    )
    assert kept < default / 4
