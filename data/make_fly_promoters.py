"""Make data/fly_promoters/: promoters of D. melanogaster (dm3) and distal upstream sequence.

    apt-get download r-bioc-biostrings && dpkg-deb -x r-bioc-biostrings_*.deb debian
    python data/make_fly_promoters.py \\
        debian/usr/lib/R/site-library/Biostrings/extdata/dm3_upstream2000.fa.gz

The source holds the 2,000 bp before every RefSeq transcription start, in the orientation of the
gene; its last base is position -1. The functions below say how the records are derived;
data/README.md has the counts. Only the standard library is needed. The same source gives the same
bytes (with zlib; zlib-ng compresses the same text to other bytes).
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import re
import sys
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SOURCE_SHA256 = "7cf1476e322376a700ad2e0e168d8f9fd86bac27ebb2cc2783020b318ce802ef"
ARMS = ("chr2L", "chr2R", "chr3L", "chr3R", "chr4", "chrX")
UPSTREAM = 2000
LENGTH = 300  # bp of a record
COLLAPSE = 500  # starts closer than this on one strand count once
CLEARANCE = 300  # bp between a negative and position -1 of any start


class Upstream(NamedTuple):
    """The sequence before one transcription start.

    `start` and `end` are 0-based half-open on the forward strand of `chrom`.
    """

    chrom: str
    start: int
    end: int
    strand: str
    name: str
    letters: str

    @property
    def last(self) -> int:
        """Return the 0-based coordinate of position -1."""
        return self.end - 1 if self.strand == "+" else self.start

    def record(self, kind: str) -> str:
        """Return the FASTA record next to the start ("promoter") or farthest from it ("distal")."""
        proximal = kind == "promoter"
        letters = self.letters[-LENGTH:] if proximal else self.letters[:LENGTH]
        start, end = self.window(proximal)
        return (
            f">{self.name}_{kind} chrom={self.chrom} start={start} end={end} "
            f"strand={self.strand}\n{letters}\n"
        )

    def window(self, proximal: bool) -> tuple[int, int]:
        """Return the proximal or distal window, 0-based half-open on the forward strand."""
        return (
            (self.end - LENGTH, self.end)
            if proximal == (self.strand == "+")
            else (self.start, self.start + LENGTH)
        )


def read_upstream(path: Path) -> list[Upstream]:
    """Read each distinct start of the source once, in genomic order.

    The first transcript of a start names it. All chromosomes and sequences with N are included.
    """
    source = path.read_bytes()
    digest = hashlib.sha256(source).hexdigest()
    if digest != SOURCE_SHA256:
        message = f"error: {path}: sha256 is {digest} (expected {SOURCE_SHA256})"
        sys.exit(f"{message}; --help shows how to get the file")
    seen: dict[tuple[str, int, str], Upstream] = {}
    for entry in gzip.decompress(source).decode("ascii").split(">")[1:]:
        header, _, body = entry.partition("\n")
        match = re.fullmatch(r"(\w+)_up_2000_(\w+?)_(-?\d+)_([fr]) \w+:-?\d+-(\d+)", header)
        assert match, header
        transcript, chrom, first, direction, end = match.groups()
        name = f"{transcript}_{chrom}_{first}_{direction}"
        strand = "+" if direction == "f" else "-"
        upstream = Upstream(
            chrom, int(first) - 1, int(end), strand, name, body.replace("\n", "").upper()
        )
        seen.setdefault((chrom, upstream.last, strand), upstream)
    return sorted(seen.values())


def collapse(starts: list[Upstream]) -> list[Upstream]:
    """Keep complete sequences without N on the chromosome arms, one per cluster of starts.

    A start less than `COLLAPSE` bp after the last one kept on its strand is dropped.
    """
    kept: list[Upstream] = []
    last: dict[tuple[str, str], int] = {}
    for upstream in starts:
        whole = len(upstream.letters) == UPSTREAM and "N" not in upstream.letters
        place = (upstream.chrom, upstream.strand)
        if (
            upstream.chrom in ARMS
            and whole
            and upstream.last - last.get(place, -COLLAPSE) >= COLLAPSE
        ):
            kept.append(upstream)
            last[place] = upstream.last
    return kept


def records(kept: list[Upstream], starts: list[Upstream]) -> tuple[list[str], list[str]]:
    """Return the FASTA records of positives and negatives.

    The first of several identical sequences is kept, with positives before negatives.
    """
    lasts = defaultdict(list)
    for upstream in starts:
        lasts[upstream.chrom].append(upstream.last)
    for places in lasts.values():
        places.sort()
    clear = [upstream for upstream in kept if _is_clear(upstream, lasts[upstream.chrom])]
    seen: set[str] = set()
    return list(_unseen((u.record("promoter") for u in kept), seen)), list(
        _unseen((u.record("distal") for u in clear), seen)
    )


def _is_clear(upstream: Upstream, lasts: list[int]) -> bool:
    start, end = upstream.window(proximal=False)
    return bisect_left(lasts, start - CLEARANCE) == bisect_left(lasts, end + CLEARANCE)


def _unseen(fasta: Iterator[str], seen: set[str]) -> Iterator[str]:
    for record in fasta:
        letters = record.partition("\n")[2]
        if letters not in seen:
            seen.add(letters)
            yield record


def write(path: Path, fasta: list[str]) -> None:
    """Write gzip without name or time in the header, so that the same text gives the same bytes."""
    path.write_bytes(gzip.compress("".join(fasta).encode("ascii"), compresslevel=9, mtime=0))
    print(f"{path}: {len(fasta)} records")


def main() -> None:
    """Read the source and write both files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, help="dm3_upstream2000.fa.gz")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(__file__).parent / "fly_promoters",
        help="folder (default: %(default)s)",
    )
    arguments = parser.parse_args()
    starts = read_upstream(arguments.source)
    kept = collapse(starts)
    positives, negatives = records(kept, starts)
    arguments.output.mkdir(parents=True, exist_ok=True)
    print(f"{len(starts)} distinct starts, {len(kept)} after the collapse")
    write(arguments.output / "positives.fa.gz", positives)
    write(arguments.output / "negatives.fa.gz", negatives)


if __name__ == "__main__":
    main()
