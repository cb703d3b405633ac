"""Array types that most signatures have, object arrays, and compilation of loops over arrays.

`sequence.alphabet` has the types of letters.
"""

import contextlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Bools = NDArray[np.bool_]


def object_array(items: Sequence[object]) -> NDArray[np.object_]:
    """Return the items as an object array (n,), even if they are arrays of equal length."""
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


@cache
def compiled(function: Callable[..., Any], fastmath: frozenset[str] = frozenset()) -> Any:
    """Return the function, compiled by numba at its first call and cached on disk.

    `fastmath` has the names of LLVM's flags for inexact arithmetic that the function allows.
    """
    import numba  # imported here because it takes a second

    found = numba.njit(nogil=True, fastmath=set(fastmath))(function)
    with contextlib.suppress(RuntimeError):  # without a cache folder, each process compiles it
        found.enable_caching()
    return found
