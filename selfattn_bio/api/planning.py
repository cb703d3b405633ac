"""Predict the memory and time of the trainings of a task."""

from __future__ import annotations

from selfattn_bio.config import RunFile
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.errors import RunFileError
from selfattn_bio.log import LOG
from selfattn_bio.model import user_module
from selfattn_bio.training.hardware import use_threads
from selfattn_bio.training.heap import keeps_memory
from selfattn_bio.training.lengths import Lengths
from selfattn_bio.training.plan import make_plan
from selfattn_bio.training.total import StackTime, Trainings


def plan(
    task: RunFile,
    records: Corpus | int,
    *,
    variant: str | None = None,
    threads: int = 8,
    allow_module: str | None = None,
) -> Trainings:
    """Predict the memory and time of the trainings of a task, and refuse one that cannot fit.

    A few steps of growing size run in another process, for about ten to forty seconds.

    Parameters
    ----------
    task
        Run file with the model and its variants.
    records
        The corpus, or the length of all records in bp or residues. The time of a stack is only
        known for a corpus.
    variant
        Plan only this variant; by default the model and all variants.
    threads
        CPU threads; at most the number of cores is used.
    allow_module
        As in `train`.

    Raises
    ------
    RunFileError
        If there is no such variant, a run has a user's module that is not allowed, or the records
        are shorter than [tokens] k.
    TrainingError
        If a training cannot fit; the message has settings that do.
    """
    if allow_module:
        user_module.allow_module(allow_module)
    place, trainings = str(task.path or ""), Trainings()
    try:
        runs = {variant: task.variant(variant)} if variant else task.trained
    except ValueError as error:
        raise RunFileError(str(error), place=place) from error
    for name, run in runs.items():
        user_module.check_run(task, run)
        if isinstance(records, int) and records < run.tokens.k:
            raise RunFileError(
                f"length {records} is shorter than [tokens] k = {run.tokens.k}", place=place
            )
        found = trainings.known(run)
        if found is None:
            lengths = (
                Lengths(longest=records) if isinstance(records, int) else Lengths.of(run, records)
            )
            found = make_plan(run.member(1), lengths, threads=threads, keep_memory=keeps_memory())
            other = name if name != "model" else ""
            for line in found.lines():
                LOG.info(f"{other}: {line}" if other else line)
            if not found.fits:
                raise found.refusal(f"{place} ({other})".strip() if other else place)
        trainings.add(name, run, found)
        if not run.stack.parts:
            continue
        if isinstance(records, int):
            LOG.info(
                "the time of the stack depends on the records and is not included; plan with a "
                "corpus to measure it"
            )
        else:
            stack = StackTime.measure(run, records, use_threads(threads))
            trainings.stack_seconds = stack.seconds
            LOG.info(stack.line())
    for line in trainings.lines():
        LOG.info(line)
    return trainings
