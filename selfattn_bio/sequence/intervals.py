"""Read BED and GFF files as a table of intervals with 0-based half-open coordinates.

Supports BED3 to BED12, narrowPeak, broadPeak, GFF3 and GTF, plain or compressed. The package has
its own parser because those of pandas, pysam and gffutils give no line numbers, or guess.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

import pandas as pd

from selfattn_bio.compression import open_uncompressed
from selfattn_bio.errors import IntervalError
from selfattn_bio.files import BED_FILES, INTERVAL_FILES
from selfattn_bio.sequence.alphabet import control_in

_NUMBER = re.compile(r"[0-9]{1,15}")
_STRANDS = {"+": "+", "-": "-", ".": ".", "?": "."}
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
    """Read a BED or GFF file, plain, gz or bgzip; the file name determines the format.

    The GFF3 line `chr2L . exon 8 11 . - .` is the interval [7, 11) on the reverse strand.

    Parameters
    ----------
    path
        `.bed` (3 to 12 columns, the first six are read), `.narrowPeak` (or `.bed` with 10 columns,
        as distributed by ENCODE), `.broadPeak`, `.gff3`, `.gff` or `.gtf`, each optionally with
        `.gz` or `.bgz`.
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
    parse = _parser(path)
    if feature and parse is not _gff:
        _fail(f"feature {feature!r} applies only to GFF and GTF files", str(path))
    rows: list[Interval] = []
    types: Counter[str] = Counter()
    columns = 0
    for number, line in lines_of(path):
        if parse is _gff and line.startswith((">", "##FASTA")):
            break  # the rest of the file is sequences
        if not line.strip() or _NOT_DATA.match(line):
            continue
        fields = line.split("\t") if "\t" in line or parse is _gff else line.split()
        place = f"{path}:{number}"
        if columns and len(fields) != columns:
            _fail(f"line has {len(fields)} columns, but the first line has {columns}", place)
        columns = len(fields)
        if parse is _gff:
            if len(fields) != 9:
                _fail(f"GFF line has {len(fields)} columns (expected 9, separated by tabs)", place)
            types[fields[2]] += 1
            if feature and fields[2] != feature:
                continue
        row = parse(fields, number, place)
        if found := control_in(f"{row.chrom}{row.name}"):
            _fail(f"{found} in the name of a chromosome or interval", place)
        rows.append(row)
    _check_found(path, rows, types, feature)
    return pd.DataFrame(rows, columns=list(Interval._fields)).assign(path=str(path))


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number (1-based) and text of each line of a file, without line end.

    The file may be compressed.

    Raises
    ------
    IntervalError
        If the file is missing, unreadable, damaged, or not text.
    """
    number = 0
    try:
        with open_uncompressed(path, IntervalError) as text:
            for number, raw in enumerate(text, start=1):
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                if "\0" in line:
                    _fail("binary data (expected text)", f"{path}:{number}")
                yield number, line
    except UnicodeDecodeError:
        _fail("binary data or not UTF-8 (expected UTF-8 text)", f"{path}:{number}")


def whole_number(text: str, what: str, place: str) -> int:
    """Convert digits to an integer; floats, signs and exponents raise `IntervalError`."""
    if not _NUMBER.fullmatch(text):
        hint = "Put # before a header line" if text.isalpha() else ""
        _fail(f"invalid {what} {text[:30]!r} (expected a whole number, 0 or more)", place, hint)
    return int(text)


def _fail(message: str, place: str, hint: str = "") -> NoReturn:
    raise IntervalError(message, place=place, hint=hint) from None


def _parser(path: Path) -> Callable[[list[str], int, str], Interval]:
    name = path.name.lower()
    if not name.endswith(INTERVAL_FILES):
        _fail(
            "unknown type of interval file (expected .bed, .narrowPeak, .broadPeak, .gff3, .gff or "
            ".gtf, also with .gz)",
            str(path),
        )
    return _bed if name.endswith(BED_FILES) else _gff


def _bed(fields: list[str], number: int, place: str) -> Interval:
    if not 3 <= len(fields) <= 12:
        _fail(
            f"BED line has {len(fields)} columns (expected 3 to 12, separated by tabs or spaces)",
            place,
        )
    chrom, start, end, name, score, strand = [*fields, ".", ".", "."][:6]
    span = _span(chrom, whole_number(start, "start", place), whole_number(end, "end", place), place)
    summit = _summit(fields[9], span, place) if len(fields) == _PEAK else -1
    return Interval(
        *span,
        _strand(strand, place),
        "" if name == "." else name,
        _score(score, place),
        summit,
        number,
    )


def _gff(fields: list[str], number: int, place: str) -> Interval:
    chrom, _, _, start, end, score, strand, _, attributes = fields
    first = whole_number(start, "start", place)
    if first < 1:
        _fail("start is 0, but GFF coordinates start at 1", place)
    span = _span(chrom, first - 1, whole_number(end, "end", place), place)
    name = next(
        (found[1].strip() for pattern in _NAMES if (found := pattern.search(attributes))), ""
    )
    return Interval(*span, _strand(strand, place), name, _score(score, place), -1, number)


def _span(chrom: str, start: int, end: int, place: str) -> tuple[str, int, int]:
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
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
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


def _check_found(path: Path, rows: list[Interval], types: Counter[str], feature: str) -> None:
    found = ", ".join(f"{name} ({count})" for name, count in types.most_common(10))
    if feature and types and not rows:
        _fail(f"no lines of type {feature!r} (the file has {found})", str(path))
    if not rows:
        _fail("no intervals in the file", str(path))
    if not feature and len(types) > 1:
        _fail(
            f"the file has several types of lines: {found}",
            str(path),
            'Choose one, e.g. feature = "gene"',
        )
