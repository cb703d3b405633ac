"""Set up the process of a command: threads and memory."""

from __future__ import annotations

import ctypes
import os

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # constants of malloc.h


def cap_threads() -> None:
    """Lower thread counts of the environment to the number of available cores.

    `snakemake --cores 8` sets them to 8 on a machine with two cores as well.
    """
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    for name in THREAD_VARIABLES:
        if os.environ.get(name, "").isdigit() and int(os.environ[name]) > cores:
            os.environ[name] = str(cores)


def keep_memory() -> None:
    """Make glibc keep freed memory for the next training step.

    By default, glibc maps large blocks again in every step, which costs page faults. Results are
    the same to the bit. Other C libraries are not affected.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)  # bytes, the largest C int
        mallopt(M_TOP_PAD, 2**28)
