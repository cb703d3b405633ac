"""Train the model of a task, a variant of it, a member or a job of its sweep."""

from __future__ import annotations

import os
from pathlib import Path

from selfattn_bio.config import PairedModel, RunFile
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.errors import RunFileError, TrainingError
from selfattn_bio.evaluation.groups import check_columns
from selfattn_bio.log import LOG
from selfattn_bio.model import user_module
from selfattn_bio.scoring.loading import load
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.training import loop
from selfattn_bio.training.hardware import training_settings
from selfattn_bio.training.heap import keeps_memory
from selfattn_bio.training.lengths import Lengths
from selfattn_bio.training.memory import give_back, is_out_of_memory, words_of
from selfattn_bio.training.plan import make_plan, out_of_memory


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
    allow_module: str | None = None,
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
    allow_module
        As in `load`. Without it, a run whose [model] names a user's module is refused.

    Returns
    -------
    The trained model, as from `load(output)`.

    Raises
    ------
    RunFileError
        If the run file has no such variant, member, job or stack, or the run has a user's module
        that is not allowed.
    CorpusError, ModelFolderError, OutputError, TrainingInterrupted
        As in `training.loop.train`.
    TrainingError
        As in `training.loop.train`, or if memory ran out; the message has settings that fit.
    """
    if allow_module:
        user_module.allow_module(allow_module)
    place = str(task.path or "")
    try:
        run = (
            task.part(variant, job=member)
            if isinstance(member, str)
            else task.part(variant, member)
        )
    except ValueError as error:
        raise RunFileError(str(error), place=place) from error
    user_module.check_run(task, run)
    check_columns(task.evaluation.groups, corpus)
    if stack_of and not run.stack.parts:
        message = "parts of another member need [stack] parts, which this run does not have"
        raise RunFileError(message, place=place)
    number = "" if member == 1 else member
    name = f"{variant or 'model'} {number}".rstrip()  # several trainings may share a log
    if task.transfer and not run.transfer:
        LOG.info(
            f"{name}: starts from random weights, because the [transfer] parent has another "
            "[model] or [tokens]"
        )
    exhausted = ""
    with training_settings(threads, run.training.matmul) as usable:
        try:
            loop.train(
                run,
                corpus,
                Path(split),
                Path(output),
                threads=usable,
                name=name,
                sharded=sharded,
                stack_of=Path(stack_of) if stack_of else None,
            )
        except (MemoryError, RuntimeError, OSError) as error:  # torch raises RuntimeError
            if not is_out_of_memory(error):
                raise
            exhausted = words_of(error)
    # Outside `except`, the frames of the training are gone, and their memory is free for the plan.
    if exhausted:
        raise _out_of_memory(run, corpus, usable, exhausted, str(output))
    return load(Path(output))  # a path, because a shipped model may have this name


def _out_of_memory(
    run: RunFile,
    corpus: Corpus,
    threads: int,
    message: str,
    place: str,
) -> TrainingError:
    """Return the error for a training that ran out of memory, with settings that fit."""
    # Nothing can be measured while other processes of torchrun hold their memory, or for two
    # inputs.
    if "TORCHELASTIC_RUN_ID" in os.environ or isinstance(run.model, PairedModel):
        hint = (
            "Halve training.batch_size and double training.accumulate, or start fewer "
            "processes per machine"
        )
        return TrainingError(f"out of memory: {message}", place=place, hint=hint)
    give_back()
    plan = make_plan(run, Lengths.of(run, corpus), threads=threads, keep_memory=keeps_memory())
    return out_of_memory(plan, message, place)
