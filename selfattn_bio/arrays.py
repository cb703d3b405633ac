"""Array types that most signatures have, and compilation of loops over arrays.

`sequence.alphabet` has the types of letters.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Bools = NDArray[np.bool_]


@cache
def compiled(function: Callable[..., Any]) -> Any:
    """Return the function, compiled by numba at its first call and cached on disk."""
    import numba  # imported here because it takes a second

    return numba.njit(cache=True, nogil=True)(function)
