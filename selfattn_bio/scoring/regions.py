"""Parse genome regions, given as "chr2R:101-400" or as lines of a BED file.

Text is 1-based inclusive, as in samtools; `Region` and BED are 0-based half-open. Regions are
sorted, and those that touch are merged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from selfattn_bio.errors import GenomeError
from selfattn_bio.sequence.genome import Genome
from selfattn_bio.sequence.intervals import Cover, read_intervals
from selfattn_bio.sequence.windows import place


class Region(NamedTuple):
    """Interval [start, end) of a chromosome, 0-based half-open on the forward strand."""

    chrom: str
    start: int
    end: int


def parse_region(text: str, genome: Genome) -> Region:
    """Parse a region in a form of samtools: "chr2R:101-400", "chr2R:101" or "chr2R".

    Positions are 1-based, and the last one is included: "chr2R:101-400" has 300 bp and is
    `Region("chr2R", 100, 400)`. "chr2R:101" reaches the end of the chromosome. Commas in numbers
    are ignored.

    Raises
    ------
    GenomeError
        If the text has another form, the genome has no such chromosome, the region exceeds it, or
        its first position is after the last.
    """
    if text in genome.names or ":" not in text:
        chrom = genome.resolve(text)
        return Region(chrom, 0, genome.lengths[chrom])
    found = split_region(text)
    if found is None:
        raise GenomeError(
            f"cannot read region {text[:80]!r}; write CHROM:FIRST-LAST, 1-based inclusive as in "
            "samtools"
        )
    name, start, end = found
    chrom = genome.resolve(name)
    length = genome.lengths[chrom]
    end = length if end is None else end
    if start >= end:
        raise GenomeError(f"region {text}: the first position is after the last")
    if not 0 <= start < end <= length:
        message = f"region {text} is not within {chrom}:1-{length} (1-based, both ends included)"
        raise GenomeError(message, place=str(genome.path))
    return Region(chrom, start, end)


def split_region(text: str) -> tuple[str, int, int | None] | None:
    """Split "NAME:FIRST-LAST", 1-based inclusive, into the name and [start, end), 0-based.

    The end is None for "NAME:FIRST" and "NAME:FIRST-". The result is None if the text has another
    form.
    """
    found = re.fullmatch(r"(\S+):(\d[\d,]{0,30})(?:-(\d[\d,]{0,30})?)?", text)
    if found is None:
        return None
    name, first, last = found.groups("")
    end = int(last.replace(",", "")) if last else None
    return name, int(first.replace(",", "")) - 1, end


def read_regions(path: str | Path, genome: Genome) -> list[Region]:
    """Read regions from a BED file, sort them in the genome's order and merge them.

    Regions that touch or overlap become one. Other formats that `read_intervals` reads are accepted
    as well.

    Raises
    ------
    IntervalError
        If the file is missing, malformed or empty, or an interval is on an unknown chromosome or
        exceeds its end. The error names the file and line.
    """
    table = place(read_intervals(path), genome)
    return joined(
        map(Region, table["chrom"], table["start"].tolist(), table["end"].tolist()), genome
    )


def joined(regions: Iterable[Region], genome: Genome) -> list[Region]:
    """Sort regions in the genome's order and merge those that touch or overlap."""
    runs = Cover(pd.DataFrame(regions, columns=Region._fields)).runs
    return [
        Region(chrom, int(start), int(end))
        for chrom in genome.names
        if chrom in runs
        for start, end in zip(*runs[chrom], strict=True)
    ]
