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
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from selfattn_bio.errors import GenomeError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from selfattn_bio.scoring.origin import ModelOrigin
    from selfattn_bio.scoring.variants import VariantBatch, VariantWindows
    from selfattn_bio.sequence.genome import Genome
    from selfattn_bio.sequence.vcf import VcfVariant


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio variants`."""
    parser.add_argument(
        "--model",
        required=True,
        type=Path,
        nargs="+",
        metavar="DIR",
        help="model folder, or the name of a model that ships; several are averaged",
    )
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
        metavar="CHROM:START-END",
        help="score all substitutions in this region, 0-based half-open",
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
        "in the training set)",
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
    """Check the reference, score and write the variants, and report those without a score."""
    from selfattn_bio.motifs import read_motifs
    from selfattn_bio.scoring.annotated import VariantWriter
    from selfattn_bio.scoring.origin import origin_of
    from selfattn_bio.scoring.tracks import assembly_of
    from selfattn_bio.scoring.variants import (
        MEANING,
        VariantWindows,
        check_reference,
        scored,
        tally,
    )
    from selfattn_bio.sequence.genome import Genome
    from selfattn_bio.sequence.vcf import VcfFile

    genome, motifs = (
        Genome(arguments.genome),
        None if arguments.motifs is None else read_motifs(arguments.motifs),
    )
    source = None if arguments.vcf is None else VcfFile(arguments.vcf, genome)
    origin, windows = (
        origin_of(arguments.model),
        VariantWindows(arguments.window, arguments.placements, arguments.rc),
    )
    if doubt := origin.doubt(assembly_of(genome)):
        print(f"selfattn-bio variants: warning: {doubt}", file=sys.stderr, flush=True)
    if source is not None:
        lines, wrong, first = check_reference(source, arguments.mismatches)
        _say(
            f"{lines} line{'s' * (lines != 1)}"
            + (
                f", REF differs from the genome in {wrong}: {first}"
                if wrong
                else ", every REF agrees with the genome"
            )
        )
        variants = iter(source)
    else:
        variants, windows = _saturation(arguments.region, genome, origin, windows)
    counts, batches = Counter[str](), []
    with VariantWriter(arguments.output, source, " ".join(map(str, arguments.model))) as writer:
        for batch in scored(origin, genome, variants, windows, arguments.prior):
            writer.write(batch, None if motifs is None else _changes(motifs, batch))
            counts += tally(batch.table)
            if source is None:
                batches.append(batch.table)
        if not counts:  # only for a region; an empty VCF has been reported before
            message = "the region has no A, C, G or T that the model reads"
            raise GenomeError(message, place=f"{genome.path} {arguments.region}")
    for status, count in counts.items():
        _say(f"{count} allele{'s' * (count != 1)} {MEANING[status]}")
    if batches:
        _draw(batches, arguments.output)
    _say(
        f"wrote {arguments.output}.effects.tsv and "
        f"{arguments.output}.{'saturation.svg' if source is None else 'annotated.vcf.gz'}"
    )


def _saturation(
    text: str, genome: Genome, origin: ModelOrigin, windows: VariantWindows
) -> tuple[Iterator[VcfVariant], VariantWindows]:
    """Return the substitutions of a region, and where their windows are."""
    from dataclasses import replace

    from selfattn_bio.scoring.regions import parse_region
    from selfattn_bio.scoring.variants import substitutions

    region = parse_region(text, genome)
    length = region.end - region.start
    one = length <= origin.window(windows.window) and windows.placements == 1
    _say(
        f"{region.chrom} [{region.start}, {region.end}), 0-based half-open: {length} bp, "
        f"{'all in one window' if one else 'each in its own window'}"
    )
    return substitutions(genome.with_soft_mask(origin.scorer.policy.soft_mask), region), replace(
        windows, around=region.start + length // 2
    ) if one else windows


def _changes(motifs: dict[str, NDArray[np.float64]], batch: VariantBatch) -> pd.DataFrame:
    """Return motifs_lost and motifs_gained of a batch, in the first window of each allele.

    Alleles without a score have empty values.
    """
    from selfattn_bio.interpret.changes import changed_motifs

    known = [i for i, pair in enumerate(batch.pairs) if pair is not None]
    refs, alts = [], []
    for i, ref, alt in zip(
        known, batch.table["ref"].iloc[known], batch.table["alt"].iloc[known], strict=True
    ):
        pair = batch.pairs[i]
        assert pair is not None
        at = int(pair.positions[0])
        refs.append((pair.ref[0], at, at + len(ref)))
        alts.append((pair.alt[0], at, at + len(alt)))
    found = changed_motifs(motifs, refs, alts).set_axis(known)
    return found.reindex(range(len(batch.table)), fill_value="")


def _draw(tables: list[pd.DataFrame], prefix: Path) -> None:
    """Draw the effect of each substitution, and above it the mean loss at each position."""
    import pandas as pd
    from matplotlib.figure import Figure

    from selfattn_bio.files import whole_file
    from selfattn_bio.interpret.saturation import draw_saturation

    table = pd.concat(tables, ignore_index=True)
    figure = Figure(
        figsize=(min(40.0, 2 + 0.07 * table["pos"].nunique()), 3.2), layout="constrained"
    )
    draw_saturation(table, *figure.subplots(2, 1, sharex=True))
    with whole_file(f"{prefix}.saturation.svg") as path:
        figure.savefig(path, format="svg", metadata={"Date": None})


def _say(line: str) -> None:
    print(f"variants: {line}", flush=True)
