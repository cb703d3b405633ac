"""Train the model of a task, a variant of it, a member or a job of its sweep; or try it first."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from selfattn_bio.config import RunFile
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.errors import RunFileError
from selfattn_bio.evaluation.groups import check_columns
from selfattn_bio.log import LOG
from selfattn_bio.model.user_module import allow_module_of
from selfattn_bio.scoring.loading import load
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.training import loop
from selfattn_bio.training.dry_run import DryRun, take_dry_run
from selfattn_bio.training.hardware import training_settings
from selfattn_bio.training.memory import is_out_of_memory, words_of
from selfattn_bio.training.messages import out_of_memory

T = TypeVar("T")


def train(
    task: RunFile,
    corpus: Corpus,
    split: str | os.PathLike[str],
    output: str | Path,
    *,
    variant: str | None = None,
    member: int | str = 1,
    threads: int = 8,
    sharded: bool = False,
    stack_of: str | Path | None = None,
) -> Scorer:
    """Train one model to its end, write its folder, and load it.

    If the training was interrupted, the same call continues from the last checkpoint in
    `OUTPUT.checkpoints`.

    Parameters
    ----------
    task
        Run file with the model.
    corpus
        The records.
    split
        Split of the corpus, or path of its table.
    output
        Model folder to write: new, empty, or an earlier model, which is replaced at the end.
    variant
        Train this variant of the run file, a baseline or control, instead of the model.
    member
        Number of the member to train, from 1 to [training] `seeds`, or name of a job of [sweep].
    threads
        Largest number of CPU threads, at most the number of cores. At the start a timed batch
        chooses 1, 2, 4, ... or this number; it is recorded in provenance.json, and a resumed
        training keeps it. Two fresh trainings may therefore use different numbers; with 1 nothing
        is timed. Afterwards torch has its earlier setting.
    sharded
        Whether the processes of torchrun each hold a part of the weights (FSDP2).
    stack_of
        Model folder of another member, whose fitted [stack] parts are reused.

    Returns
    -------
    The trained model, as from `load(output)`.

    Raises
    ------
    RunFileError
        If the run file has no such variant, member, job or stack.
    CorpusError, ModelFolderError, OutputError, TrainingInterrupted
        As in `training.loop.train`.
    TrainingError
        As in `training.loop.train`, or if memory ran out; the message has smaller batches to try.
    """
    run, name = _chosen(task, corpus, variant, member)
    if stack_of and not run.stack.parts:
        message = "parts of another member need [stack] parts, which this run does not have"
        raise RunFileError(message, place=str(task.path or ""))
    with training_settings(threads, run.training.matmul) as usable:
        _with_hint(
            run,
            str(output),
            lambda: loop.train(
                run,
                corpus,
                Path(split),
                Path(output),
                threads=usable,
                name=name,
                sharded=sharded,
                stack_of=Path(stack_of) if stack_of else None,
            ),
        )
    return load(Path(output))  # a path, because a shipped model may have this name


def dry_run(
    task: RunFile,
    corpus: Corpus,
    split: str | os.PathLike[str],
    *,
    variant: str | None = None,
    member: int | str = 1,
    threads: int = 8,
    sharded: bool = False,
) -> DryRun:
    """Measure memory and time of a training with three steps, and write no model.

    The steps use the longest records. They are followed by an evaluation and a checkpoint, in a
    temporary folder, because these may need more memory than a step.

    Parameters
    ----------
    task, corpus, split, variant, member, threads, sharded
        As in `train`.

    Returns
    -------
    The measurements. The time of a number of `member` includes all [training] `seeds`.

    Raises
    ------
    RunFileError, CorpusError, ModelFolderError, TrainingError
        As in `train`.
    """
    run, name = _chosen(task, corpus, variant, member)
    of_seeds = 1 if isinstance(member, str) else task.trained[variant or "model"].training.seeds
    with training_settings(threads, run.training.matmul) as usable:
        return _with_hint(
            run,
            str(task.path or ""),
            lambda: take_dry_run(
                run,
                corpus,
                Path(split),
                threads=usable,
                name=name,
                members=of_seeds,
                sharded=sharded,
            ),
        )


def _chosen(
    task: RunFile, corpus: Corpus, variant: str | None, member: int | str
) -> tuple[RunFile, str]:
    """Return the run of a variant, member or job, and its name in messages."""
    allow_module_of(task)
    try:
        run = (
            task.part(variant, job=member)
            if isinstance(member, str)
            else task.part(variant, member)
        )
    except ValueError as error:
        raise RunFileError(str(error), place=str(task.path or "")) from error
    check_columns(task.evaluation.groups, corpus)
    number = "" if member == 1 else member
    name = f"{variant or 'model'} {number}".rstrip()  # several trainings may share a log
    if task.transfer and not run.transfer:
        LOG.info(
            f"{name}: starts from random weights, because the [transfer] parent has another "
            "[model] or [tokens]"
        )
    return run, name


def _with_hint(run: RunFile, place: str, work: Callable[[], T]) -> T:
    """Return the result of `work`; if memory runs out, raise an error with settings to try."""
    try:
        return work()
    except (MemoryError, RuntimeError, OSError) as error:  # torch raises RuntimeError
        if not is_out_of_memory(error):
            raise
        reason = words_of(error)
    # Outside `except`, so that the error does not keep the frames of the training in memory.
    raise out_of_memory(run, reason, place)
