"""Test that compressed files give the same bytes as plain ones, and that damage is reported."""

import gzip

import pyarrow as pa
import pytest

from selfattn_bio import compression
from selfattn_bio.compression import decompressed, open_uncompressed
from selfattn_bio.errors import IntervalError, VariantFileError

TEXT = b"".join(b"chr%d\t%d\n" % (i % 7, i * i) for i in range(5000))


def zstd(data):
    return pa.compress(data, codec="zstd", asbytes=True)


def read(path, error=IntervalError):
    with open_uncompressed(path, error) as file:
        return list(file)


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstd])
@pytest.mark.parametrize("block", [5, 1000, 2**20])
def test_open_uncompressed(tmp_path, monkeypatch, compress, block):
    monkeypatch.setattr(compression, "BLOCK", block)
    padding = bytes(64) if compress is gzip.compress else b""
    parts = compress(TEXT[:100]) + compress(TEXT[100:]) + padding  # of members or frames
    for content, text in ((compress(TEXT), TEXT), (parts, TEXT), (compress(b""), b"")):
        (tmp_path / "a").write_bytes(content)
        assert read(tmp_path / "a") == text.splitlines(keepends=True)


@pytest.mark.parametrize("compress", [gzip.compress, zstd])
def test_truncated_and_damaged_files(tmp_path, compress):
    whole = compress(TEXT)
    kind = "gz" if compress is gzip.compress else "zstd"
    (tmp_path / "a").write_bytes(whole[:-20])
    with pytest.raises(VariantFileError, match=rf"a: {kind} file is truncated\. Download or copy"):
        read(tmp_path / "a", VariantFileError)
    (tmp_path / "a").write_bytes(whole[:12] + bytes(50 * [255]) + whole[62:])
    with pytest.raises(IntervalError, match=rf"a: damaged {kind} file: .*\. Download or copy"):
        read(tmp_path / "a")


def test_missing_files(tmp_path):
    with pytest.raises(IntervalError, match=r"none: no such file$"):
        read(tmp_path / "none")
    with pytest.raises(IntervalError, match=r": this is a folder, not a file$"):
        read(tmp_path)


def test_few_blocks_are_in_memory():
    """A file that expands a thousandfold is decompressed in pieces."""
    raw = gzip.compress(bytes(50_000_000))
    sizes = [len(piece) for piece in decompressed(iter([raw]), "a", IntervalError)]
    assert (sum(sizes), max(sizes)) == (50_000_000, compression.BLOCK)
