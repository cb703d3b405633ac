"""Test non-maximum suppression of complete and of chunked scores."""

import numpy as np
import pytest

from selfattn_bio.scoring.tracks import PeakFinder, unsuppressed


def greedy(places, values, separation):
    """Keep the highest remaining value until none remains."""
    left, kept = sorted(range(len(places)), key=lambda i: (-values[i], i)), []
    while left:
        kept.append(left[0])
        left = [i for i in left if abs(places[i] - places[left[0]]) >= separation]
    return sorted(kept)


def test_peaks_of_worked_example():
    assert unsuppressed(np.array([0, 10, 20, 30]), np.array([1.0, 3.0, 2.0, 2.0]), 15).tolist() == [
        1,
        3,
    ]


def test_first_of_equal_peaks_is_kept():
    assert unsuppressed(np.array([0, 10, 20]), np.array([1.0, 1.0, 1.0]), 11).tolist() == [0, 2]
    assert unsuppressed(np.array([0, 10, 20]), np.array([1.0, 1.0, 1.0]), 10).tolist() == [0, 1, 2]


@pytest.mark.parametrize("seed", range(20))
def test_peaks_do_not_depend_on_chunks(seed):
    rng = np.random.default_rng(seed)
    places = np.cumsum(rng.integers(1, 12, 300))
    values = np.round(rng.normal(size=300), 1)  # with ties
    values[rng.random(300) < 0.1] = np.nan
    threshold, separation = rng.choice([-1.0, 0.5, 1.5]), int(rng.integers(1, 60))
    high = np.flatnonzero(values >= threshold)
    expected = high[greedy(places[high], values[high], separation)]
    finder, found = PeakFinder(threshold, separation), []
    for part in np.array_split(np.arange(300), np.sort(rng.integers(0, 300, rng.integers(0, 30)))):
        found.append(finder.add(places[part], values[part]))
    found.append(finder.finish())
    assert np.concatenate([where for where, _ in found]).tolist() == places[expected].tolist()
    np.testing.assert_array_equal(np.concatenate([value for _, value in found]), values[expected])


def test_decided_peaks_are_released():
    finder = PeakFinder(0.0, 5)
    kept = [
        len(finder.add(np.arange(start, start + 10), np.r_[1.0, np.full(9, -1.0)])[0])
        for start in range(0, 100, 10)
    ]
    assert kept == [1] * 10
    assert finder.finish()[0].tolist() == []
