"""Score variants: how an allele of a VCF file, or each substitution in a region, changes the score.

Writes PREFIX.effects.tsv with one row per alternative allele: pos is 1-based as in the VCF, effect
is the logit with the alternative allele minus the logit with the reference. --vcf also writes
PREFIX.annotated.vcf.gz, the same lines with SAB_EFFECT and other fields in INFO. --region also
writes PREFIX.saturation.svg. A model that is not binary has the columns ref_OUTPUT, alt_OUTPUT and
effect_OUTPUT and the field SAB_EFFECT_OUTPUT for each class, label or column, and one plot of each.

All windows have the same length: a deletion brings in more bases on the right, an insertion pushes
some out. Lines whose REF differs from the genome are not scored; if they are more than 5 %, the
file is refused. Files with symbolic alleles or breakends are refused as well. A
region that fits into the window is scored in one window around its middle. In a longer region, each
position has a window around it.

example: selfattn-bio variants --model results/promoter/model --genome dm3.fa --vcf my.vcf.gz --rc \
--output my
"""

from __future__ import annotations

import argparse
from pathlib import Path

from selfattn_bio.cli.common import add_models
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
        "--motifs",
        type=Path,
        metavar="FILE",
        help="MEME, JASPAR or TRANSFAC file; report gained and lost hits of its motifs",
    )


def run(arguments: argparse.Namespace) -> None:
    """Score the variants and write them, and report those without a score."""
    from selfattn_bio.evidence.variants import annotate_variants, score_substitutions
    from selfattn_bio.scoring.variants import VariantOptions

    model, genome, output = arguments.model, arguments.genome, arguments.output
    options = VariantOptions(rc=arguments.rc)
    if arguments.vcf:
        annotate_variants(
            model, genome, arguments.vcf, output, options=options, motifs=arguments.motifs
        )
        more = "annotated.vcf.gz"
    else:
        found = score_substitutions(
            model, genome, arguments.region, options=options, motifs=arguments.motifs
        )
        found.save(output)
        more = "saturation.svg" if len(found.units) == 1 else "saturation.*.svg"
        for line in found.lines:
            LOG.info(line)
    LOG.info(f"wrote {output}.effects.tsv and {output}.{more}")
