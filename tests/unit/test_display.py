"""Test counts and times in text."""

import numpy as np
import pytest

from selfattn_bio.display import counted, duration


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 records"), (1, "1 record"), (np.int64(2), "2 records"), (1234, "1,234 records")],
)
def test_counts_agree_with_their_noun(number, text):
    assert counted(number, "record") == text


def test_times_have_a_suitable_unit():
    times = [duration(each) for each in (0.2, 119, 120, 7200, 200_000)]
    assert times == ["1 s", "119 s", "2.0 min", "2.0 h", "2.3 days"]
