"""Write a run file for your data, workflows/tasks/NAME.toml, with a comment on each choice.

Reads the sequences and recognises the task from them: two classes (files of positives and
negatives, or a column of two values), several classes, numbers, or one label per residue. A column
with the split (train, valid, test) or separate files for it are used. The command prints what it
recognised. The run file is checked before it is written, and you can edit it.

One table is enough: --sequences table.csv. Peaks need their genome: --positives peaks.bed --genome
genome.fa. Negatives can be generated with --negatives shuffled and, if there is a genome, with
--negatives matched (the default) or --negatives neighbours.

example: selfattn-bio init my_task --positives a.fa --negatives b.fa
"""

from __future__ import annotations

import argparse
import logging
import re

from selfattn_bio.errors import RunFileError
from selfattn_bio.log import LOG

FILES = ("positives", "negatives", "sequences", "train", "valid", "test")
# of `propose`, by the same name
OPTIONS = ("targets", "sequence_column", "split_column", "genome", "feature", "organism")
NAMED = {name: f"--{name.replace('_', '-')}" for name in (*FILES, *OPTIONS)} | {
    "columns": "--column"
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio init`."""
    parser.add_argument("name", help="name of the task: letters, digits, _ and -")
    classes = parser.add_argument_group("two classes")
    classes.add_argument(
        "--positives",
        nargs="+",
        metavar="FILE",
        help="sequences of label 1: FASTA, tables, BED and more (docs/data.md)",
    )
    classes.add_argument(
        "--negatives",
        nargs="+",
        metavar="FILE",
        help="sequences of label 0, or how to generate them: shuffled, matched or neighbours",
    )
    classes.add_argument(
        "--genome", default="", metavar="FASTA", help="genome that files of intervals refer to"
    )
    classes.add_argument(
        "--feature",
        default="",
        metavar="TYPE",
        help="type of GFF and GTF lines to use, such as gene",
    )
    tables = parser.add_argument_group("tables")
    tables.add_argument(
        "--sequences",
        nargs="+",
        metavar="FILE",
        help="tables with sequences and columns to learn, or a folder with train.* and test.*",
    )
    for split, what in (("train", "training"), ("valid", "validation"), ("test", "test")):
        tables.add_argument(
            f"--{split}",
            nargs="+",
            metavar="FILE",
            help=f"{what} sequences, if the splits are separate files",
        )
    tables.add_argument(
        "--targets",
        default="",
        metavar="FILE",
        help="table with a column id and columns to learn, if --sequences has none",
    )
    tables.add_argument(
        "--column",
        default=[],
        nargs="+",
        metavar="NAME",
        help="column to learn, or several of one kind (default: the obvious one)",
    )
    tables.add_argument(
        "--sequence-column",
        default="",
        metavar="NAME",
        help="column of the sequences (default: the obvious one)",
    )
    tables.add_argument(
        "--split-column",
        default="",
        metavar="NAME",
        help="column of the split (default: one with values such as train and test); 'none' "
        "ignores such columns",
    )
    parser.add_argument(
        "--organism",
        default="",
        metavar="GROUP",
        help="group of known motifs: vertebrates (default), insects, plants, fungi, nematodes or "
        "bacteria",
    )


def run(arguments: argparse.Namespace) -> None:
    """Read the data, write the run file, and print what was recognised."""
    from selfattn_bio.wizard import check_new_task, propose

    check_new_task(arguments.name)
    LOG.addFilter(_name_options)
    try:
        proposal = propose(
            arguments.name,
            {name: getattr(arguments, name) or [] for name in FILES},
            columns=arguments.column,
            **{name: getattr(arguments, name) for name in OPTIONS},
        )
    except RunFileError as error:
        raise RunFileError(
            _with_options(error.message), place=error.place, hint=_with_options(error.hint)
        ) from error
    finally:
        LOG.removeFilter(_name_options)
    path = proposal.save()
    LOG.info(f"wrote {path}. Check it, then run: selfattn-bio run train_{arguments.name}")


def _name_options(record: logging.LogRecord) -> bool:
    """Name the options in a line that the package logs."""
    record.msg, record.args = _with_options(record.getMessage()), ()
    return True


def _with_options(text: str) -> str:
    """Replace the parameters of `propose`, which a message has in backquotes, by the options."""
    return re.sub("`([a-z_]+)`", lambda match: NAMED.get(match[1], match[0]), text)
