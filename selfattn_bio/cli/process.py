"""Set up the threads of a command."""

from __future__ import annotations

import os
import re
import sys

from selfattn_bio.cores import available_cores
from selfattn_bio.errors import ArgumentError

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


def use_device(name: str) -> None:
    """Use the CPU, or CUDA, for all networks of this process, which has not used CUDA yet.

    Parameters
    ----------
    name
        "cpu", "cuda", or one CUDA device such as "cuda:1".

    Raises
    ------
    ArgumentError
        If it is another name, or there is no such device.
    """
    if not (found := re.fullmatch(r"cpu|cuda(?::(\d+))?", name)):
        raise ArgumentError(f"unknown device {name!r}", hint="Use cpu, cuda, or cuda:NUMBER")
    if name == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif found[1]:
        # the number counts the devices that a batch system gave to this process
        given = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(64)))).split(",")
        os.environ["CUDA_VISIBLE_DEVICES"] = dict(enumerate(given)).get(int(found[1]), "")
    if name != "cpu":
        import torch  # imported here because it takes a second

        if not torch.cuda.is_available():
            hint = "Run on the CPU with --device cpu"
            raise ArgumentError(f"device {name}: no such GPU found", hint=hint)
