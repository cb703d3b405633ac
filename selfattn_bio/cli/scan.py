"""Score windows along both strands of a genome: bigWig and BED peaks.

Writes PREFIX.ASSEMBLY.plus.bw and minus.bw with calibrated log-odds (0 is a probability of one
half). For each peak, peaks.bed has the window and summits.bed the position chosen by --anchor, both
as BED6 with score = probability x 1000. A peak is a window at or above --threshold with no better
one on its strand within a window. A model that reads both strands has one score per window: one
track, PREFIX.ASSEMBLY.bw, and peaks without a strand.

WITHOUT --prior the log-odds assume as many positives as in the validation split, on which they were
calibrated, and most peaks in a genome are false. Give the fraction of windows that you expect to be
positive with --prior. This is also right for models trained with class weights or balanced groups,
because the calibration corrects for both. Windows with more than half ambiguous bases, such as N,
have no score.

example: selfattn-bio scan --model results/promoter/model --genome dm3.fa --region chr2R --prior \
0.005 --anchor end --output promoters
"""

from __future__ import annotations

import argparse
from pathlib import Path

from selfattn_bio.cli.common import add_models


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio scan`."""
    add_models(parser)
    parser.add_argument(
        "--genome",
        required=True,
        type=Path,
        metavar="FASTA",
        help="genome, plain or bgzip; a missing index is written",
    )
    parser.add_argument(
        "--output", required=True, type=Path, metavar="PREFIX", help="prefix of the file names"
    )
    parser.add_argument(
        "--region",
        nargs="+",
        metavar="REGION",
        help="chromosomes, or CHROM:FIRST-LAST, 1-based inclusive as in samtools; or a BED file "
        "(default: all)",
    )
    parser.add_argument(
        "--prior",
        type=float,
        metavar="FRACTION",
        help="expected fraction of positive windows, such as 0.005; see above",
    )
    parser.add_argument(
        "--anchor",
        choices=("start", "centre", "end"),
        default="centre",
        help="position in the window that gets its score, in reading direction (default: "
        "%(default)s); use end for promoters that end at their transcription start",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="PROBABILITY",
        help="minimum probability of a peak (default: fitted on validation records, or 0.5 with "
        "--prior)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Scan the genome, and warn if the scores need care."""
    from selfattn_bio.scoring.tracks import Scan, score_genome

    score_genome(
        arguments.model,
        arguments.genome,
        arguments.output,
        regions=arguments.region,
        prior=arguments.prior,
        scan=Scan(anchor=arguments.anchor, threshold=arguments.threshold),
    )
