"""Score variants: how an allele of a VCF file, or each substitution in a region, changes the score.

Writes PREFIX.effects.tsv with one row per alternative allele: pos is 1-based as in the VCF, effect
is the logit with the alternative allele minus the logit with the reference. --vcf also writes
PREFIX.annotated.vcf.gz, the same lines with SAB_EFFECT and other fields in INFO. --region also
writes PREFIX.saturation.svg.

All windows have the same length: a deletion brings in more bases on the right, an insertion pushes
some out. Lines whose REF differs from the genome are not scored; if their fraction is above
--mismatches, the file is refused. Files with symbolic alleles or breakends are refused as well. A
region that fits into the window is scored in one window around its middle. In a longer region, each
position has a window around it.

example: selfattn-bio variants --model results/promoter/model --genome dm3.fa --vcf my.vcf.gz --rc \
--output my
"""

from __future__ import annotations

import argparse
from pathlib import Path

from selfattn_bio.cli.common import add_models
from selfattn_bio.errors import ArgumentError
from selfattn_bio.log import LOG


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio variants`."""
    add_models(parser)
    parser.add_argument(
        "--genome",
        required=True,
        type=Path,
        metavar="FASTA",
        help="genome of the variants, plain or bgzip",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--vcf",
        type=Path,
        metavar="FILE",
        help="variants to score; plain, gz or bgzip, sorted or not",
    )
    what.add_argument(
        "--region",
        metavar="CHROM:FIRST-LAST",
        help="score all substitutions in this region, 1-based inclusive as in samtools",
    )
    parser.add_argument(
        "--output", required=True, type=Path, metavar="PREFIX", help="prefix of the file names"
    )
    parser.add_argument(
        "--rc", action="store_true", help="average both strands (default: forward strand)"
    )
    parser.add_argument(
        "--window",
        type=int,
        metavar="BP",
        help="window size (default: the length of the training records)",
    )
    parser.add_argument(
        "--placements",
        type=int,
        default=1,
        metavar="N",
        help="number of windows that are averaged per variant; the variant is in the middle half "
        "of each (default: %(default)s)",
    )
    parser.add_argument(
        "--prior",
        type=float,
        metavar="FRACTION",
        help="expected fraction of positive windows, for the probabilities (default: the fraction "
        "in the validation split)",
    )
    parser.add_argument(
        "--background",
        type=int,
        metavar="N",
        help="compare each allele of a VCF with N random substitutions in the same window, and "
        "write the percentile of the size of its effect; takes about N / 2 times as long "
        "(default: no comparison)",
    )
    parser.add_argument(
        "--mismatches",
        type=float,
        default=0.05,
        metavar="FRACTION",
        help="allowed fraction of lines whose REF differs from the genome (default: %(default)s)",
    )
    parser.add_argument(
        "--motifs",
        type=Path,
        metavar="FILE",
        help="MEME, JASPAR or TRANSFAC file; report gained and lost hits of its motifs",
    )


def run(arguments: argparse.Namespace) -> None:
    """Score the variants and write them, and report those without a score."""
    from selfattn_bio.evidence.variants import annotate_variants, score_substitutions
    from selfattn_bio.scoring.variants import VariantWindows

    model, genome, output = arguments.model, arguments.genome, arguments.output
    windows = VariantWindows(arguments.window, arguments.placements, arguments.rc)
    shared = {"prior": arguments.prior, "motifs": arguments.motifs, "windows": windows}
    if arguments.background is not None and arguments.background < 1:
        raise ArgumentError(f"--background is {arguments.background}; it must be at least 1")
    if arguments.vcf:
        annotate_variants(
            model,
            genome,
            arguments.vcf,
            output,
            mismatches=arguments.mismatches,
            background=arguments.background or 0,
            **shared,
        )
    elif arguments.background:
        raise ArgumentError(
            "--background is for --vcf",
            hint="With --region, compare the substitutions of the region with each other",
        )
    else:
        found = score_substitutions(model, genome, arguments.region, **shared)
        found.save(output)
        for line in found.lines:
            LOG.info(line)
    drawn = "annotated.vcf.gz" if arguments.vcf else "saturation.svg"
    LOG.info(f"wrote {output}.effects.tsv and {output}.{drawn}")
