"""Write the run file of a new task, workflows/tasks/NAME.toml, fitted to its data and with a comment on each choice.

Reads the sequences once and recognises the task from them: two classes (files of positives and negatives, or a column of two values),
several classes, numbers, or one label per residue. A column of the split (train, valid, test) or separate files for it are used. The
command prints what it recognised; the run file is checked before it is written, and is yours to edit.

One table is enough: --sequences table.csv. Peaks need their genome: --positives peaks.bed --genome genome.fa. Negatives may be made:
--negatives shuffled, or with a genome also matched (the default there) and neighbours.

example: selfattn-bio init my_task --positives a.fa --negatives b.fa
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from selfattn_bio.errors import OutputError, RunFileError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `selfattn-bio init`."""
    parser.add_argument("name", help="of the task: letters, digits, _ and -")
    classes = parser.add_argument_group("two classes")
    classes.add_argument("--positives", nargs="+", metavar="FILE", help="sequences of label 1: FASTA, tables, BED and more (docs/data.md)")
    classes.add_argument(
        "--negatives", nargs="+", metavar="FILE", help="sequences of label 0, or how to make them: shuffled, matched, neighbours"
    )
    classes.add_argument("--genome", metavar="FASTA", help="genome that files of intervals refer to")
    classes.add_argument("--feature", metavar="TYPE", help="type of the lines of GFF and GTF files that are used, such as gene")
    tables = parser.add_argument_group("tables")
    tables.add_argument(
        "--sequences", nargs="+", metavar="FILE", help="tables with columns of sequences and to learn, or a folder of train.* and test.*"
    )
    for split, what in (("train", "training"), ("valid", "validation"), ("test", "test")):
        tables.add_argument(f"--{split}", nargs="+", metavar="FILE", help=f"{what} sequences, where the splits are separate files")
    tables.add_argument("--targets", metavar="FILE", help="table with a column id and the columns to learn, for --sequences without them")
    tables.add_argument("--column", nargs="+", metavar="NAME", help="column to learn, or several of one kind (default: the obvious one)")
    tables.add_argument("--sequence-column", metavar="NAME", help="column of the sequences (default: the obvious one)")
    tables.add_argument("--split-column", metavar="NAME", help="column of the split (default: one with values such as train and test)")
    parser.add_argument(
        "--organism", metavar="GROUP", help="of known motifs: vertebrates (default), insects, plants, fungi, nematodes or bacteria"
    )


def run(arguments: argparse.Namespace) -> None:
    """Read the data, write the run file, print what was recognised."""
    from selfattn_bio.cli.proposal import Request, propose, read_contents
    from selfattn_bio.config import run_file_of
    from selfattn_bio.files import whole_file

    if not re.fullmatch(r"[A-Za-z0-9_-]+", arguments.name):
        raise RunFileError(f"task name {arguments.name!r} may only have letters, digits, _ and -")
    path = Path("workflows/tasks") / f"{arguments.name}.toml"
    if path.exists():
        raise OutputError("run file exists already", place=str(path), cure="Edit it, remove it, or choose another name")
    request = Request.of(arguments)
    proposal = propose(request, read_contents(request))
    run_file_of(proposal.text, path)
    with whole_file(path) as temporary:
        temporary.write_text(proposal.text, encoding="utf-8")
    for line in proposal.messages:
        print(f"init: {line}")
    print(f"init: wrote {path}. Look it through, then: selfattn-bio run train_{arguments.name}")
