"""How much memory there is and how much is taken: of the process, its control group, the machine, the GPU.

Hides: /proc, control groups of both versions, limits, glibc's heap, what allocators say when there is none. `training.probe` measures with
it, the loop takes the peak from it, the train command asks it what an error means.
"""

from __future__ import annotations

import ctypes
import gc
import math
import resource
from contextlib import suppress
from pathlib import Path

import torch

HEAP_PAD = 268  # MB that malloc asks for ahead of need, as `cli.main.keep_memory` sets it


def is_out_of_memory(error: BaseException) -> bool:
    """Whether it says that memory, of the CPU or of the GPU, could not be had."""
    told = ("can't allocate memory", "Cannot allocate memory", "bad_alloc")
    if "could not create a" in str(error) and not torch.cuda.is_available():  # oneDNN's word for whatever fails: memory, if that is scarce
        return available_mb() - status_mb("RssAnon") < 2 * HEAP_PAD
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError | OSError) and any(words in str(error) for words in told)
    )


def words_of(error: BaseException) -> str:
    """What an allocator says, in short: without its own place in torch's source."""
    return " ".join(str(error).split()).rpartition("DefaultCPUAllocator: ")[2].partition(". ")[0] or type(error).__name__


def status_mb(entry: str) -> float:
    """VmRSS (resident now), VmHWM (the most since the last reset), VmSize, VmData or RssAnon of this process, in MB.

    Not getrusage, whose mark a process takes over from the one that started it.
    """
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return int(text.split(entry + ":")[1].split()[0]) * 1024 / 1e6


def peak_mb() -> float:
    """The most since `reset_peak`: resident, or taken from the GPU by torch."""
    return torch.cuda.max_memory_reserved() / 1e6 if torch.cuda.is_available() else status_mb("VmHWM")


def now_mb() -> float:
    """Resident now, or held on the GPU by torch."""
    return torch.cuda.memory_reserved() / 1e6 if torch.cuda.is_available() else status_mb("VmRSS")


def reset_peak() -> None:
    """Give free memory back, and let the mark of the most start anew."""
    give_back()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return
    with suppress(OSError):  # a sandbox may forbid it; as sizes grow, the mark then still is that of the last
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def give_back() -> None:
    """Return to the system, or the GPU, what is free."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)


def available_mb() -> float:
    """MB that this process may take, with what it has: of the GPU if there is one, else by the system, its control group and its limits."""
    if torch.cuda.is_available():
        return torch.cuda.mem_get_info()[0] / 1e6 + torch.cuda.memory_reserved() / 1e6
    text = Path("/proc/meminfo").read_text(encoding="ascii")
    system = int(text.split("MemAvailable:")[1].split()[0]) * 1024 / 1e6
    found = [min(system, group_room_mb()) + status_mb("RssAnon")]
    for limit, entry in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        most = resource.getrlimit(limit)[0]
        if most != resource.RLIM_INFINITY:
            found.append(most / 1e6 - status_mb(entry) + status_mb("VmRSS") - 2 * HEAP_PAD)  # one ahead, one of holes
    return max(0.0, min(found))


def group_room_mb(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float:
    """MB up to the nearest limit of the control groups (version 1 or 2) that this process is in; infinite without one.

    What they hold of files is not counted as taken, as the system drops it first.
    """
    room = math.inf
    for line in own.read_text(encoding="ascii").splitlines() if own.exists() else ():
        number, controllers, path = line.split(":", 2)
        if number == "0":
            top, limit, usage, prefix = root, "memory.max", "memory.current", ""
        elif "memory" in controllers.split(","):
            top, limit, usage, prefix = root / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"
        else:
            continue
        folder = top / path.lstrip("/")  # in a container the path may be the host's: what there is of it counts
        for group in (folder, *folder.parents):
            if group.is_relative_to(top) and (group / limit).exists() and (most := (group / limit).read_text().strip()) != "max":
                stat = dict(each.split() for each in (group / "memory.stat").read_text().splitlines())
                files = sum(int(stat.get(f"{prefix}{kind}_file", 0)) for kind in ("active", "inactive"))
                room = min(room, (int(most) - int((group / usage).read_text()) + files) / 1e6)
    return room
