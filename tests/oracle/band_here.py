"""Skip tests that need the band kernel where it cannot be compiled."""

import pytest

from selfattn_bio.attention.native import unavailable_reason

needs_band = pytest.mark.skipif(
    unavailable_reason() is not None, reason=f"no band kernel here: {unavailable_reason()}"
)
