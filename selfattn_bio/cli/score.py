"""Score sequences or genomic intervals with a trained model.

Writes a table with one row per sequence. For two classes the columns are logit, probability and
predicted, the label at the threshold fitted on the validation records. Several models are averaged,
and the column `spread` is their standard deviation. Intervals (--bed) have the same ids as in a
corpus, and their chrom, start, end, strand and name. `out_of_distribution` marks sequences that
differ from the training data. With --coverage 0.9 the column `set` contains the true label for nine
of ten records, provided that they are like the validation records.

Files of any size are scored in parts, so memory is needed only for a few thousand sequences. The
output file appears when it is complete. Models with one label per position, or with bins, score
sequences of any length in overlapping tiles; a message reports if this differs from a single pass.
Masked and causal language models are refused, because they do not score a sequence.

example: selfattn-bio score --model results/promoter/model --fasta new.fa --output scores.tsv
"""

from __future__ import annotations

import argparse
from pathlib import Path

from selfattn_bio.cli.common import add_models
from selfattn_bio.errors import SelfAttnBioError
from selfattn_bio.log import LOG


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio score`."""
    add_models(parser)
    inputs = parser.add_mutually_exclusive_group(required=True)
    inputs.add_argument(
        "--fasta",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="sequences: FASTA, or another format that `ingest` accepts",
    )
    inputs.add_argument(
        "--bed", type=Path, nargs="+", metavar="FILE", help="BED files of intervals in --genome"
    )
    parser.add_argument(
        "--genome",
        type=Path,
        metavar="FILE",
        help="genome of --bed, plain or bgzip; minus strands are reverse-complemented",
    )
    parser.add_argument(
        "--partner",
        type=Path,
        metavar="FILE",
        help="second input of the model: sequences with the same ids, or the values of a track",
    )
    parser.add_argument("--rc", action="store_true", help="average both strands")
    parser.add_argument(
        "--coverage",
        type=float,
        metavar="C",
        help="add prediction sets with this coverage, such as 0.9",
    )
    parser.add_argument("--output", required=True, type=Path, metavar="FILE", help=".tsv to write")


def run(arguments: argparse.Namespace) -> None:
    """Score the files, and write one table with the column `file` in front."""
    from selfattn_bio.scoring.table import score_files

    if bool(arguments.bed) != bool(arguments.genome):
        raise SelfAttnBioError(
            "--bed needs --genome" if arguments.bed else "--genome is only used with --bed"
        )
    summary = score_files(
        arguments.model,
        arguments.fasta or arguments.bed,
        arguments.output,
        rc=arguments.rc,
        coverage=arguments.coverage,
        genome=arguments.genome,
        partner=arguments.partner,
    )
    for line in summary.lines:
        LOG.info(line)
