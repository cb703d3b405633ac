"""Read a number for each base of a genome from bigWig, bedGraph, BED or GFF files.

A track has a method `values(chrom, start, end)` that returns float32 of shape (end - start,), with
NaN where the file has no value. BED and GFF intervals become 1, other positions 0. bigWig files are
checked before pyBigWig reads them, because it crashes on some damaged files.
"""

from __future__ import annotations

import struct
import zlib
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import pandas as pd
import pyBigWig
from numpy.typing import NDArray

from selfattn_bio.arrays import Integers
from selfattn_bio.compression import check_file, lines_of
from selfattn_bio.errors import IntervalError
from selfattn_bio.files import INTERVAL_FILES
from selfattn_bio.sequence.genome import Genome, matching_name
from selfattn_bio.sequence.intervals import (
    Cover,
    overlapping,
    read_intervals,
    run_numbers,
    span_of,
    whole_number,
)

_fail = IntervalError.fail

Values = NDArray[np.float32]
Summary = Literal["mean", "max", "sum", "log_sum"]
_HEADER, _ZOOM, _TREE = struct.Struct("<IHHQQQ"), struct.Struct("<IIQQ"), struct.Struct("<IIIIQQ")
_BLOCK = 1 << 26  # bytes of a block at most
_GAP, _PIECE = 2_000, 2_000_000  # bp between windows that are read together, and bp read at once
_BIGWIG, _TREE_MAGIC, _NAMES_MAGIC = 0x888FFC26, 0x2468ACE0, 0x78CA8C91


class Track(Protocol):
    """Numbers along a genome.

    Attributes
    ----------
    names
        Chromosomes that have data.
    lengths
        Their lengths; empty if the file has none.
    """

    names: list[str]
    lengths: dict[str, int]

    def values(self, chrom: str, start: int, end: int) -> Values:
        """Return the number at each base, shape (end - start,), or NaN where there is none.

        If `chrom` is not in `names`, the values are those of a position without data.
        """


def read_track(path: str | Path, feature: str = "") -> Track:
    """Open a track file.

    bigWig (.bw, .bigWig) and bedGraph (.bedGraph, .bdg, .bg, also .gz) contain numbers. BED and GFF
    files give 1 inside intervals and 0 elsewhere.

    Parameters
    ----------
    path
        The file.
    feature
        Type of GFF lines to use; see `read_intervals`.

    Raises
    ------
    IntervalError
        If the file is missing, of another format, or malformed. For bedGraph, the error gives the
        line.
    """
    path = Path(path)
    name = path.name.lower().removesuffix(".gz").removesuffix(".bgz")
    if name.endswith((".bw", ".bigwig")):
        return BigWig(path)
    if name.endswith((".bedgraph", ".bdg", ".bg")):
        return read_bedgraph(path)
    if path.name.lower().endswith(INTERVAL_FILES):
        return covered(read_intervals(path, feature))
    _fail(
        "unknown type of track file (expected .bw, .bigWig, .bedGraph, .bdg, .bg, or BED or GFF)",
        path,
    )


class GenomeTrack:
    """A track with the chromosome names of a genome.

    Positions without data are `missing`, those beyond a chromosome are NaN.
    """

    def __init__(self, track: Track, genome: Genome, missing: float | None = None) -> None:
        self._names = {chrom: name for name in track.names if (chrom := genome.name_of(name))}
        self.names, self.lengths = list(self._names), genome.lengths
        self._track, self._missing = track, missing

    def values(self, chrom: str, start: int, end: int) -> Values:
        """Return the values of a window; see `Track`."""
        found = self._track.values(self._names.get(chrom, ""), start, end)
        if self._missing is not None:
            found[np.isnan(found)] = self._missing
        found[: max(-start, 0)] = found[max(self.lengths[chrom] - start, 0) :] = np.nan
        return found


def track_of(
    path: str, feature: str, genome: Genome, windows: pd.DataFrame, missing: float | None = None
) -> GenomeTrack:
    """Open a track file for the windows of a genome; see `read_track`.

    Raises
    ------
    IntervalError
        Also if the track and the genome have no chromosome in common, a chromosome of another
        length, or if a bigWig file has no chromosome of a window and `missing` is not given.
    """
    track = read_track(path, feature)
    found = GenomeTrack(track, genome, missing)
    if not found.names:
        _fail(
            f"the track ({', '.join(track.names[:5])}) has no chromosome of {genome.path} "
            f"({', '.join(genome.names[:5])})",
            path,
        )
    check_assembly(track, genome, path)
    absent = windows[~windows["chrom"].isin(found.names)]
    if track.lengths and missing is None and len(absent):
        row = absent.iloc[0]
        message = f"the track has no chromosome {row['chrom']!r} ({row['path']}:{row['line']})"
        _fail(message, path, "Remove its intervals, or set missing = 0 if it has no signal")
    return found


def check_assembly(track: Track, genome: Genome, path: str) -> None:
    """Refuse a track with a chromosome that has another length in the genome."""
    for name, length in track.lengths.items():
        chrom = genome.name_of(name)
        if chrom and length != genome.lengths[chrom]:
            of_genome = f"{genome.lengths[chrom]:,} bp in {genome.path}"
            text = f"{name} has {length:,} bp in the track, and {of_genome}"
            _fail(text, path, "Is it the same assembly?")


def values_of(track: Track, windows: pd.DataFrame) -> Iterator[tuple[int, Values]]:
    """Yield row and values of each window, on its strand, by chromosome from left to right.

    Windows that are near each other are read together, in pieces of at most 2 Mb and a window.

    Parameters
    ----------
    track
        The track. Chromosomes may have the other naming convention, such as 2L for chr2L.
    windows
        Columns chrom, start, end and strand.

    Returns
    -------
    Row numbers from 0, and float32 arrays of shape (end - start,), as of `Track.values`.
    """
    known = set(track.names)
    for chrom, rows in windows.reset_index(drop=True).groupby("chrom", sort=False):
        rows = rows.astype({"start": np.int64, "end": np.int64}).sort_values("start")
        runs = run_numbers(rows["start"], rows["end"], _GAP)
        for _, near in rows.groupby([runs, rows["start"].to_numpy() // _PIECE]):
            first, name = near["start"].iloc[0], matching_name(str(chrom), known) or str(chrom)
            piece = track.values(name, first, near["end"].max())
            for row, start, end, strand in near[["start", "end", "strand"]].itertuples(name=None):
                yield row, piece[start - first : end - first][:: -1 if strand == "-" else 1]


def binned(values: Values, width: int, summary: Summary) -> Values:
    """Summarise each bin of `width` values to one number, shape (L // width,).

    The number of values is a multiple of `width`. Missing values are ignored; a bin without any
    value is NaN.
    """
    rows, known = values.reshape(-1, width), ~np.isnan(values.reshape(-1, width))
    if summary == "max":
        found = np.where(known, rows, -np.inf).max(axis=1)
    else:
        found = np.where(known, rows, 0).sum(axis=1, dtype=np.float64)
        found = found / np.maximum(known.sum(axis=1), 1) if summary == "mean" else found
    if summary == "log_sum":
        found = np.log1p(found.clip(-0.5))  # negative sums stay negative
    return np.where(known.any(axis=1), found, np.nan).astype(np.float32)


def gini(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Gini index of each row of values (n, C): 0 if they are equal.

    Negative values count as 0, and a small number avoids rows of zeros, as in CREsted.
    """
    ranked = np.sort(values.clip(0) + 1e-7, axis=1)
    weights = 2 * np.arange(1, values.shape[1] + 1) - values.shape[1] - 1
    return ranked @ weights / (values.shape[1] * ranked.sum(axis=1))


class BigWig:
    """A bigWig file; values are read on request."""

    def __init__(self, path: Path) -> None:
        self.path = path
        check_file(path, IntervalError)
        try:
            _check_bigwig(path)
            self._file = pyBigWig.open(str(path))
            self.lengths: dict[str, int] = self._file.chroms()
        except (OSError, OverflowError, RuntimeError, ValueError, zlib.error) as error:
            message = f"damaged bigWig file: {str(error) or type(error).__name__}"
            _fail(message, path, "Download or copy it again")
        self.names = list(self.lengths)

    def values(self, chrom: str, start: int, end: int) -> Values:
        """Return the values of a window; see `Track`."""
        found = np.full(end - start, np.nan, np.float32)
        first, last = max(start, 0), min(end, self.lengths.get(chrom, 0))
        if first < last:
            try:
                found[first - start : last - start] = self._file.values(
                    chrom, first, last, numpy=True
                )
            except RuntimeError as error:
                message = f"damaged bigWig file: {error} at {chrom}:{first}-{last}"
                _fail(message, self.path, "Download or copy it again")
        return found


class IntervalTrack:
    """A track of intervals with one number each."""

    def __init__(
        self, rows: dict[str, tuple[Integers, Integers, Values]], elsewhere: float
    ) -> None:
        self.names, self._rows, self._elsewhere = list(rows), rows, elsewhere
        self.lengths: dict[str, int] = {}

    def values(self, chrom: str, start: int, end: int) -> Values:
        """Return the values of a window; see `Track`."""
        found = np.full(end - start, self._elsewhere, np.float32)
        if chrom in self._rows:
            starts, ends, values = self._rows[chrom]
            rows = overlapping(starts, ends, start, end)
            for first, last, value in zip(starts[rows], ends[rows], values[rows], strict=True):
                found[max(first - start, 0) : last - start] = value
        return found


def read_bedgraph(path: Path) -> IntervalTrack:
    """Read a bedGraph file into memory; see `read_track`."""
    rows: defaultdict[str, list[tuple[int, int, float, int]]] = defaultdict(list)
    for number, line in lines_of(path, IntervalError):
        if line.strip() and not line.startswith(("#", "track", "browser")):
            chrom, start, end, value = _bedgraph_row(line, f"{path}:{number}")
            rows[chrom].append((start, end, value, number))
    if not rows:
        _fail("no intervals in the file", path)
    return IntervalTrack(
        {chrom: _in_order(path, chrom, of_chrom) for chrom, of_chrom in rows.items()}, np.nan
    )


def covered(intervals: pd.DataFrame) -> IntervalTrack:
    """Return intervals as a track: 1 inside, 0 elsewhere."""
    runs = Cover(intervals).runs
    values = {
        chrom: (starts, ends, np.ones(len(starts), np.float32))
        for chrom, (starts, ends) in runs.items()
    }
    return IntervalTrack(values, 0)


def _bedgraph_row(line: str, place: str) -> tuple[str, int, int, float]:
    fields = line.split()
    if len(fields) != 4:
        message = f"bedGraph line has {len(fields)} columns (expected 4: chrom, start, end, value)"
        _fail(message, place)
    start, end = whole_number(fields[1], "start", place), whole_number(fields[2], "end", place)
    span = span_of(fields[0], start, end, place)
    try:
        value = float(fields[3])
    except ValueError:
        value = np.inf
    if np.isinf(value):
        _fail(f"invalid value {fields[3][:30]!r} (expected a finite number or nan)", place)
    return *span, value


def _in_order(
    path: Path, chrom: str, rows: list[tuple[int, int, float, int]]
) -> tuple[Integers, Integers, Values]:
    """Sort rows and return starts, ends and values; raise if rows overlap."""
    rows.sort()
    for before, row in pairwise(rows):
        if row[0] < before[1]:
            _fail(
                f"interval [{row[0]}, {row[1]}) of {chrom} overlaps [{before[0]}, {before[1]}) in "
                f"line {before[3]}",
                f"{path}:{row[3]}",
            )
    starts, ends, values, _ = zip(*rows, strict=True)
    return np.array(starts, np.int64), np.array(ends, np.int64), np.array(values, np.float32)


def _check_bigwig(path: Path) -> None:
    """Raise if sizes, offsets or chromosome numbers are impossible; pyBigWig would crash."""
    data = np.memmap(path, np.uint8, mode="r")

    def unpack(form: struct.Struct, at: int) -> tuple[int, ...]:
        if at + form.size > len(data):
            raise ValueError("unexpected end of file")
        return form.unpack(data[at : at + form.size].tobytes())

    def nodes_of(
        root: int, leaf_size: int, inner_size: int, child_at: int
    ) -> Iterator[tuple[bool, NDArray[np.uint8]]]:
        """Yield whether a node is a leaf, and its items; the child's offset is at `child_at`."""
        nodes, seen = [root], 0
        while nodes:
            at = nodes.pop()
            leaf, _, count = unpack(struct.Struct("<BBH"), at)
            size = leaf_size if leaf else inner_size
            if at + 4 + count * size > len(data) or (seen := seen + 1) > len(data):
                raise ValueError("unexpected end of file")
            items = data[at + 4 : at + 4 + count * size].reshape(count, size)
            if not leaf:
                nodes += items[:, child_at : child_at + 8].copy().view("<u8")[:, 0].tolist()
            yield bool(leaf), items

    magic, _, num_zooms, names_at, _, index_at = unpack(_HEADER, 0)
    if magic != _BIGWIG:
        raise ValueError("not in bigWig format")
    (unpacked,) = unpack(struct.Struct("<I"), 52)  # bytes of a block, 0 if not compressed
    magic, _, key_size, value_size, num_names, _ = unpack(struct.Struct("<IIIIQQ"), names_at)
    if magic != _NAMES_MAGIC or value_size != 8 or num_names * (key_size + 8) > len(data):
        raise ValueError("invalid list of chromosomes")
    numbers = [
        number
        for leaf, items in nodes_of(names_at + 32, key_size + 8, key_size + 8, key_size)
        if leaf
        for number in items[:, key_size : key_size + 4].copy().view("<u4")[:, 0].tolist()
    ]
    if sorted(numbers) != list(range(num_names)):
        raise ValueError("invalid list of chromosomes")
    for root in (index_at, *(unpack(_ZOOM, 64 + 24 * number)[3] for number in range(num_zooms))):
        if unpack(_TREE, root)[0] != _TREE_MAGIC:
            raise ValueError("invalid index")
        for leaf, items in nodes_of(root + 48, 32, 24, 16):
            offsets = items[:, 16:24].copy().view("<u8")[:, 0]
            sizes = items[:, 24:32].copy().view("<u8")[:, 0] if leaf else np.zeros_like(offsets)
            if any((each > len(data)).any() for each in (offsets, sizes, offsets + sizes)):
                raise ValueError("block beyond the end of the file")
            if leaf and len(items) and root == index_at:
                block = data[offsets[0] : offsets[0] + sizes[0]].tobytes()
                if unpacked:
                    block = zlib.decompressobj().decompress(block, _BLOCK)
                if not 24 <= len(block) <= (unpacked or len(block)) <= _BLOCK or len(block) != (
                    24 + (0, 12, 8, 4)[block[20] % 4] * int.from_bytes(block[22:24], "little")
                ):
                    raise ValueError("invalid block of values")
