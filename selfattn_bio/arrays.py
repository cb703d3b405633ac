"""Types of arrays that most signatures have, and compilation of loops over arrays."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Letters = NDArray[np.uint8]  # ASCII letters; 0 is padding
Scores = NDArray[np.float32]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Bools = NDArray[np.bool_]


@cache
def compiled(function: Callable[..., Any]) -> Any:
    """Return the function, compiled by numba at its first call and cached on disk."""
    import numba  # imported here because it takes a second

    return numba.njit(cache=True, nogil=True)(function)
