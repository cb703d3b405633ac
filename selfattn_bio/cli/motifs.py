"""Find motifs in the attributions of train and valid, and test the evidence on test records.

Seqlets are grouped into motifs by the [interpret] caller (modisco, or clusters for proteins). DNA
motifs are compared with the [interpret] database by Tomtom. On test records, the hits of each motif
are tested for enrichment in positives, for their effect on the model when their bases are shuffled,
and more (docs/interpretation_evidence.md).

Writes to OUTPUT: motifs.meme, motifs.tsv, seqlets.bed (hits in test positives that the model relies
on), marginals.tsv (effects of the motifs alone in shuffled negatives, by position and strand),
discovery_seqlets.bed (the seqlets from which motifs were built) and logos/. If no motif is found,
these files have no rows. For a model with two inputs, the motifs are those of the first input; for
the second, name the folder partner in the attribution folder.

example: selfattn-bio motifs --run-file mine.toml --corpus corpus --split split.tsv --model model \
--attribution attribution --output motifs
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from selfattn_bio.cli.common import add_task, task_and_corpus
from selfattn_bio.log import LOG


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio motifs`."""
    add_task(parser, "[interpret]", "model", "corpus", "split")
    parser.add_argument(
        "--attribution",
        required=True,
        type=Path,
        metavar="DIR",
        help="attribution folder, from `explain`; for motifs of a second input, its folder partner",
    )
    parser.add_argument(
        "--output",
        required=True,
        type=Path,
        metavar="DIR",
        help="folder for all output files",
    )


def run(arguments: argparse.Namespace) -> None:
    """Find motifs in the attribution folder, test the evidence, and write all files of OUTPUT."""
    from selfattn_bio.api.motifs import find_motifs
    from selfattn_bio.report.lines import motif_lines

    start = time.monotonic()
    task, corpus = task_and_corpus(arguments)
    motifs = find_motifs(task, corpus, arguments.split, arguments.model, arguments.attribution)
    motifs.save(arguments.output)
    for line in motif_lines(motifs.table):
        LOG.info(line)
    LOG.info(f"wrote {arguments.output / 'motifs.tsv'} in {time.monotonic() - start:.0f} s")
