"""Read the sequences of a task into its corpus.

Accepts FASTA, FASTQ, GenBank, EMBL, CSV, TSV and Parquet, plain or compressed by gz, bgzip or zstd.
The content decides, not the file name. [data] may also name BED, narrowPeak, GFF and GTF files of a
genome, negatives to generate, and bigWig or bedGraph files to learn from. Every record is checked.
The corpus folder holds letters.bin (one byte per base or residue), records.parquet (id, label,
interval, length, sha256) and corpus.json (counts of read, changed and dropped records).
targets.parquet is added if there are targets to learn, masked.bin with soft_mask = "keep".

If a model has two inputs, [partner] of the run file names the second one. Its corpus is in the
folder partner, and each record must have a second input.

Tables have a column sequence, and optionally id, chrom, start, end, strand and group; their other
columns are targets. FASTA headers may contain `chrom= start= end= strand= group= species=`.
Coordinates are 0-based half-open.

Accepted and counted: lower case, U in DNA, ambiguous bases, CRLF, a stop symbol at the end of a
protein. Dropped and counted: exact duplicates, records with only N (X), records outside the length
limits. Duplicates are kept if the split names its test records (docs/own_split.md) or with
keep_duplicates. docs/data.md has an example of each format. Sequences without a run file become a
corpus with `ingest_files` in Python.

example: selfattn-bio ingest mine
"""

from __future__ import annotations

import argparse

from selfattn_bio.cli.common import add_study


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio ingest`."""
    add_study(parser, "[data] and [partner]")


def run(arguments: argparse.Namespace) -> None:
    """Read the files into the corpus folder, and print the counts of records."""
    from selfattn_bio.study import Study

    Study(arguments.study).ingest()
