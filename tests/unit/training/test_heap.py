"""Freed memory is kept by the allocator on request."""

import platform
import subprocess
import sys

import pytest


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
    run = [
        subprocess.run(
            [sys.executable, "-c", code.format(line)], capture_output=True, text=True, check=True
        )
        for line in ("", "keep_memory()")
    ]
    default, kept = (int(process.stdout) for process in run)
    assert kept < default / 4
