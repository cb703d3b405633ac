"""Count the cut sites of sequenced fragments at each base of a genome.

A cut site is the first base of a read on its strand: an insertion of the transposase (ATAC-seq) or
a cut of the nuclease (DNase-seq, MNase-seq). Lines may be in any order: their sites are kept in a
temporary folder, and memory holds those of one chromosome.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import numpy as np
import pandas as pd

from selfattn_bio.compression import lines_of
from selfattn_bio.errors import IntervalError
from selfattn_bio.sequence.bigwig import open_bigwig
from selfattn_bio.sequence.genome import Genome
from selfattn_bio.sequence.intervals import Interval, bed_interval
from selfattn_bio.sequence.windows import place

# bp added to sites of reads on + and -. 10x has shifted its fragments by 4 and -5.
SHIFTS = {".bed": (4, -4), ".bedpe": (4, -4), ".tsv": (0, 1)}
BLOCK = 1 << 18  # reads in memory, and bases written at a time


def count_cut_sites(
    files: Sequence[Path],
    genome: Genome,
    output: Path,
    shift: Sequence[int] | None = None,
    by_strand: bool = False,
) -> int:
    """Write the number of cut sites at each base as bigWig, 0 at bases without one.

    Parameters
    ----------
    files
        Plain, gz or zstd. Lines of `.bed` are reads if column 6 is + or -, otherwise fragments,
        which have a site at each end. Lines of `.bedpe` are two reads (10 columns, as of bedtools)
        or a fragment (3 columns). Lines of `.tsv` are fragments of 10x, each counted once.
    genome
        Its chromosome names may follow the other convention, such as I for chrI.
    output
        Prefix: writes PREFIX.bw, or PREFIX.plus.bw and PREFIX.minus.bw with `by_strand`.
    shift
        bp added to the sites of reads on + and -; None for `SHIFTS` of the format.

    Returns
    -------
    Number of sites. Those that the shift moves beyond an end of the chromosome do not count.

    Raises
    ------
    IntervalError
        If a line is malformed, its chromosome is not in the genome, it ends beyond it, or there is
        no site.
    """
    total, words = 0, {"+": ".plus", "-": ".minus"} if by_strand else {".": ""}
    with ExitStack() as stack:
        writers = {
            strand: stack.enter_context(open_bigwig(f"{output}{word}.bw", genome.lengths))
            for strand, word in words.items()
        }
        folder = Path(stack.enter_context(TemporaryDirectory(prefix=".", dir=output.parent)))
        for path in files:
            reads, far = _reads(path), 1 << 40  # beyond all chromosomes, and below an overflow
            plus, minus = (max(-far, min(each, far)) for each in shift or _shifts(path))
            while rows := list(islice(reads, BLOCK)):
                given = pd.DataFrame(rows).assign(path=str(path))
                placed = place(given, genome)
                sites = {"+": placed["start"] + plus, "-": placed["end"] - 1 + minus}
                for strand, of_strand in sites.items():
                    read = given["strand"].isin([strand, "."])
                    for chrom, each in of_strand[read].groupby(placed["chrom"]):
                        inside = each[each.between(0, genome.lengths[chrom] - 1)]
                        total += len(inside)
                        name = quote(chrom, "") + (strand if by_strand else ".")
                        with (folder / name).open("ab") as file:
                            file.write(inside.to_numpy(np.uint32).tobytes())
        if not total:
            hint = "Each has no lines, or the shift moves all sites off their chromosomes"
            raise IntervalError("no cut sites", place=", ".join(map(str, files)), hint=hint)
        for chrom, length in genome.lengths.items():
            for strand, write in writers.items():
                (kept := folder / f"{quote(chrom, '')}{strand}").touch()
                found = np.sort(np.fromfile(kept, np.uint32)).astype(np.int64)
                for start in range(0, length, BLOCK):
                    starts = np.arange(start, min(start + BLOCK, length))
                    first, last = np.searchsorted(found, [start, start + BLOCK])
                    counts = np.bincount(found[first:last] - start, minlength=len(starts))
                    write(chrom, starts, 1, counts.astype(np.float64))
    return total


def _reads(path: Path) -> Iterator[Interval]:
    """Yield each read; strand "." is a fragment."""
    for number, line in lines_of(path, IntervalError):
        fields, at = line.split(), f"{path}:{number}"
        if not fields or line.startswith(("#", "track", "browser")):
            continue
        reads = [fields]
        if ".bedpe" in path.suffixes and len(fields) > 3:
            if len(fields) < 10:
                message = f"BEDPE line has {len(fields)} columns (expected 3, or 10 or more)"
                raise IntervalError(message, place=at)
            reads = [[*fields[:3], *fields[6:9]], [*fields[3:8], fields[9]]]
        yield from (bed_interval(of, number, at) for of in reads if of[0] != ".")


def _shifts(path: Path) -> tuple[int, int]:
    """Return the shifts of a file's format."""
    for ending, shifts in SHIFTS.items():
        if ending in path.suffixes[-2:]:
            return shifts
    hint = "docs/data.md names the programs that convert BAM"
    raise IntervalError("unknown type (expected .bed, .bedpe or .tsv)", place=str(path), hint=hint)
