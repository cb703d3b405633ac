"""Read sequences into a corpus.

Accepts FASTA, FASTQ, GenBank, EMBL, CSV, TSV and Parquet, plain or compressed by gz, bgzip or zstd.
The content decides, not the file name; `-` is standard input. Every record is checked. The corpus
folder holds letters.bin (one byte per base or residue), records.parquet (id, label, interval,
length, sha256) and corpus.json (counts of read, changed and dropped records). targets.parquet is
added if there are targets to learn, masked.bin with --soft-mask keep.

If a model has two inputs, [partner] of the run file names the second one. Its corpus is in the
folder partner, and each record must have a second input.

With --run-file, [data] has all settings. It may also name BED, narrowPeak, GFF and GTF files of a
genome, negatives to generate, and bigWig or bedGraph files to learn from. The other options are for
data without a run file. Tables have a column sequence, and optionally id, chrom, start, end,
strand and group; their other columns are targets. FASTA headers may contain
`chrom= start= end= strand= group= species=`. Coordinates are 0-based half-open.

Accepted and counted: lower case, U in DNA, ambiguous bases, CRLF, a stop symbol at the end of a
protein. Dropped and counted: exact duplicates, records with only N (X), records outside the length
limits. Duplicates are kept if the split names its test records (docs/own_split.md) or with
--keep-duplicates. docs/data.md has an example of each format.

example: selfattn-bio ingest --sequences positives.fa negatives.csv --label 1 0 --alphabet dna \
--output mine/corpus
"""

from __future__ import annotations

import argparse
from pathlib import Path

import selfattn_bio as sb
from selfattn_bio.errors import SelfAttnBioError

OPTIONS = ("labels", "positive", "sequence_column", "header", "ids", "targets")  # of ingest_files
RULES = ("assembly", "min_length", "max_length", "soft_mask", "gaps")  # of RecordRules


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio ingest`."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--run-file", type=Path, metavar="FILE", help="run file of the task (uses [data])"
    )
    what.add_argument(
        "--sequences",
        "--fasta",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="files of sequences; - is standard input",
    )
    labels = parser.add_mutually_exclusive_group()
    labels.add_argument(
        "--label",
        dest="labels",
        nargs="+",
        type=int,
        choices=(0, 1),
        help="label of each file, in order (default: unlabelled)",
    )
    labels.add_argument(
        "--label-column",
        dest="labels",
        metavar="NAME",
        help="column or header attribute with the label of each record",
    )
    parser.add_argument(
        "--positive",
        nargs="+",
        default=[],
        metavar="TEXT",
        help="values that mean label 1; all others mean 0 (default: labels are 1 and 0)",
    )
    parser.add_argument(
        "--sequence-column",
        default="",
        metavar="NAME",
        help="column of the sequences in tables (default: sequence)",
    )
    parser.add_argument(
        "--ids",
        choices=("given", "numbered"),
        default="given",
        help="ids from the files, or numbered as FILE_1, FILE_2 ... (default: %(default)s)",
    )
    parser.add_argument(
        "--keep-duplicates",
        action="store_true",
        help="keep and count records with a repeated sequence",
    )
    parser.add_argument(
        "--header",
        default="",
        metavar="REGEX",
        help="regular expression for headers; its group is the label, and named groups are columns",
    )
    parser.add_argument("--alphabet", choices=("dna", "protein"), help="alphabet of the sequences")
    parser.add_argument(
        "--assembly", default="", metavar="NAME", help="genome assembly, such as dm3"
    )
    parser.add_argument(
        "--min-length",
        type=int,
        default=1,
        metavar="N",
        help="drop shorter records (default: %(default)s)",
    )
    parser.add_argument(
        "--max-length", type=int, metavar="N", help="drop longer records (default: keep all)"
    )
    parser.add_argument(
        "--soft-mask",
        choices=("ignore", "keep", "hard"),
        default="ignore",
        help="lower case: ignore it, keep it as a mask, or read it as N (default: %(default)s)",
    )
    parser.add_argument(
        "--gaps",
        choices=("refuse", "remove"),
        default="refuse",
        help="refuse or remove the gap characters - and . (default: %(default)s)",
    )
    parser.add_argument(
        "--targets",
        type=Path,
        metavar="FILE",
        help="table of targets with a column id and columns to learn",
    )
    parser.add_argument(
        "--output", required=True, type=Path, metavar="DIR", help="corpus folder to write"
    )


def run(arguments: argparse.Namespace) -> None:
    """Read the files into a corpus folder, and print the counts of records."""
    if arguments.run_file:
        sb.ingest(sb.read_run_file(arguments.run_file), arguments.output)
        return
    if arguments.alphabet is None:
        raise SelfAttnBioError("--sequences needs --alphabet, dna or protein")
    alphabet, given = sb.get_alphabet(arguments.alphabet), vars(arguments)
    rules = {name: given[name] for name in RULES}
    rules["repeats"] = "count" if arguments.keep_duplicates else "drop"
    options = {name: given[name] for name in OPTIONS}
    sb.ingest_files(
        arguments.sequences, arguments.output, sb.RecordRules(alphabet, **rules), **options
    )
