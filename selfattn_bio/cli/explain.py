"""Score each position of records that show what a model recognises.

From the training and validation positives that the model calls positive, [interpret] max_sequences
are explained. They are chosen evenly from the most to the least confident, because the most
confident ones are similar and show one motif. If the model calls fewer, the positives with the next
highest scores are added, and their number is printed. If the model predicts a number, the records
with the highest and the lowest predictions are explained. Test records are reserved for the
evidence.

If the model has several classes, labels or columns, --target chooses those to explain, each on its
own records. By default these are [interpret] targets, or the first four.

Writes the attribution folder with the attribution of every base or residue at every position, by
[interpret] method. The default is the mean of AttnLRP over copies with some bases replaced at
random. For comparison it also holds the attention that each position receives, and the attention
map of each layer for the records in [interpret] maps. By default these are the explained records
with the highest, middle and lowest score. If the model has two inputs, the folder `partner` inside
holds the same for the second input, and there is no attention.

example: selfattn-bio explain mine
"""

from __future__ import annotations

import argparse

from selfattn_bio.cli.common import add_allow_module, add_study


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio explain`."""
    add_study(parser, "[interpret]", parts="/variants/NAME or /members/N")
    add_allow_module(parser)
    parser.add_argument(
        "--target",
        nargs="+",
        default=(),
        metavar="NAME",
        help="classes, labels or columns to explain (default: [interpret] targets, or the first "
        "four)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Explain training and validation records, and write the attribution folder."""
    from selfattn_bio.study import Study

    Study(arguments.study).explain(arguments.target)
