"""Compute independent parts of a scan side by side, each on one thread.

Batches of windows are small, so threads that share one batch wait for each other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

T = TypeVar("T")


def in_threads(
    compute: Callable[..., T], arguments: Iterable[tuple[object, ...]], threads: int
) -> Iterator[T]:
    """Yield `compute(*each)` for the arguments in order, computed by several threads.

    With one thread everything runs in the calling thread. Otherwise `threads` results are computed
    ahead, and torch uses one thread for each.

    Parameters
    ----------
    compute
        A function that releases the lock of the interpreter most of the time, as torch does.
    arguments
        Read in the calling thread.
    threads
        Number of threads, at least 1.
    """
    if threads == 1:
        yield from (compute(*each) for each in arguments)
        return
    with _torch_on_one_thread(), ThreadPoolExecutor(threads) as pool:
        running: deque[Future[T]] = deque()
        try:
            for each in arguments:
                running.append(pool.submit(compute, *each))
                if len(running) > threads:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            for future in running:
                future.cancel()


@contextmanager
def _torch_on_one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
