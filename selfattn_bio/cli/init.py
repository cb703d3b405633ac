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
import os
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from selfattn_bio.cli.schema import DIRECTIVE, FILE, write_schema
from selfattn_bio.errors import CorpusError, OutputError, RunFileError

if TYPE_CHECKING:
    from selfattn_bio.config import RunFile
    from selfattn_bio.training.recipes import Recipe


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
        "--genome", metavar="FASTA", help="genome that files of intervals refer to"
    )
    classes.add_argument(
        "--feature", metavar="TYPE", help="type of GFF and GTF lines to use, such as gene"
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
        metavar="FILE",
        help="table with a column id and columns to learn, if --sequences has none",
    )
    tables.add_argument(
        "--column",
        nargs="+",
        metavar="NAME",
        help="column to learn, or several of one kind (default: the obvious one)",
    )
    tables.add_argument(
        "--sequence-column",
        metavar="NAME",
        help="column of the sequences (default: the obvious one)",
    )
    tables.add_argument(
        "--split-column",
        metavar="NAME",
        help="column of the split (default: one with values such as train and test); 'none' "
        "ignores such columns",
    )
    parser.add_argument(
        "--organism",
        metavar="GROUP",
        help="group of known motifs: vertebrates (default), insects, plants, fungi, nematodes or "
        "bacteria",
    )


def run(arguments: argparse.Namespace) -> None:
    """Read the data, write the run file, and print what was recognised."""
    from selfattn_bio.cli.proposal import Request, propose, read_contents
    from selfattn_bio.config import run_file_of
    from selfattn_bio.files import whole_file
    from selfattn_bio.training.recipes import suits_recipes

    if not re.fullmatch(r"[A-Za-z0-9_-]+", arguments.name):
        raise RunFileError(
            f"invalid task name {arguments.name!r}: use only letters, digits, _ and -"
        )
    path = Path("workflows/tasks") / f"{arguments.name}.toml"
    if path.exists():
        raise OutputError(
            "the run file already exists",
            place=str(path),
            hint="Edit it, remove it, or choose another name",
        )
    folder = next(each for each in path.parents if each.exists())
    if folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(
            f"cannot write {path}: permission denied", hint="Run init in a folder of your own"
        )
    request = Request.of(arguments)
    contents = read_contents(request)
    proposal = propose(request, contents)
    draft = run_file_of(proposal.text, path)
    for line in proposal.messages:
        print(f"init: {line}")
    if suits_recipes(draft, contents.lengths):
        try:
            recipe = _choose_recipe(draft)
        except CorpusError as error:  # keep [model] and [training] of the draft
            print(f"init: no recipe could be chosen, so [model] has its defaults: {error.message}")
        else:
            proposal = propose(request, contents, recipe)
            run_file_of(proposal.text, path)
    with whole_file(path) as temporary:
        temporary.write_text(DIRECTIVE + proposal.text, encoding="utf-8")
    write_schema(path.with_name(FILE.name))
    print(f"init: wrote {path}. Check it, then run: selfattn-bio run train_{arguments.name}")


def _choose_recipe(draft: RunFile) -> Recipe:
    """Split the records as the draft says, and choose a recipe without the test records."""
    import numpy as np

    from selfattn_bio.api.data import ingest, split
    from selfattn_bio.scoring.scorer import policy_of
    from selfattn_bio.training.recipes import MIN_RECORDS, choose_recipe

    with TemporaryDirectory() as temporary:
        corpus = ingest(draft, Path(temporary) / "corpus")
        splits = split(draft, corpus, Path(temporary) / "split.tsv").table["split"].to_numpy()
        records = corpus.records["label"]
        rows = {
            name: np.flatnonzero((splits == name) & records.notna().to_numpy())
            for name in ("train", "valid")
        }
        letters = {name: [corpus.letters(int(row)) for row in of] for name, of in rows.items()}
        labels = {name: records.iloc[of].to_numpy(dtype=np.int64) for name, of in rows.items()}
        if (
            fewest := min(int(np.bincount(of, minlength=2).min()) for of in labels.values())
        ) < MIN_RECORDS:
            message = (
                f"a class has only {fewest} records in train or valid, but choosing a recipe needs "
                f"{MIN_RECORDS}"
            )
            raise CorpusError(message)
        recipe, trials = choose_recipe(
            letters, labels, policy_of(draft.data), draft.interpret.database
        )
    for trial in trials:
        print(f"init: {trial.name}: AUROC {trial.auroc:.3f} on validation records")
    print(f"init: recipe {recipe.name!r}, because {recipe.reason}")
    return recipe
