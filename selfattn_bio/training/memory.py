"""Measure the memory of the process or the GPU, and detect errors that mean out of memory.

The peak of the process is read from /proc on Linux, elsewhere from getrusage.
"""

from __future__ import annotations

import gc
import resource
from contextlib import suppress
from pathlib import Path

import psutil
import torch

STATUS = Path("/proc/self/status")  # Linux only
HEAP_PAD = 268  # MB that malloc requests in advance, as set by `keep_memory`


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory of the CPU or the GPU was exhausted."""
    phrases = ("can't allocate memory", "Cannot allocate memory", "bad_alloc")
    # oneDNN and llvmlite report every failure with these words; if memory is scarce, memory is the
    # reason
    failed = ("could not create a", "load shared object")
    if any(each in str(error) for each in failed) and not torch.cuda.is_available():
        return _is_scarce()
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError | OSError)
        and any(phrase in str(error) for phrase in phrases)
    )


def _is_scarce() -> bool:
    """Return whether the machine or the limits of the process leave hardly any memory."""
    used, free = psutil.Process().memory_info(), [psutil.virtual_memory().available]
    data = getattr(used, "data", used.vms)  # Linux only
    for limit, size in ((resource.RLIMIT_AS, used.vms), (resource.RLIMIT_DATA, data)):
        most = resource.getrlimit(limit)[0]
        if most != resource.RLIM_INFINITY:
            free.append(most - size)
    # what malloc requests in advance, and as much for fragmentation
    return min(free) / 1e6 < 2 * HEAP_PAD


def words_of(error: BaseException) -> str:
    """Return an allocator's message in short, without the location in torch's source."""
    return (
        " ".join(str(error).split()).rpartition("DefaultCPUAllocator: ")[2].partition(". ")[0]
        or type(error).__name__
    )


def peak_mb() -> float:
    """Return the peak since `reset_peak` in MB: resident, or reserved on the GPU by torch."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_reserved() / 1e6
    if not STATUS.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # bytes on macOS
    # on Linux a process would inherit the peak of getrusage from its parent
    peak = STATUS.read_text(encoding="ascii").split("VmHWM:")[1].split()[0]
    return int(peak) * 1024 / 1e6


def reset_peak() -> None:
    """Start a new peak for `peak_mb`, without memory that is free.

    A sandbox may forbid it on the CPU; the peak is then that of the process since its start.
    """
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
