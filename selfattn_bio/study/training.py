"""Train the model of a study, or try it first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from selfattn_bio.config import RunFile, check_files
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.errors import ArgumentError
from selfattn_bio.evaluation.groups import check_columns
from selfattn_bio.log import LOG
from selfattn_bio.model.user_module import check_run
from selfattn_bio.scoring.loading import load
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.sequence.split_table import DROPPED
from selfattn_bio.study.data import Split
from selfattn_bio.training import loop
from selfattn_bio.training.dry_run import DryRun, take_dry_run
from selfattn_bio.training.hardware import training_settings
from selfattn_bio.training.memory import is_out_of_memory, words_of
from selfattn_bio.training.messages import out_of_memory

if TYPE_CHECKING:
    from selfattn_bio.study.study import Study

T = TypeVar("T")


def train(study: Study, threads: int, sharded: bool) -> Scorer:
    """Train the model of a study; `Study.train` describes it."""
    run, corpus, output, first = study.run, study.corpus, study.files.model, study.member(1)
    shares_parts = first.files != study.files and bool(run.stack.parts)
    _check(study, corpus, threads)
    _report_members(study)
    with training_settings(threads, run.training.matmul) as usable:
        _with_hint(
            run,
            str(output),
            lambda: loop.train(
                run,
                corpus,
                _split_of(study),
                output,
                threads=usable,
                name=study.address.label,  # several trainings may share a log
                sharded=sharded,
                stack_of=first.existing(first.files, "model") if shares_parts else None,
            ),
        )
    return load(output)  # a path, because a shipped model may have this name


def dry_run(study: Study, threads: int, sharded: bool) -> DryRun:
    """Measure the training of a study; `Study.dry_run` describes it."""
    run, corpus = study.run, study.corpus
    _check(study, corpus, threads)
    with training_settings(threads, run.training.matmul) as usable:
        return _with_hint(
            run,
            study.place,
            lambda: take_dry_run(
                run,
                corpus,
                study.existing(study.root, "split"),
                threads=usable,
                name=study.address.label,
                members=1 if study.address.job else len(study.members),
                sharded=sharded,
            ),
        )


def _check(study: Study, corpus: Corpus, threads: int) -> None:
    """Check threads, the module, files and the columns of groups, and report transfer."""
    if threads < 1:
        raise ArgumentError(f"{threads} threads; use at least 1")
    points, database = getattr(study.task.objective, "points", None), study.task.interpret
    check_files(study.task, [points, database.database_file])
    check_run(study.task, study.run)
    check_columns(study.task.evaluation.groups, corpus)
    if study.task.transfer and not study.run.transfer:
        LOG.info(
            f"{study.address.label}: starts from random weights, because the [transfer] parent has "
            "another [model] or [tokens]"
        )


def _report_members(study: Study) -> None:
    """Report which of several members is trained, and how to train the others."""
    address, members = study.address, study.members
    if address.job or len(members) == 1:
        return
    others = [address.text(each.files, study.task.path) for each in members[1:]]
    after = f"; then train {', '.join(others)}" if address.member == 1 else ""
    LOG.info(f"{address.label}: member {address.member} of {len(members)}{after}")


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
