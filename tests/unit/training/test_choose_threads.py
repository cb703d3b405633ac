"""Tests of training/threads.py: the number of threads follows from measured times."""

import pytest

from selfattn_bio.training.dry_run import best_number


@pytest.mark.parametrize(
    ("most", "speeds", "chosen"),
    [
        (2, {2: 1.6}, 2),
        (2, {2: 1.4}, 1),
        (8, {2: 1.9, 4: 3.2, 8: 5.0}, 4),
        (8, {2: 1.0, 4: 4.0, 8: 8.0}, 1),  # the first that is too slow ends the search
        (6, {2: 2.0, 4: 4.0, 6: 5.5}, 6),
        (1, {}, 1),
    ],
)
def test_threads_must_reach_three_quarters_of_the_ideal_speed(most, speeds, chosen):
    seconds = {1: 1.0, **{number: 1 / speed for number, speed in speeds.items()}}
    assert best_number(most, seconds.__getitem__) == chosen
