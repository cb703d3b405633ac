"""Test counts and times in text."""

import numpy as np

from selfattn_bio.display import counted, duration


def test_counts_and_times_have_a_suitable_noun():
    counts = [counted(number, "record") for number in (0, 1, np.int64(2), 1234)]
    assert counts == ["0 records", "1 record", "2 records", "1,234 records"]
    times = [duration(each) for each in (0.2, 119, 120, 7200, 200_000)]
    assert times == ["1 s", "119 s", "2.0 min", "2.0 h", "2.3 days"]
