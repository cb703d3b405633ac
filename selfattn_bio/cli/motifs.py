"""Find motifs in the attributions of train and valid, and test the evidence on test records.

Seqlets are grouped into motifs by the [interpret] caller (modisco, or clusters for proteins). DNA
motifs are compared with the [interpret] database by Tomtom. On test records, the hits of each motif
are tested for enrichment in positives, for their effect on the model when their bases are shuffled,
and more (docs/interpretation_evidence.md).

Writes motifs.meme, motifs.tsv, seqlets.bed (hits in test positives that the model relies
on), marginals.tsv (effects of the motifs alone in shuffled negatives, by position and strand),
discovery_seqlets.bed (the seqlets from which motifs were built) and logos/. If no motif is found,
these files have no rows. With --input partner, motifs of the second of
two inputs are found, and the files are in the folder partner.

example: selfattn-bio motifs mine
"""

from __future__ import annotations

import argparse

from selfattn_bio.cli.common import add_allow_module, add_study


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio motifs`."""
    add_study(parser, "[interpret]", parts="/variants/NAME or /members/N")
    add_allow_module(parser)
    parser.add_argument(
        "--input",
        choices=("first", "partner"),
        default="first",
        help="which of two inputs (default: %(default)s)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Find motifs in the attributions, test the evidence, and write all files."""
    from selfattn_bio.study import Study

    Study(arguments.study).find_motifs(arguments.input)
