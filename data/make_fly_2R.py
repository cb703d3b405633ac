"""Make data/fly_2R/: chromosome arm 2R of Drosophila melanogaster (dm3) and its transcription starts, from two Debian files.

    apt-get download augustus-doc r-bioc-biostrings && for deb in *.deb; do dpkg-deb -x $deb debian; done
    python data/make_fly_2R.py debian/usr/share/doc/augustus/tutorial/data/chr2R.fa \\
        debian/usr/lib/R/site-library/Biostrings/extdata/dm3_upstream2000.fa.gz

The letters are those of the first file, packed as bgzip with its index. The starts are told from the headers of the second, of which
make_fly_promoters.py says more: each names the stretch in front of a start, which is the next letter in the gene's direction.
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
WIDTH, BIN = 32_768, 200  # letters
SIDES = ((0, 14_000_000, 8_000), (14_000_000, 16_500_000, WIDTH // BIN * BIN), (16_500_000, 21_146_708, WIDTH // BIN * BIN))


def read_starts(upstream: Path) -> list[tuple[int, str]]:
    """Distinct starts on 2R in order, (0-based letter, strand)."""
    return sorted({(each.last + (1 if each.strand == "+" else -1), each.strand) for each in read_upstream(upstream) if each.chrom == CHROM})


def windows() -> list[int]:
    """Where windows begin: on train every 8,000 letters, so that each start is seen beside others; on valid and test bin after bin once.

    The last one of a side may share bins with the one before.
    """
    found = []
    for first, end, step in SIDES:
        last = first + (end - WIDTH - first) // BIN * BIN
        found += [*range(first, last, step), last]
    return found


def main() -> None:
    """Read both sources, write genome, index and starts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chromosome", type=Path, help="chr2R.fa")
    parser.add_argument("upstream", type=Path, help="dm3_upstream2000.fa.gz")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "fly_2R", help="folder (default: %(default)s)")
    arguments = parser.parse_args()
    digest = hashlib.sha256(arguments.chromosome.read_bytes()).hexdigest()
    if digest != SOURCE_SHA256:
        sys.exit(f"{arguments.chromosome}: source must have sha256 {SOURCE_SHA256}, got {digest}. Get it as this script's first lines say")
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
