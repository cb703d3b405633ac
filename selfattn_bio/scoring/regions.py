"""Stretches of a genome that a user names: "chr2R:100-400", or the lines of a BED file. 0-based half-open, as everywhere.

Hides: both syntaxes, and that regions are sorted and joined where they touch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from selfattn_bio.errors import GenomeError
from selfattn_bio.sequence.genome import Genome


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
    return _checked(Region(chrom, *(int(number.replace(",", "") or 0) for number in found.groups()[1:])), genome, "")


def read_regions(path: str | Path, genome: Genome) -> list[Region]:
    """The regions of a BED file, its first three columns, in the genome's order, joined where they touch or overlap.

    Raises
    ------
    GenomeError
        If the file is missing or holds no region, or a line has fewer than three columns, no numbers, an unknown chromosome
        or an end beyond it; the place is `path:line`.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no UTF-8 text"
        raise GenomeError(f"BED file must be readable text, got {reason}", place=str(path)) from error
    regions = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith(("#", "track", "browser")):
            continue
        place, fields = f"{path}:{number}", line.split("\t")
        if len(fields) < 3 or not all(re.fullmatch("[0-9]+", field.strip()) for field in fields[1:3]):
            raise GenomeError(f"a BED line must be chrom, start and end parted by tabs, got {line[:60]!r}", place=place)
        try:
            chrom = genome.resolve(fields[0])
        except GenomeError as error:
            raise GenomeError(error.message, place=place, cure=error.cure) from None
        regions.append(_checked(Region(chrom, int(fields[1]), int(fields[2])), genome, place))
    if not regions:
        raise GenomeError("BED file must hold a region, got none", place=str(path))
    return joined(regions, genome)


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


def _checked(region: Region, genome: Genome, place: str) -> Region:
    if not region.start < region.end <= genome.lengths[region.chrom]:
        rule = f"a region must have 0 <= start < end <= {genome.lengths[region.chrom]}, the length of {region.chrom}"
        raise GenomeError(f"{rule}, got {region.start}-{region.end}", place=place or str(genome.path))
    return region
