"""Cores, threads and heap of this process."""

from __future__ import annotations

import ctypes
import os
import sys

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # constants of malloc.h


def available_cores() -> int:
    """Return the cores that the process may use; all of the machine where the system has no limit.

    A batch system may give a process fewer cores than the machine has. macOS cannot.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cap_threads() -> None:
    """Lower thread counts of the environment to the number of available cores.

    `snakemake --cores 8` sets them to 8 on a machine with two cores as well. OpenMP's threads sleep
    while they wait. Spinning, its default, made a step with two threads 8 times as slow when
    another process used one of two cores. numba gets the number of OpenMP; if it is loaded, it
    would refuse another number. Libraries read these variables when they are imported.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    cores = available_cores()
    for name in THREAD_VARIABLES:
        if os.environ.get(name, "").isdigit() and int(os.environ[name]) > cores:
            os.environ[name] = str(cores)
    threads = os.environ.get("OMP_NUM_THREADS")
    if threads and "numba" not in sys.modules:
        os.environ.setdefault("NUMBA_NUM_THREADS", threads)


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
