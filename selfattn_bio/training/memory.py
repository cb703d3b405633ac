"""Measure available and used memory of the process, its control group, the machine and the GPU.

It reads control groups of both versions, resource limits, and /proc on Linux. Elsewhere, psutil
measures the process. It also detects errors that mean out of memory.
"""

from __future__ import annotations

import ctypes
import gc
import math
import resource
from contextlib import suppress
from pathlib import Path

import psutil
import torch

STATUS = Path("/proc/self/status")  # Linux only
HEAP_PAD = 268  # MB that malloc requests in advance, as set by `heap.keep_memory`


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory of the CPU or the GPU was exhausted."""
    phrases = ("can't allocate memory", "Cannot allocate memory", "bad_alloc")
    # oneDNN reports every failure with these words; if memory is scarce, memory is the reason
    if "could not create a" in str(error) and not torch.cuda.is_available():
        return available_mb() - status_mb("RssAnon") < 2 * HEAP_PAD
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError | OSError)
        and any(phrase in str(error) for phrase in phrases)
    )


def words_of(error: BaseException) -> str:
    """Return an allocator's message in short, without the location in torch's source."""
    return (
        " ".join(str(error).split()).rpartition("DefaultCPUAllocator: ")[2].partition(". ")[0]
        or type(error).__name__
    )


def status_mb(field: str) -> float:
    """Return a field of /proc/self/status in MB, or the closest measure of other systems.

    Fields are VmRSS (resident now), VmHWM (peak since the last reset), VmSize, VmData and RssAnon.
    getrusage is not used on Linux, where a process inherits its peak from its parent.
    """
    if not STATUS.exists():
        process = psutil.Process().memory_info()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS
        return {"VmHWM": peak, "VmSize": process.vms, "VmData": process.vms}.get(
            field, process.rss
        ) / 1e6
    text = STATUS.read_text(encoding="ascii")
    return int(text.split(field + ":")[1].split()[0]) * 1024 / 1e6


def peak_mb() -> float:
    """Return the peak since `reset_peak` in MB: resident, or reserved on the GPU by torch."""
    return (
        torch.cuda.max_memory_reserved() / 1e6 if torch.cuda.is_available() else status_mb("VmHWM")
    )


def now_mb() -> float:
    """Return the current memory in MB: resident, or reserved on the GPU by torch."""
    return torch.cuda.memory_reserved() / 1e6 if torch.cuda.is_available() else status_mb("VmRSS")


def reset_peak() -> None:
    """Return free memory to the system and reset the peak."""
    give_back()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return
    # A sandbox may forbid it. Sizes are measured from small to large, so the peak is still that of
    # the latest size.
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def give_back() -> None:
    """Return free memory to the system or the GPU."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only
    if trim is not None:
        trim(0)


def available_mb() -> float:
    """Return the memory this process may use in MB, including its current use.

    On a GPU, this is GPU memory. Otherwise the system, the control group and the resource limits
    restrict it.
    """
    if torch.cuda.is_available():
        return torch.cuda.mem_get_info()[0] / 1e6 + torch.cuda.memory_reserved() / 1e6
    system = psutil.virtual_memory().available / 1e6
    found = [min(system, group_free_mb()) + status_mb("RssAnon")]
    for limit, field in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        most = resource.getrlimit(limit)[0]
        if most != resource.RLIM_INFINITY:
            # twice HEAP_PAD: what malloc requests in advance, and as much for fragmentation
            found.append(most / 1e6 - status_mb(field) + status_mb("VmRSS") - 2 * HEAP_PAD)
    return max(0.0, min(found))


def group_free_mb(
    root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> float:
    """Return the MB left below the nearest limit of the process's control groups, or infinity.

    Both versions of control groups are supported. Their file cache does not count as used, because
    the system drops it first.
    """
    free = math.inf
    for line in own.read_text(encoding="ascii").splitlines() if own.exists() else ():
        number, controllers, path = line.split(":", 2)
        if number == "0":
            top, limit, usage, prefix = root, "memory.max", "memory.current", ""
        elif "memory" in controllers.split(","):
            top = root / "memory"
            limit = "memory.limit_in_bytes"
            usage = "memory.usage_in_bytes"
            prefix = "total_"
        else:
            continue
        # in a container, the path may be that of the host; only existing folders count
        folder = top / path.lstrip("/")
        for group in (folder, *folder.parents):
            if (
                group.is_relative_to(top)
                and (group / limit).exists()
                and (most := (group / limit).read_text().strip()) != "max"
            ):
                stat = dict(
                    each.split() for each in (group / "memory.stat").read_text().splitlines()
                )
                files = sum(
                    int(stat.get(f"{prefix}{kind}_file", 0)) for kind in ("active", "inactive")
                )
                free = min(free, (int(most) - int((group / usage).read_text()) + files) / 1e6)
    return free
