"""Test that a genome scan stops with an error if the disk is full; pyBigWig raises none."""

import errno
from types import SimpleNamespace

import numpy as np
import pytest

from selfattn_bio.scoring import tracks
from selfattn_bio.scoring.tracks import _open_track


def write(folder):
    with _open_track(f"{folder}/scan.bw", SimpleNamespace(lengths={"chr1": 1000})) as write_values:
        write_values("chr1", np.arange(0, 500, 10), 10, np.linspace(0, 1, 50))


def test_scan_stops_before_the_disk_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(tracks.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(OSError, match=r"No space left on device: .*scan\.bw") as caught:
        write(tmp_path)
    assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def test_truncated_bigwig_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(tracks, "BIGWIG_END", b"\0\0\0\0")
    with pytest.raises(OSError, match=r"No space left on device: .*scan\.bw"):
        write(tmp_path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["scan.bw"]
