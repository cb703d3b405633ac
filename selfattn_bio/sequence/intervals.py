"""Read intervals from BED, GFF and tables; find overlapping intervals, merge and count them.

Coordinates are 0-based half-open. Supports BED3 to BED12, narrowPeak, broadPeak, GFF3 and GTF,
plain or compressed, and tables with columns chrom, start and end. The package has its own parser
because those of pandas, pysam and gffutils give no line numbers, or guess. `Cover` holds the
intervals of several chromosomes. The other functions on intervals are for arrays of starts and ends
on one chromosome or in one sequence.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sized
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from selfattn_bio.arrays import Bools, Integers
from selfattn_bio.compression import lines_of, open_blocks
from selfattn_bio.errors import IntervalError
from selfattn_bio.files import BED_FILES, GFF_FILES, H5AD
from selfattn_bio.sequence.alphabet import control_in
from selfattn_bio.sequence.h5ad import numbers_of, region_lines

_fail = IntervalError.fail

LOCUS = ["chrom", "start", "end"]  # columns of an interval, 0-based half-open
# fields by the usual names of their columns, without "#" and in lower case, most likely first
COORDINATE_NAMES = {
    **dict.fromkeys(("chrom", "chr", "chromosome", "seqnames", "seqname", "seqid"), "chrom"),
    **dict.fromkeys(("start", "chromstart", "chrom_start"), "start"),
    **dict.fromkeys(("end", "stop", "chromend", "chrom_end"), "end"),
    "strand": "strand",
}
FAR = 1 << 40  # bp between the starts of chromosomes that are placed one after the other
_NUMBER = re.compile(r"[0-9]{1,15}")
_STRANDS = {"+": "+", "-": "-", ".": ".", "?": ".", "*": "."}  # * is that of R's GRanges
_NOT_DATA = re.compile(r"#|track\b|browser\b")
_PEAK = 10  # columns of a narrowPeak file; the last one is the summit
_NAMES = (
    re.compile(r"""(?:^|;)\s*(?:Name|ID)=([^;]+)"""),
    re.compile(r"""(?:^|;)\s*(?:transcript_id|gene_id) "([^"]+)\""""),
)


class Interval(NamedTuple):
    """One interval.

    Attributes
    ----------
    start, end
        0-based half-open.
    strand
        "+", "-", or "." if not given.
    name
        The BED name, the attribute Name or ID of GFF3, or transcript_id or gene_id of GTF; empty if
        not given.
    score
        The BED or GFF score; NaN if not given.
    summit
        Position of the peak summit (narrowPeak), counted from `start`; -1 if not given.
    line
        Line number in the file, 1-based.
    """

    chrom: str
    start: int
    end: int
    strand: str
    name: str
    score: float
    summit: int
    line: int


def read_intervals(path: str | Path, feature: str = "") -> pd.DataFrame:
    """Read a BED or GFF file, plain, gz or bgzip, or a table; the file name determines the format.

    The GFF3 line `chr2L . exon 8 11 . - .` is the interval [7, 11) on the reverse strand.

    Parameters
    ----------
    path
        `.bed` (3 to 12 columns, the first six are read), `.narrowPeak` (or `.bed` with 10 columns,
        as distributed by ENCODE), `.broadPeak`, `.gff3`, `.gff` or `.gtf`, each optionally with
        `.gz` or `.bgz`; or `.h5ad` with regions as `var`. Any other name is that of a table with
        columns of chrom, start and end (0-based half-open) and perhaps strand, and name or id.
    feature
        Type of GFF lines to read, such as gene or exon. Optional if all lines have the same type.

    Returns
    -------
    One row per line, in order, with the columns of `Interval` and `path`.

    Raises
    ------
    IntervalError
        If the file is missing, unreadable, empty or of another format; if a line is malformed; if a
        GFF file has several types and `feature` is not given, or has none of type `feature`. Errors
        about a line give `path:line`.
    """
    path = Path(path)
    parse = gff_interval if path.name.lower().endswith(GFF_FILES) else bed_interval
    if feature and parse is not gff_interval:
        _fail(f"feature {feature!r} applies only to GFF and GTF files", str(path))
    rows: list[Interval] = []
    types: Counter[str] = Counter()
    for fields, number, place in data_lines(path, is_gff=parse is gff_interval):
        if parse is gff_interval:
            types[fields[2]] += 1
            if feature and fields[2] != feature:
                continue
        row = parse(fields, number, place)
        if found := control_in(f"{row.chrom}{row.name}"):
            _fail(f"{found} in the name of a chromosome or interval", place)
        rows.append(row)
    check_found(path, rows, types, feature)
    return pd.DataFrame(rows, columns=list(Interval._fields)).assign(path=str(path))


def data_lines(path: Path, *, is_gff: bool) -> Iterator[tuple[list[str], int, str]]:
    """Yield the columns, number and place (`path:line`) of each interval of a file.

    Raises
    ------
    IntervalError
        If the file cannot be read, or a line has another number of columns than the first one, or
        than GFF.
    """
    columns = 0
    for number, line in _bed_lines(path) if not is_gff else lines_of(path, IntervalError):
        if is_gff and line.startswith((">", "##FASTA")):
            break  # the rest of the file is sequences
        if not line.strip() or _NOT_DATA.match(line):
            continue
        fields = line.split("\t") if "\t" in line or is_gff else line.split()
        place = f"{path}:{number}"
        if columns and len(fields) != columns:
            _fail(f"line has {len(fields)} columns, but the first line has {columns}", place)
        columns = len(fields)
        if is_gff and columns != 9:
            _fail(f"GFF line has {columns} columns (expected 9, separated by tabs)", place)
        yield fields, number, place


def whole_number(text: str, what: str, place: str) -> int:
    """Convert digits to an integer; floats, signs and exponents raise `IntervalError`."""
    if not _NUMBER.fullmatch(text):
        hint = "Put # before a header line" if text.isalpha() else ""
        _fail(f"invalid {what} {text[:30]!r} (expected a whole number, 0 or more)", place, hint)
    return int(text)


def finite(text: str) -> float | None:
    """Return the number that a text is; None for other texts, nan and infinite values."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _bed_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the number and text of each line of a BED file, or what it is for another file."""
    name = path.name.lower()
    if name.endswith(BED_FILES):
        return lines_of(path, IntervalError)
    if name.endswith(H5AD):
        return region_lines(path)
    return ((line, "\t".join(cells)) for line, cells in bed_rows(interval_table(path)))


def bed_rows(table: pd.DataFrame) -> Iterator[tuple[int, list[str]]]:
    """Yield the index of each row of a table, and its first six columns of BED, without a score.

    Without a column name, the names are those of a column id.
    """
    table = table if "name" in table else table.rename(columns={"id": "name"})
    table = table.reindex(columns=[*LOCUS, "name", "score", "strand"]).assign(score=".")
    for row, *cells in table.astype(object).fillna(".").itertuples(name=None):
        yield row, [f"{cell:.15g}" if isinstance(cell, float) else str(cell) for cell in cells]


def interval_table(path: Path) -> pd.DataFrame:
    """Read a table of intervals as text, with the columns of `coordinates_in` under their fields.

    The index has the line of each interval, or its row in a Parquet file.
    """
    # these modules import this one
    from selfattn_bio.sequence.readers.table import rows_of
    from selfattn_bio.sequence.tables import check_names

    with open_blocks(path) as blocks:
        rows = rows_of(blocks)
        _, names = next(rows)
        found = coordinates_in(map(str, names))
        if not found.keys() >= {*LOCUS}:
            hint = "Give BED, narrowPeak, broadPeak, GFF3, GTF, or a table with chrom, start, end"
            _fail("unknown type of interval file", str(path), hint)
        cells = {line or row: cells for row, (line, cells) in enumerate(rows, start=1)}
    table = pd.DataFrame.from_dict(cells, "index", dtype="str", columns=names)
    table = table.rename(columns={name: field for field, name in found.items()})
    check_names(table.columns, str(path))
    return table


def coordinates_in(names: Iterable[str]) -> dict[str, str]:
    """Return the columns of coordinates with usual names, by field: `{"chrom": "Chr"}`."""
    usual = {name.strip().lstrip("#").lower(): name for name in names}
    likely = reversed(COORDINATE_NAMES.items())
    return {field: usual[name] for name, field in likely if name in usual}


def columns_of(path: str) -> pd.DataFrame:
    """Return the numbers of an AnnData file, or the other columns of a table of intervals as text.

    The index has the line of each interval.
    """
    if path.lower().endswith(H5AD):
        return numbers_of(path)
    return interval_table(Path(path)).drop(columns=[*LOCUS, "strand"], errors="ignore")


def bed_interval(fields: list[str], number: int, place: str) -> Interval:
    """Return the interval of a BED line."""
    if not 3 <= len(fields) <= 12:
        _fail(
            f"BED line has {len(fields)} columns (expected 3 to 12, separated by tabs or spaces)",
            place,
        )
    chrom, start, end, name, score, strand = [*fields, ".", ".", "."][:6]
    span = span_of(
        chrom, whole_number(start, "start", place), whole_number(end, "end", place), place
    )
    summit = _summit(fields[9], span, place) if len(fields) == _PEAK else -1
    named = "" if name == "." else name
    return Interval(*span, _strand(strand, place), named, _score(score, place), summit, number)


def gff_interval(fields: list[str], number: int, place: str) -> Interval:
    """Return the interval of a GFF line with these columns."""
    chrom, _, _, start, end, score, strand, _, attributes = fields
    first = whole_number(start, "start", place)
    if first < 1:
        _fail("start is 0, but GFF coordinates start at 1", place)
    span = span_of(chrom, first - 1, whole_number(end, "end", place), place)
    name = next(
        (found[1].strip() for pattern in _NAMES if (found := pattern.search(attributes))), ""
    )
    return Interval(*span, _strand(strand, place), name, _score(score, place), -1, number)


def span_of(chrom: str, start: int, end: int, place: str) -> tuple[str, int, int]:
    """Return the interval, or raise `IntervalError` if it is empty or has no chromosome."""
    if not chrom.strip():
        _fail("the chromosome name is empty", place)
    if start >= end:
        _fail(f"start is not before end in [{start}, {end}) (0-based half-open)", place)
    return chrom, start, end


def _strand(text: str, place: str) -> str:
    if text not in _STRANDS:
        _fail(f"invalid strand {text[:30]!r} (expected +, - or .)", place)
    return _STRANDS[text]


def _score(text: str, place: str) -> float:
    if text == ".":
        return math.nan
    score = finite(text)
    if score is None:
        _fail(f"invalid score {text[:30]!r} (expected a number or .)", place)
    return score


def _summit(text: str, span: tuple[str, int, int], place: str) -> int:
    if text == "-1":
        return -1
    summit = whole_number(text, "summit (column 10)", place)
    if summit >= span[2] - span[1]:
        _fail(
            f"summit {text} (column 10) is outside the peak, which is {span[2] - span[1]} bp long",
            place,
        )
    return summit


def check_found(path: Path, rows: Sized, types: Counter[str], feature: str) -> None:
    """Raise `IntervalError` if a file has no intervals, or lines of several types to choose from.

    Parameters
    ----------
    rows
        Those of the type `feature`, which may be empty, meaning any.
    types
        Numbers of lines by type.
    """
    found = ", ".join(f"{name} ({count})" for name, count in types.most_common(10))
    if feature and types and not rows:
        _fail(f"no lines of type {feature} (the file has {found})", str(path))
    if not rows:
        _fail("no intervals in the file", str(path))
    if not feature and len(types) > 1:
        message = f"the file has several types of lines: {found}"
        _fail(message, str(path), 'Choose one, e.g. feature = "gene"')


def run_numbers(starts: ArrayLike, ends: ArrayLike, gap: int = 0) -> Integers:
    """Number intervals so that those that overlap, also through others, share a number.

    Parameters
    ----------
    starts, ends
        Intervals in any order, shape (n,).
    gap
        Largest distance between two intervals of a run. With 0, intervals that touch share a
        number; with -1, intervals must have a common position.

    Returns
    -------
    Shape (n,): numbers from 0, in the order of the positions. [2, 5), [9, 12) and [4, 8) have the
    numbers 0, 1 and 0.
    """
    starts, ends = np.asarray(starts, np.int64), np.asarray(ends, np.int64)
    order = np.argsort(starts, kind="stable")
    furthest = np.maximum.accumulate(ends[order])
    numbers = np.empty(len(starts), np.int64)
    numbers[order[1:]] = np.cumsum(starts[order[1:]] > furthest[:-1] + gap)
    numbers[order[:1]] = 0
    return numbers


def merge_intervals(starts: ArrayLike, ends: ArrayLike) -> tuple[Integers, Integers]:
    """Merge intervals that overlap or touch, and return sorted starts and ends.

    [4, 9), [2, 5) and [9, 12) become [2, 12).
    """
    intervals = {"start": np.asarray(starts, np.int64), "end": np.asarray(ends, np.int64)}
    runs = pd.DataFrame(intervals).groupby(run_numbers(starts, ends))
    return runs["start"].min().to_numpy(), runs["end"].max().to_numpy()


def overlapping(starts: Integers, furthest: Integers, start: int, end: int) -> slice:
    """Return the range of sorted intervals that contains all that overlap [start, end).

    Parameters
    ----------
    starts
        Sorted starts, shape (n,).
    furthest
        Largest end of each interval and those before it, shape (n,). For disjoint intervals, these
        are the ends, and every interval of the range overlaps.
    """
    first = int(np.searchsorted(furthest, start, "right"))
    return slice(first, max(first, int(np.searchsorted(starts, end, "left"))))


def disjoint(groups: Iterable[int], starts: Iterable[int], ends: Iterable[int]) -> list[int]:
    """Return the rows of intervals that overlap no earlier row of the same group that is kept.

    [2, 6), [4, 8) and [7, 9) of one group are rows 0 and 2. Meant for short intervals, best first.
    """
    taken: defaultdict[int, set[int]] = defaultdict(set)
    kept = []
    for row, (group, start, end) in enumerate(zip(groups, starts, ends, strict=True)):
        positions = range(start, end)
        if taken[group].isdisjoint(positions):
            taken[group].update(positions)
            kept.append(row)
    return kept


def counts_before(mask: Bools) -> NDArray[np.int32]:
    """Return the number of True before each position, shape (L + 1,).

    The difference of two values is the number within a window.
    """
    return np.concatenate([np.zeros(1, np.int32), np.cumsum(mask, dtype=np.int32)])


class Cover:
    """The union of a set of intervals, by chromosome.

    With intervals [2, 5) and [4, 8) of chr1, `bases("chr1", [0, 6], [3, 9])` is 1 and 2.

    Parameters
    ----------
    intervals
        Table with chrom, start, end, in any order; intervals may overlap.

    Attributes
    ----------
    runs
        Sorted, disjoint starts and ends of the covered runs, by chromosome.
    """

    def __init__(self, intervals: pd.DataFrame) -> None:
        self.runs = {
            str(chrom): merge_intervals(rows["start"], rows["end"])
            for chrom, rows in intervals.groupby("chrom", sort=False)
        }

    def bases(self, chrom: str, start: Integers, end: Integers) -> Integers:
        """Count the covered bases of each window, shape (n,)."""
        if chrom not in self.runs:
            return np.zeros(len(start), np.int64)
        starts, ends = self.runs[chrom]
        before = np.concatenate([[0], np.cumsum(ends - starts)])

        def up_to(position: Integers) -> Integers:  # covered bases before each position
            run = np.searchsorted(starts, position, "right") - 1
            return np.where(run < 0, 0, before[run] + np.minimum(position, ends[run]) - starts[run])

        return up_to(np.asarray(end)) - up_to(np.asarray(start))

    def bases_of(self, windows: pd.DataFrame) -> Integers:
        """Count the covered bases of each row (chrom, start, end), shape (n,), in order."""
        found = np.zeros(len(windows), np.int64)
        for chrom, rows in windows.reset_index(drop=True).groupby("chrom", sort=False):
            found[rows.index] = self.bases(
                str(chrom), rows["start"].to_numpy(), rows["end"].to_numpy()
            )
        return found
