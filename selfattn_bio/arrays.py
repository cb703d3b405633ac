"""Names for the array types that most signatures have."""

import numpy as np
from numpy.typing import NDArray

Letters = NDArray[np.uint8]  # ASCII letters; 0 is padding
Scores = NDArray[np.float32]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Bools = NDArray[np.bool_]
