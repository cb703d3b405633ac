"""Test counts in text."""

import numpy as np
import pytest

from selfattn_bio.display import counted


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 records"), (1, "1 record"), (np.int64(2), "2 records"), (1234, "1,234 records")],
)
def test_counts_agree_with_their_noun(number, text):
    assert counted(number, "record") == text
