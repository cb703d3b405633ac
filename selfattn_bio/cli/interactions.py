"""Find pairs of motifs that a model uses together, by replacing the bases of their sites.

Sites are hits of the motifs in test positives, or in all test records for numbers, that the model
relies on (docs/interpretation_evidence.md). Motifs of the same output (class, label or column) are
paired. If there are many pairs, those with the highest attention between their sites are tested.

Writes interactions.tsv with one row per tested pair: epistasis in the unit of the output with tests
against random positions at the same distance and against that expected from the effects of both
motifs, preferred spacing and orientation, the attention between the sites, and a verdict.
docs/interpretation_interactions.md explains each column. interactions.distances.tsv has the
epistasis of each pair alone in shuffled records, by distance. If no pair is found, the files have
only the header.

example: selfattn-bio interactions mine
"""

from __future__ import annotations

import argparse

from selfattn_bio.cli.common import add_allow_module, add_study


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio interactions`."""
    add_study(parser, "[interpret]", parts="/variants/NAME or /members/N")
    add_allow_module(parser)


def run(arguments: argparse.Namespace) -> None:
    """Find sites in the test positives, test the pairs of motifs, and write the tables."""
    from selfattn_bio.study import Study

    Study(arguments.study).find_interactions()
