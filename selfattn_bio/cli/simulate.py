"""Simulate sequences with motifs planted at known positions, from a grammar.

Writes to OUTPUT the sequences (positives.fa.gz, negatives.fa.gz), each planted site (truth.tsv,
truth.bed), the kind of each record (records.tsv), the grammar (grammar.toml) and a run file for
training on them (task.toml). docs/motifs.md describes grammars. Paths in a grammar are relative to
the current folder.

example: selfattn-bio simulate grammar.toml --output made --seed 0
"""

from __future__ import annotations

import argparse
from pathlib import Path

from selfattn_bio.log import LOG


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio simulate`."""
    parser.add_argument("grammar", type=Path, metavar="GRAMMAR", help="TOML of the grammar")
    parser.add_argument(
        "--output",
        required=True,
        type=Path,
        metavar="DIR",
        help="folder to write; an earlier simulation in it is replaced",
    )
    parser.add_argument(
        "--seed", type=_seed, default=0, metavar="N", help="seed of the random numbers (default: 0)"
    )


def run(arguments: argparse.Namespace) -> None:
    """Read the grammar, sample the sequences and write them."""
    from selfattn_bio.interpret.simulation import check_output, read_grammar, simulate

    grammar = read_grammar(arguments.grammar)
    check_output(arguments.output)
    made = simulate(grammar, arguments.seed)
    made.save(arguments.output)
    LOG.info(f"wrote {made!r} to {arguments.output}")


def _seed(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer of 0 or more")
    return int(text)
