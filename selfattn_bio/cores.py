"""Count the cores that this process may use."""

from __future__ import annotations

import os


def available_cores() -> int:
    """Return the cores that the process may use; all of the machine where the system has no limit.

    A batch system may give a process fewer cores than the machine has. macOS cannot.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
