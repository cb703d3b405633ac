"""Train the model of a study, or try it first; rank the trained jobs of a sweep."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from selfattn_bio.config import Job, RunFile, check_files
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.display import counted
from selfattn_bio.errors import ArgumentError, RunFileError
from selfattn_bio.evaluation.card import read_history
from selfattn_bio.evaluation.groups import check_columns
from selfattn_bio.layout import Layout
from selfattn_bio.log import LOG, log_lines
from selfattn_bio.model.user_module import check_run, errors_of_training
from selfattn_bio.objectives import objective_of
from selfattn_bio.result import TableResult
from selfattn_bio.scoring.loading import load
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.sequence.genome import Genome
from selfattn_bio.sequence.split_table import DROPPED
from selfattn_bio.sequence.tracks import check_assembly, read_track
from selfattn_bio.study.data import Split
from selfattn_bio.study.study import Study
from selfattn_bio.training import loop
from selfattn_bio.training.dry_run import DryRun, take_dry_run
from selfattn_bio.training.hardware import training_settings
from selfattn_bio.training.memory import is_out_of_memory, words_of
from selfattn_bio.training.messages import out_of_memory
from selfattn_bio.training.trainer import Trainer

T = TypeVar("T")


def train(study: Study, threads: int) -> Scorer:
    """Train the model of a study; `Study.train` describes it."""
    run, corpus, output, first = study.run, study.corpus, study.files.model, study.member(1)
    shares_parts = first.files != study.files and bool(run.stack.parts)
    _check(study, corpus, threads)
    _report_members(study)
    stack_of = first.existing(first.files, "model") if shares_parts else None
    split, name = _split_of(study), study.address.label  # several trainings may share a log
    with training_settings(threads, run.training.matmul) as usable:
        _with_hint(
            run,
            str(output),
            lambda: loop.train(
                Trainer(run, corpus, split, output, name), threads=usable, stack_of=stack_of
            ),
        )
    return load(output)  # a path, because a shipped model may have this name


def dry_run(study: Study, threads: int) -> DryRun:
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
            ),
        )


def _check(study: Study, corpus: Corpus, threads: int) -> None:
    """Check threads, the module, files and the columns of groups, and report transfer."""
    if threads < 1:
        raise ArgumentError(f"{threads} threads; use at least 1")
    task = study.task
    check_files(task.path, [*task.objective.hashes, task.interpret.database_file])
    genome = task.data.genome  # not needed after `ingest`
    if task.objective.is_per_base and genome and Path(genome).is_file():
        for file in task.objective.hashes:
            check_assembly(read_track(file), Genome(genome), file)
    check_run(task, study.run)
    check_columns(task.evaluation.groups, corpus)
    parent = study.run.transfer and study.run.transfer.folder.absolute()
    if parent == study.files.model.absolute():
        RunFileError.fail("the parent in [transfer] is the model that is trained", study.place)
    if task.transfer and not study.run.transfer:
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
        with errors_of_training(run):
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
    hidden = DROPPED, "test, hidden from the sweep"
    table.loc[table["split"] == "test", ["split", "reason"]] = hidden
    Split(study.root.sweep_split, table).save(study.root.sweep_split)
    return study.root.sweep_split


@dataclass(frozen=True, repr=False)
class Ranking(TableResult):
    """The jobs of a sweep, best first.

    Attributes
    ----------
    table
        One row per job, with the columns of `rank`.
    """

    table: pd.DataFrame

    def __repr__(self) -> str:
        return f"Ranking of {counted(len(self.table), 'job')}: {'; '.join(self.lines)}"

    @property
    def best(self) -> pd.DataFrame:
        """Return the best job of the model and of each variant."""
        return self.table.groupby("of", sort=False).head(1)

    @property
    def lines(self) -> list[str]:
        """Return the best job of the model and of each variant, as text."""
        number = self.table["of"].value_counts()
        _, _, *settings, metric, _, _, _ = self.table.columns
        return [
            f"best of {counted(number[row['of']], 'job')} of {row['of']}: {metric} "
            f"{row[metric]:.4f} with " + ", ".join(f"{key} = {row[key]}" for key in settings)
            for row in self.best.to_dict("records")
        ]


def rank_jobs(study: Study) -> Ranking:
    """Rank the trained jobs of a sweep; `Study.rank_jobs` describes it."""
    jobs = study.task.jobs()
    if not jobs:
        raise RunFileError("the run file has no [sweep]", place=study.place)
    ranking = Ranking(rank(jobs, study.root.folder))
    ranking.save(study.root.ranking)
    log_lines(ranking.lines)
    LOG.info(
        f"wrote {study.root.ranking}. The validation metric of the best of many jobs is slightly "
        "optimistic. The test split was not read"
    )
    return ranking


def rank(jobs: Sequence[Job], results: Path) -> pd.DataFrame:
    """Rank jobs by the best value of their main validation metric, such as AUROC.

    Only history.csv is read from each model folder. The weights are not loaded, so this cannot
    score test records.

    Parameters
    ----------
    jobs
        Jobs of one run file.
    results
        Folder that contains the results of the jobs.

    Returns
    -------
    One row per job, best first; jobs without a value come last. Columns: of (model, or name of the
    variant), job, one column per dotted key of the sweep, the metric (valid_auroc for two classes),
    best_step, steps and seconds of training.

    Raises
    ------
    ModelFolderError
        If history.csv of a job is missing or belongs to another objective.
    """
    objective = objective_of(jobs[0].run.objective)
    metric, rows = f"valid_{objective.main_metric}", []
    ascending = not objective.higher_is_better
    order: Any = {"ascending": ascending, "kind": "stable", "na_position": "last"}
    for job in jobs:
        history = read_history(Layout(results / job.folder).history, "seconds", metric)
        # of equal evaluations, take the earliest, as in training
        best, last = history.sort_values(metric, **order).iloc[0], history.iloc[-1]
        rows.append(
            {
                "of": job.of,
                "job": job.name,
                **{key: _text(value) for key, value in job.settings.items()},
                metric: best[metric],
                "best_step": int(best["step"]),
                "steps": int(last["step"]),
                "seconds": round(last["seconds"], 1),
            }
        )
    return pd.DataFrame(rows).sort_values(metric, **order).reset_index(drop=True)


def _text(value: Any) -> Any:
    """Return tables and lists of the run file as JSON text, and other values unchanged."""
    return json.dumps(value) if isinstance(value, dict | list) else value
