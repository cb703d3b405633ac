"""Find motif hits in FASTA files with FIMO, on both strands of DNA.

The output has one row per hit. Its suffix chooses the format: .bed (BED6 with score = -10 log10 p,
and p as a seventh column), or .tsv or .parquet with the same columns and a header.
Coordinates are 0-based half-open. They are genomic if headers contain `chrom=`, `start=` and
`end=`, and otherwise positions in the record, under its id.

example: selfattn-bio hits --motifs results/promoter/motifs.meme --fasta new.fa --output hits.bed
"""

from __future__ import annotations

import argparse
from pathlib import Path

from selfattn_bio.display import counted
from selfattn_bio.log import LOG


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio hits`."""
    motifs_help = (
        "MEME, JASPAR or TRANSFAC file, plain or gz, or a database that ships, such as "
        "jaspar:insects"
    )
    parser.add_argument("--motifs", required=True, metavar="FILE", help=motifs_help)
    parser.add_argument(
        "--fasta",
        required=True,
        type=Path,
        nargs="+",
        metavar="FILE",
        help="sequences, plain, gz or bgzip",
    )
    parser.add_argument(
        "--alphabet",
        choices=("dna", "protein"),
        default="dna",
        help="alphabet of motifs and sequences (default: %(default)s)",
    )
    parser.add_argument(
        "--hit-p",
        type=float,
        default=2.5e-4,
        metavar="P",
        help="a match with p below P is a hit (default: %(default)s)",
    )
    parser.add_argument(
        "--output", required=True, type=Path, metavar="FILE", help=".bed, .tsv or .parquet to write"
    )


def run(arguments: argparse.Namespace) -> None:
    """Scan all files and write one table."""
    from selfattn_bio.evidence.scanning import scan_files

    found = scan_files(
        arguments.motifs,
        arguments.fasta,
        arguments.output,
        hit_p=arguments.hit_p,
        alphabet=arguments.alphabet,
    )
    number = found["name"].nunique()
    LOG.info(
        f"wrote {counted(len(found), 'hit')} of {counted(number, 'motif')} to {arguments.output}"
    )
