"""Test peaks along a chromosome, and bigWig files on a full disk."""

import errno
from types import SimpleNamespace

import numpy as np
import pytest

from selfattn_bio.scoring.peaks import PeakFinder, unsuppressed
from selfattn_bio.sequence import bigwig
from selfattn_bio.sequence.bigwig import open_bigwig


def greedy(places, values, separation):
    """Keep the highest remaining value until none remains."""
    left, kept = sorted(range(len(places)), key=lambda i: (-values[i], i)), []
    while left:
        kept.append(left[0])
        left = [i for i in left if abs(places[i] - places[left[0]]) >= separation]
    return sorted(kept)


def test_peaks_of_worked_example():
    places, values = np.array([0, 10, 20, 30]), np.array([1.0, 3.0, 2.0, 2.0])
    assert unsuppressed(places, values, 15).tolist() == [1, 3]
    for separation, kept in ((11, [0, 2]), (10, [0, 1, 2, 3])):  # the first of equal peaks
        assert unsuppressed(places, np.ones(4), separation).tolist() == kept


@pytest.mark.parametrize("seed", range(10))
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
    values = np.r_[1.0, np.full(9, -1.0)]
    kept = [finder.add(np.arange(at, at + 10), values)[0] for at in range(0, 100, 10)]
    assert [len(each) for each in kept] == [1] * 10
    assert finder.finish()[0].tolist() == []


# ------------ bigWig on a full disk: pyBigWig raises no error
def write_track(folder):
    with open_bigwig(f"{folder}/scan.bw", {"chr1": 1000}) as write_values:
        write_values("chr1", np.arange(0, 500, 10), 10, np.linspace(0, 1, 50))


def test_scan_stops_before_the_disk_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(bigwig.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(OSError, match=r"No space left on device: .*scan\.bw") as caught:
        write_track(tmp_path)
    assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def test_scan_stops_before_a_limit_of_file_sizes(tmp_path, monkeypatch):
    monkeypatch.setattr(bigwig.resource, "getrlimit", lambda _: (1000, 1000))
    with pytest.raises(OSError, match=r"File too large: .*scan\.bw"):
        write_track(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_truncated_bigwig_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(bigwig, "BIGWIG_END", b"\0\0\0\0")
    with pytest.raises(OSError, match=r"No space left on device: .*scan\.bw"):
        write_track(tmp_path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    write_track(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["scan.bw"]
