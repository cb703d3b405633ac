"""Propose a run file for the user's data."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypedDict, Unpack

import numpy as np

from selfattn_bio.config import PretrainedModel, RunFile, check_files, run_file_of
from selfattn_bio.config.genome import ShuffledNegatives
from selfattn_bio.config.writing import DIRECTIVE, NAME, write_schema
from selfattn_bio.display import counted, duration
from selfattn_bio.errors import CorpusError, RunFileError, SelfAttnBioError
from selfattn_bio.files import write_text
from selfattn_bio.log import LOG, log_lines, logging_from
from selfattn_bio.model.build import build_network
from selfattn_bio.process import available_cores
from selfattn_bio.sequence.policy import policy_of
from selfattn_bio.split_names import SPLITS
from selfattn_bio.study.address import TASKS
from selfattn_bio.study.study import Study
from selfattn_bio.wizard.contents import read_contents
from selfattn_bio.wizard.draft import draft, small_classes
from selfattn_bio.wizard.request import Request

if TYPE_CHECKING:
    from selfattn_bio.training.recipes import Recipe


@dataclass(frozen=True, repr=False)
class Proposal:
    """A proposed run file.

    Attributes
    ----------
    text
        TOML with a comment on each choice.
    path
        Where `save` writes it by default: workflows/tasks/NAME.toml.
    """

    text: str
    path: Path

    def __repr__(self) -> str:
        return f"Proposal of {self.path}, {len(self.text.splitlines())} lines"

    def __str__(self) -> str:
        return self.text

    def save(self, path: str | Path | None = None) -> Path:
        """Write the text, and the JSON Schema that its first line names; return the path."""
        path = self.path if path is None else Path(path)
        write_text(path, self.text)
        write_schema(path.with_name(NAME))
        return path


class InitOptions(TypedDict, total=False):
    """Options of `propose`.

    Attributes
    ----------
    targets
        Table with a column id and columns to learn, if the sequences have none.
    alphabet
        dna, rna, ssdna or protein. By default that of the letters, or "rna" if the column of the
        sequences has a name such as utr or mRNA. Other RNA written with T is taken for "dna", as is
        single-stranded DNA.
    sequence_column
        Column of the sequences. By default the obvious one.
    id_column
        Column of the ids, also in `targets`. By default id, or the only column with a different
        name in each row.
    split_column
        Column of the split. By default one with values such as train and test; "none" ignores such
        columns.
    genome
        FASTA file that files of intervals refer to.
    feature
        Type of GFF and GTF lines to use, such as gene.
    organism
        Group of known motifs: vertebrates (default), insects, plants, fungi, nematodes or bacteria.
    points
        BED file of stranded points, such as transcription starts, to find in long windows: a BED
        file as "sequences", and its `genome`.
    pretrained
        Folder of a published language model to start from (docs/pretrained.md).
    """

    targets: str
    alphabet: str
    sequence_column: str
    id_column: str
    split_column: str
    genome: str
    feature: str
    organism: str
    points: str
    pretrained: str


def propose(
    name: str,
    files: Mapping[str, str | Path | Sequence[str | Path]],
    *,
    columns: Sequence[str] = (),
    **options: Unpack[InitOptions],
) -> Proposal:
    """Read sequences, recognise the task from them, and propose its run file.

    `propose("my_task", {"positives": ["a.fa"], "negatives": ["b.fa"]}).save()` writes
    workflows/tasks/my_task.toml. Messages have parameters and keys of `files` in backquotes.

    Parameters
    ----------
    name
        Name of the task: letters, digits, _ and -.
    files
        Path or paths by kind: "positives" and "negatives"; or "sequences", tables with columns to
        learn, or a folder with train.* and test.*; or "train", "valid" and "test". Negatives may be
        how to generate them instead: "shuffled", "matched" or "neighbours". With intervals as
        sequences, "tracks" or "profile": bigWig files whose mean, or counts per base, to learn.
    columns
        Column to learn, or several of numbers or of labels (1 and 0, or words such as yes and no).
        By default the obvious one, or all of such a kind.
    **options
        See `InitOptions`.

    Raises
    ------
    RunFileError
        If the name is invalid, options contradict each other, it is not clear which column to
        learn, or the records cannot be split.
    SelfAttnBioError
        If a file cannot be read, the alphabets differ, or a table has no clear column of sequences.
    """
    from selfattn_bio.training.recipes import MOST, bins, pretrained_recipe

    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise RunFileError(f"invalid task name {name!r}: use only letters, digits, _ and -")
    request = Request.of(name, files, columns=tuple(columns), **options)
    contents, path = read_contents(request), TASKS / f"{name}.toml"
    number, first = len(contents.lengths), None
    if request.pretrained:
        first = pretrained_recipe(request.pretrained, number)
    elif request.points:
        first = bins(number, max(contents.lengths))
    text, messages, warnings = draft(request, contents, first)
    task = run_file_of(text, path)
    if first and isinstance(task.model, PretrainedModel):
        network = build_network(task)  # its folder fits the sequences
        method = "" if network.has_embeddings else "saturation"
        parts = ("pretrained_linear",) * task.objective.is_per_record
        text, *_ = draft(request, contents, replace(first, parts=parts, method=method))
    check_files(task.path, [*task.data.inputs, *task.objective.hashes])
    log_lines(messages)
    for warning in warnings:
        LOG.warning(warning)
    with TemporaryDirectory() as folder:
        is_large = sum(contents.lengths) > MOST
        try:
            if not is_large and (recipe := _choose_recipe(Study(task, folder))):
                text, *_ = draft(request, contents, recipe)
            if not (is_large or request.pretrained):  # too slow
                LOG.info(_training_time(Study(run_file_of(text, path), folder)))
        except CorpusError as error:  # its place is in the temporary folder
            hint = error.hint or "Give more records, or your own split (docs/own_split.md)"
            RunFileError.fail(f"the run would stop: {error.message}", request.place, hint)
    return Proposal(DIRECTIVE + text, path)


def _choose_recipe(study: Study) -> Recipe | None:
    """Split the records as the draft says, and choose a recipe without the test records.

    Classes with few records are logged. The result is None if no recipe suits the task, or if there
    are too few records to choose one.
    """
    from selfattn_bio.scoring.stack import baseline_setup
    from selfattn_bio.training.data import complete_targets
    from selfattn_bio.training.recipes import MIN_RECORDS, choose_recipe, suits_recipes
    from selfattn_bio.training.trials import learns_nothing

    task = study.task
    with logging_from(logging.WARNING):
        corpus, splits = study.ingest(), study.split().table["split"].to_numpy()
    rows = {name: np.flatnonzero(splits == name) for name in SPLITS}
    objective, targets = complete_targets(task, corpus, rows, study.files.split)
    log_lines(small_classes(objective, targets, task.split.enlarge))
    lengths = corpus.records["length"].tolist()
    if isinstance(task.model, PretrainedModel) or not suits_recipes(task, lengths):
        return None
    del rows["test"], targets["test"]
    letters = {name: [corpus.letters(int(row)) for row in of] for name, of in rows.items()}
    for of in targets.values():
        counts = np.bincount(of, minlength=2) if objective.is_labelled else [len(of)]
        if (fewest := min(counts)) < MIN_RECORDS:
            few = "a class" if objective.is_labelled else "a split"
            LOG.info(
                f"no recipe could be chosen: {few} has only {fewest} records in train or valid, "
                f"but choosing a recipe needs {MIN_RECORDS}"
            )
            return None
    setup = baseline_setup(task, policy_of(task.data), objective.section, threads=0)
    recipe, trials = choose_recipe(letters, targets, setup)
    mean = ", as the mean of the columns" if len(task.objective.target_columns) > 1 else ""
    for trial in trials:
        LOG.info(f"{trial} on validation records{mean}")
    if learns_nothing(trials):
        negatives = task.data.negatives
        reason = (
            f". Shuffled negatives have the same {negatives.k}-mer counts as their positives, so "
            "models of short k-mers cannot tell them apart"
            if isinstance(negatives, ShuffledNegatives)
            else ", so perhaps nothing can be learned"
        )
        LOG.info(f"no simple model is clearly above chance{reason}")
    LOG.info(f"recipe {recipe.name!r}, because {recipe.reason}")
    if recipe.objective:
        LOG.info("loss 'huber', because gradient boosting predicts clearly better with it")
    return recipe


def _training_time(study: Study) -> str:
    """Time the first steps of the model and its variants, and say how long they train here.

    The workflow trains them side by side.
    """
    studies = {"model": study, **study.variants}
    cores = available_cores()
    threads = max(1, cores // len(studies))
    try:
        with logging_from(logging.WARNING):
            seconds = [each.dry_run(threads=threads).seconds for each in studies.values()]
    except SelfAttnBioError as error:
        return f"the first steps of a training failed: {error}"
    total = max(*seconds, sum(seconds) * threads / cores)
    time = f"about {duration(total)}" if total >= 60 else "less than a minute"
    return (
        f"training {', '.join(studies)} takes {time} on {counted(cores, 'core')} of this machine, "
        f"as busy as it is now (networks in each: {study.run.model.members}, [model] members). "
        "Simple models, evaluation, motifs and report come after it, and so does explaining at "
        f"most {study.run.interpret.max_sequences:,} records for each output ([interpret] "
        "max_sequences); together they can take longer than the training"
    )
