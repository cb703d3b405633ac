"""Array types that most signatures have, object arrays, and compilation of loops over arrays.

`sequence.alphabet` has the types of letters.
"""

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
def compiled(function: Callable[..., Any]) -> Any:
    """Return the function, compiled by numba at its first call and cached on disk."""
    import numba  # imported here because it takes a second

    return numba.njit(cache=True, nogil=True)(function)
