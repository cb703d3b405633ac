"""Compile loops over arrays with numba."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any


@cache
def compiled(function: Callable[..., Any]) -> Any:
    """Return the function, compiled by numba at its first call and cached on disk."""
    import numba  # imported here because it takes a second

    return numba.njit(cache=True, nogil=True)(function)
