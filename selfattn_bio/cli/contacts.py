"""Predict which residues of a protein are in contact: one map per sequence, from attention.

The attention weights of each head are made symmetric and corrected for the averages of rows and
columns (average-product correction).

With --contacts, a table `id, i, j` (0-based residues) of two or more of the sequences, a logistic
regression over heads is fitted to the known contacts. Each of these sequences is predicted by a
regression fitted to the others, and the precision of its L best pairs (P@L) is printed by range.
Keep only one protein per family, because relatives share their contacts. Without --contacts, a map
is the mean over heads, not a probability.

Writes PREFIX.contacts.npz (ids, and one map per sequence), PREFIX.contacts.tsv (the L best pairs of
each) and, with --contacts, PREFIX.precision.tsv.

example: selfattn-bio contacts --model protein/model --fasta proteins.fa --contacts known.tsv \
--output proteins
"""

from __future__ import annotations

import argparse
from pathlib import Path

from selfattn_bio.files import check_not_input
from selfattn_bio.log import LOG


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio contacts`."""
    parser.add_argument(
        "--model",
        required=True,
        metavar="DIR",
        help="model folder, trained with [tokens] k = 1",
    )
    parser.add_argument(
        "--fasta",
        required=True,
        type=Path,
        metavar="FILE",
        help="protein sequences with unique ids",
    )
    parser.add_argument(
        "--contacts", type=Path, metavar="TSV", help="known contacts: id, i, j (0-based residues)"
    )
    parser.add_argument(
        "--output", required=True, type=Path, metavar="PREFIX", help="prefix of the file names"
    )


def run(arguments: argparse.Namespace) -> None:
    """Predict contact maps; write maps, best pairs and, with known contacts, the precision."""
    from selfattn_bio.attribution.contacts import find_contacts

    check_not_input(f"{arguments.output}.contacts.tsv", arguments.contacts, arguments.fasta)
    contacts = find_contacts(arguments.model, arguments.fasta, arguments.contacts)
    contacts.save(arguments.output)
    for line in contacts.lines:
        LOG.info(line)
    LOG.info(f"wrote {arguments.output}.contacts.npz and .tsv")
