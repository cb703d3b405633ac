"""Stretches of a genome that a user names: "chr2R:100-400", or the lines of a BED file. 0-based half-open, as everywhere.

Hides: the syntax of the first, and that regions are sorted and joined where they touch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from selfattn_bio.errors import GenomeError
from selfattn_bio.sequence.genome import Genome
from selfattn_bio.sequence.intervals import read_intervals
from selfattn_bio.sequence.windows import place


class Region(NamedTuple):
    """Letters [start, end) of a chromosome, 0-based half-open on the forward strand."""

    chrom: str
    start: int
    end: int


def parse_region(text: str, genome: Genome) -> Region:
    """ "chr2R:100-400", or "chr2R" for all of it; commas in numbers are passed over.

    Raises
    ------
    GenomeError
        If it is neither, the genome has no such chromosome, or it ends before that.
    """
    if text in genome.names:
        return Region(text, 0, genome.lengths[text])
    found = re.fullmatch(r"(\S+):([\d,]+)-([\d,]+)", text)
    if found is None:
        if ":" not in text:
            return Region(chrom := genome.resolve(text), 0, genome.lengths[chrom])
        raise GenomeError(f"region must be CHROM:START-END, 0-based half-open, got {text!r}")
    chrom = genome.resolve(found[1])
    region = Region(chrom, *(int(number.replace(",", "") or 0) for number in found.groups()[1:]))
    if not region.start < region.end <= genome.lengths[chrom]:
        rule = f"a region must have 0 <= start < end <= {genome.lengths[chrom]}, the length of {chrom}"
        raise GenomeError(f"{rule}, got {region.start}-{region.end}", place=str(genome.path))
    return region


def read_regions(path: str | Path, genome: Genome) -> list[Region]:
    """The regions of a BED file (or another that `read_intervals` reads), in the genome's order, joined where they touch or overlap.

    Raises
    ------
    IntervalError
        If the file is missing, malformed or holds no interval, or one is of an unknown chromosome or ends beyond it; the place is
        `path:line`.
    """
    table = place(read_intervals(path), genome)
    return joined(map(Region, table["chrom"], table["start"].tolist(), table["end"].tolist()), genome)


def joined(regions: Iterable[Region], genome: Genome) -> list[Region]:
    """In the genome's order, with those that touch or overlap made one."""
    order = {name: number for number, name in enumerate(genome.names)}
    result: list[Region] = []
    for region in sorted(regions, key=lambda region: (order[region.chrom], region.start)):
        if result and result[-1].chrom == region.chrom and region.start <= result[-1].end:
            result[-1] = result[-1]._replace(end=max(result[-1].end, region.end))
        else:
            result.append(region)
    return result
