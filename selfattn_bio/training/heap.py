"""Let glibc's allocator keep freed memory."""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # constants of malloc.h


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
