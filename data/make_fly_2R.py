"""Make data/fly_2R/: chromosome arm 2R of D. melanogaster (dm3) and its transcription starts.

    apt-get download augustus-doc r-bioc-biostrings
    for deb in *.deb; do dpkg-deb -x $deb debian; done
    python data/make_fly_2R.py debian/usr/share/doc/augustus/tutorial/data/chr2R.fa \\
        debian/usr/lib/R/site-library/Biostrings/extdata/dm3_upstream2000.fa.gz

The sequence is that of the first file, compressed as bgzip and indexed. The starts come from the
headers of the second file (see make_fly_promoters.py). Each header names the interval before a
start; the start is the next base in the direction of the gene.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

import pysam
from make_fly_promoters import read_upstream

SOURCE_SHA256 = "dcf0f58d162c93f8f629d2f55374e916015987092f0fefdd0bbeb03c3e854547"
CHROM = "chr2R"
WIDTH, BIN = 32_768, 200  # bp
SPLITS = (  # start, end and distance of windows: training, validation, test
    (0, 14_000_000, 8_000),
    (14_000_000, 16_500_000, WIDTH // BIN * BIN),
    (16_500_000, 21_146_708, WIDTH // BIN * BIN),
)


def read_starts(upstream: Path) -> list[tuple[int, str]]:
    """Return the distinct starts on 2R in order, as (0-based position, strand)."""
    return sorted(
        {
            (each.last + (1 if each.strand == "+" else -1), each.strand)
            for each in read_upstream(upstream)
            if each.chrom == CHROM
        }
    )


def windows() -> list[int]:
    """Return the starts of the windows.

    Training windows begin every 8,000 bp, so that each transcription start is seen in several
    contexts. Validation and test windows cover each bin once, except that the last window of a
    split may share bins with the one before.
    """
    found = []
    for first, end, step in SPLITS:
        last = first + (end - WIDTH - first) // BIN * BIN
        found += [*range(first, last, step), last]
    return found


def main() -> None:
    """Read both sources; write genome, index, starts and windows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("chromosome", type=Path, help="chr2R.fa")
    parser.add_argument("upstream", type=Path, help="dm3_upstream2000.fa.gz")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(__file__).parent / "fly_2R",
        help="folder (default: %(default)s)",
    )
    arguments = parser.parse_args()
    digest = hashlib.sha256(arguments.chromosome.read_bytes()).hexdigest()
    if digest != SOURCE_SHA256:
        message = f"{arguments.chromosome}: sha256 is {digest} (expected {SOURCE_SHA256})"
        sys.exit(f"error: {message}; --help shows how to get the file")
    arguments.output.mkdir(parents=True, exist_ok=True)
    packed = str(arguments.output / "chr2R.fa.gz")
    pysam.tabix_compress(str(arguments.chromosome), packed, force=True)
    pysam.faidx(packed)
    starts = read_starts(arguments.upstream)
    lines = [f"{CHROM}\t{start}\t{start + 1}\t.\t0\t{strand}\n" for start, strand in starts]
    (arguments.output / "tss.bed").write_text("".join(lines), encoding="ascii")
    lines = [f"{CHROM}\t{start}\t{start + WIDTH}\n" for start in windows()]
    (arguments.output / "windows.bed").write_text("".join(lines), encoding="ascii")
    print(f"{len(starts)} starts, {len(lines)} windows")


if __name__ == "__main__":
    main()
