"""Read FASTA files into a corpus.

Checks every record and writes a corpus folder: letters.bin (one byte a letter), records.parquet (id, label, place, length, sha256) and
corpus.json (what was read, dropped and noted); with --targets targets.parquet as well. Headers may carry
`chrom= start= end= strand= group=`; coordinates are 0-based half-open.
Read and counted: lower case, U in DNA, IUPAC codes, CRLF. Dropped and counted: exact duplicates, records with only N, records outside the
length limits.

example: selfattn-bio ingest --fasta positives.fa negatives.fa --label 1 0 --alphabet dna --output mine/corpus
"""

from __future__ import annotations

import argparse
from pathlib import Path

from selfattn_bio.errors import SelfAttnBioError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `selfattn-bio ingest`."""
    parser.add_argument("--fasta", required=True, nargs="+", type=Path, metavar="FILE", help="FASTA files, plain, gz or bgzip")
    parser.add_argument("--label", nargs="+", type=int, choices=(0, 1), help="label of each file, in order (default: unlabelled)")
    parser.add_argument("--alphabet", required=True, choices=("dna", "protein"), help="what the letters are")
    parser.add_argument("--assembly", default="", help="genome assembly of the coordinates, such as dm3")
    parser.add_argument(
        "--min-length", type=int, default=1, metavar="N", help="letters; shorter records are dropped (default: %(default)s)"
    )
    parser.add_argument("--max-length", type=int, metavar="N", help="letters; longer records are dropped (default: none is too long)")
    parser.add_argument(
        "--targets", type=Path, metavar="FILE", help="table (.tsv, .csv) of what is to be learnt: a column id, and any others"
    )
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="corpus folder to write")


def run(arguments: argparse.Namespace) -> None:
    """Read the FASTA files into a corpus folder and say what was read, noted and dropped."""
    from selfattn_bio.data.corpus import Rules, build_corpus, describe
    from selfattn_bio.sequence.alphabet import get_alphabet

    files, labels = arguments.fasta, arguments.label or [None] * len(arguments.fasta)
    if len(labels) != len(files):
        raise SelfAttnBioError(f"--label must be given once per FASTA file ({len(files)}), got {len(labels)}")
    shortest, longest = arguments.min_length, arguments.max_length
    if longest is not None and longest < shortest:
        raise SelfAttnBioError(f"--min-length must be <= --max-length ({longest}), got {shortest}")
    rules = Rules(get_alphabet(arguments.alphabet), arguments.assembly, shortest, longest)
    corpus = build_corpus(zip(files, labels, strict=True), arguments.output, rules, arguments.targets)
    for line in describe(corpus.summary):
        print(f"ingest: {line}", flush=True)
