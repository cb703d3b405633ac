"""Train the model of a task, a variant of it, a member or a job of its sweep."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from selfattn_bio.config import PairedModel, RunFile
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.errors import TrainingError
from selfattn_bio.evaluation.groups import check_columns
from selfattn_bio.log import LOG
from selfattn_bio.model.user_module import check_run
from selfattn_bio.scoring.loading import load
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.sequence.split_table import DROPPED
from selfattn_bio.study.data import Split
from selfattn_bio.training import loop
from selfattn_bio.training.hardware import training_settings
from selfattn_bio.training.heap import keeps_memory
from selfattn_bio.training.lengths import Lengths
from selfattn_bio.training.memory import give_back, is_out_of_memory, words_of
from selfattn_bio.training.plan import make_plan, out_of_memory

if TYPE_CHECKING:
    from selfattn_bio.study.study import Study


def train(study: Study, threads: int, sharded: bool) -> Scorer:
    """Train the model of a study; `Study.train` describes it."""
    task, run, corpus = study.task, study.run, study.corpus
    check_run(task, run)
    check_columns(task.evaluation.groups, corpus)
    if task.transfer and not run.transfer:
        LOG.info(
            f"{study.address.label}: starts from random weights, because the [transfer] parent has "
            "another [model] or [tokens]"
        )
    output, first = study.files.model, study.member(1)
    shares_parts = first.files != study.files and bool(run.stack.parts)
    exhausted = ""
    with training_settings(threads, run.training.matmul) as usable:
        try:
            loop.train(
                run,
                corpus,
                _split_of(study),
                output,
                threads=usable,
                name=study.address.label,  # several trainings may share a log
                sharded=sharded,
                stack_of=first.existing(first.files, "model") if shares_parts else None,
            )
        except (MemoryError, RuntimeError, OSError) as error:  # torch raises RuntimeError
            if not is_out_of_memory(error):
                raise
            exhausted = words_of(error)
    # Outside `except`, the frames of the training are gone, and their memory is free for the plan.
    if exhausted:
        raise _out_of_memory(run, corpus, usable, exhausted, str(output))
    return load(output)  # a path, because a shipped model may have this name


def _split_of(study: Study) -> Path:
    """Return the split table of a training. For a job of a sweep, write one without test records.

    Its checksum is in the model folder, and `Study.evaluate` refuses models of another split.
    """
    splits = study.splits
    if not study.address.job:
        return splits.path
    table = splits.table.copy()
    table.loc[table["split"] == "test", ["split", "reason"]] = (
        DROPPED,
        "test, hidden from the sweep",
    )
    Split(study.root.sweep_split, table).save(study.root.sweep_split)
    return study.root.sweep_split


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
