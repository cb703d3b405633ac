"""Test that bigWig and bedGraph give the same numbers, and that damaged bigWig files give errors.

Bins are compared with worked examples. No damaged file may abort the process.
"""

import gzip

import numpy as np
import pandas as pd
import pyBigWig
import pytest

from selfattn_bio.errors import IntervalError
from selfattn_bio.sequence.tracks import binned, covered, read_track, values_of

ROWS = [("chr1", 10, 20, 1.0), ("chr1", 20, 40, -2.5), ("chr1", 300, 400, 3.0)]
ROWS.append(("chr2", 0, 50, 7.0))


@pytest.fixture(params=["t.bw", "t.bedGraph.gz", "t.bdg"])
def track(request, tmp_path):
    """Return a track of ROWS."""
    path = tmp_path / request.param
    if path.suffix == ".bw":
        write_bigwig(path)
        return read_track(path)
    rows = ("\t".join(map(str, row)) + "\r\n" for row in ROWS[::-1])
    text = f"track type=bedGraph\n# c\n{''.join(rows)}".encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return read_track(path)


def write_bigwig(path):
    """Write ROWS as bigWig."""
    chroms, starts, ends, values = map(list, zip(*ROWS, strict=True))
    with pyBigWig.open(str(path), "w") as track:
        track.addHeader([("chr1", 1000), ("chr2", 50)])
        track.addEntries(chroms, starts, ends=ends, values=values)


def test_values_of_letters(track):
    assert sorted(track.names) == ["chr1", "chr2"]
    np.testing.assert_array_equal(track.values("chr1", 18, 42), [1, 1] + [-2.5] * 20 + [np.nan] * 2)
    np.testing.assert_array_equal(track.values("chr1", 350, 352), [3, 3])
    np.testing.assert_array_equal(track.values("chr2", -2, 2), [np.nan, np.nan, 7, 7])
    np.testing.assert_array_equal(track.values("chr2", 48, 53), [7, 7, np.nan, np.nan, np.nan])
    assert np.isnan(track.values("chr9", 0, 4)).all()
    assert track.values("chr1", 0, 4).dtype == np.float32


def test_values_of_windows(track, monkeypatch):
    monkeypatch.setattr("selfattn_bio.sequence.tracks._PIECE", 30)
    rows = [("chr1", 350, 390, "-"), ("2", -2, 3, "+"), ("chr1", 15, 25, "-"), ("chr1", 0, 30, "+")]
    windows = pd.DataFrame(rows, columns=["chrom", "start", "end", "strand"], index=[7, 7, 1, 0])
    found = dict(values_of(track, windows))
    for row, (chrom, start, end, strand) in enumerate(rows):
        expected = track.values(chrom.replace("2", "chr2"), start, end)
        np.testing.assert_array_equal(found[row], expected[:: -1 if strand == "-" else 1])


def test_intervals_as_a_track():
    track = covered(pd.DataFrame({"chrom": ["a", "a", "a"], "start": [2, 4, 9], "end": [5, 7, 10]}))
    assert track.values("a", 0, 10).tolist() == [0, 0, 1, 1, 1, 1, 1, 0, 0, 1]
    assert track.values("b", 0, 2).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("summary", "expected"),
    [("mean", [2, 5, np.nan]), ("max", [3, 5, np.nan]), ("sum", [4, 5, np.nan])],
)
def test_bins(summary, expected):
    values = np.array([1, 3, np.nan, 5, np.nan, np.nan], np.float32)
    np.testing.assert_array_equal(binned(values, 2, summary), expected)


@pytest.fixture
def content(tmp_path):
    """Return the bytes of a bigWig file."""
    write_bigwig(tmp_path / "t.bw")
    return bytearray((tmp_path / "t.bw").read_bytes())


def refused(tmp_path, content, message):
    (tmp_path / "u.bw").write_bytes(content)
    with pytest.raises(IntervalError, match=f"u.bw: damaged bigWig file: {message}"):
        read_track(tmp_path / "u.bw")


@pytest.mark.parametrize("size", [0, 1, 2**32 - 1])
def test_impossible_size_of_blocks(tmp_path, content, size):
    """With 0, pyBigWig takes compressed blocks for values, and finds none."""
    content[52:56] = size.to_bytes(4, "little")
    refused(tmp_path, content, "invalid block of values")


def test_a_truncated_bigwig(tmp_path, content):
    for size in range(0, len(content) - 8, 7):
        refused(tmp_path, content[:size], ".*. Download or copy it again")


@pytest.mark.parametrize("number", [1, 2, 2**32 - 1])
def test_impossible_chromosome_numbers(tmp_path, content, number):
    """pyBigWig would write beyond an array, which ends the process."""
    names = int.from_bytes(content[8:16], "little")
    key_size = int.from_bytes(content[names + 8 : names + 12], "little")
    at = names + 36 + key_size  # after headers of 32 and 4 bytes and the first name
    assert content[at : at + 8] == (0).to_bytes(4, "little") + (1000).to_bytes(4, "little")
    content[at : at + 4] = number.to_bytes(4, "little")
    refused(tmp_path, content, "invalid list of chrom")


@pytest.mark.parametrize("size", [2**40, 2**64 - 1])
def test_a_block_of_impossible_size(tmp_path, content, size):
    """pyBigWig would try to allocate this much memory."""
    # size of the first block, after a header of 48 bytes, a node of 4 and 24 of the item
    at = int.from_bytes(content[24:32], "little") + 76
    content[at : at + 8] = size.to_bytes(8, "little")
    refused(tmp_path, content, "block beyond the end of the file")
