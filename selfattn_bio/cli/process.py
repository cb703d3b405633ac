"""Set up the threads of a command."""

from __future__ import annotations

import os
import sys

from selfattn_bio.cores import available_cores

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


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
