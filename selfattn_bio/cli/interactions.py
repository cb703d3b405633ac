"""Find pairs of motifs that a model uses together, by replacing the letters of their sites.

Sites are hits of the --motifs in test positives, or in all test records for numbers, that the model
relies on (docs/interpretation_evidence.md). If there are many pairs of motifs, those with the
highest attention between their sites are tested. Motifs from a folder of `motifs` are paired with
motifs of the same output (class, label or column). Those from a MEME file are tested for the
outputs in [interpret] targets, by default the first four. Models with two inputs are not supported.

Writes one row per tested pair: epistasis in the unit of the output with tests against random
positions at the same distance and against that expected from the effects of both motifs, preferred
spacing and orientation, the attention between the sites, and a verdict.
docs/interpretation_interactions.md explains each column. A second file, OUTPUT with the ending
.distances.tsv, has the epistasis of each pair alone in shuffled records, by distance. If no pair is
found, the files have only the header.

example: selfattn-bio interactions --run-file my.toml --corpus corpus --split split.tsv --model \
model --motifs results --output pairs.tsv
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from selfattn_bio.cli.common import add_task, task_and_corpus
from selfattn_bio.log import LOG


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio interactions`."""
    add_task(parser, "[interpret]", "model", "corpus", "split")
    parser.add_argument(
        "--motifs",
        required=True,
        type=Path,
        metavar="PATH",
        help="motifs to pair: the folder that `motifs` wrote, or a MEME file",
    )
    parser.add_argument("--output", required=True, type=Path, metavar="FILE", help="TSV to write")


def run(arguments: argparse.Namespace) -> None:
    """Find sites in the test positives, test the pairs of motifs, and write the table."""
    from selfattn_bio.api.interactions import find_interactions

    start = time.monotonic()
    task, corpus = task_and_corpus(arguments)
    interactions = find_interactions(
        task, corpus, arguments.split, arguments.model, arguments.motifs
    )
    interactions.save(arguments.output)
    for line in interactions.lines:
        LOG.info(line)
    LOG.info(f"wrote {arguments.output} in {time.monotonic() - start:.0f} s")
