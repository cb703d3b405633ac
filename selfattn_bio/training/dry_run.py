"""Measure the memory and time of a training with its first steps."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from selfattn_bio.config import RunFile
from selfattn_bio.data.batches import LongestFirst
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.display import counted, duration
from selfattn_bio.training.data import Stream
from selfattn_bio.training.loop import open_trainer
from selfattn_bio.training.memory import peak_mb, reset_peak
from selfattn_bio.training.messages import report_start
from selfattn_bio.training.resume import CheckpointFolder, checkpoints_of
from selfattn_bio.training.threads import choose_threads
from selfattn_bio.training.trainer import Trainer

STEPS = 3


@dataclass(frozen=True)
class DryRun:
    """Memory and time of a training, measured with its longest records.

    Attributes
    ----------
    parameters
        Number of weights of the network.
    peak_memory_mb
        Peak memory of this process, or of its GPU, in MB (10^6 bytes).
    seconds_per_step, seconds_per_evaluation
        Time of an optimizer step, and of an evaluation on the validation split.
    steps_per_epoch
        Steps in which each training record is used once.
    seconds
        Time of all steps and evaluations of all members at most. Patience may end a training
        earlier.
    """

    parameters: int
    peak_memory_mb: float
    seconds_per_step: float
    seconds_per_evaluation: float
    steps_per_epoch: float
    seconds: float


def take_dry_run(
    run: RunFile,
    corpus: Corpus,
    split_path: Path,
    *,
    threads: int,
    name: str = "model",
    members: int = 1,
    sharded: bool = False,
) -> DryRun:
    """Take steps with the longest records, evaluate, and save a checkpoint in a temporary folder.

    Parameters
    ----------
    run, corpus, split_path, threads, name, sharded
        As in `training.loop.train`.
    members
        Number of trainings of this kind, for the total time.

    Raises
    ------
    CorpusError, ModelFolderError, RunFileError, TrainingError
        As in `training.loop.train`.
    """
    reset_peak()
    with TemporaryDirectory() as folder:
        output = Path(folder) / "model"
        trainer = open_trainer(run, corpus, split_path, output, name, sharded=sharded)
        trainer.history.threads = choose_threads(trainer, threads)
        torch.set_num_threads(trainer.history.threads)
        report_start(trainer)
        data, stream, training = trainer.data, trainer.steps.stream, trainer.data.run.training
        order = LongestFirst(stream.windows.sampled_lengths(), training.batch_size, training.seed)
        trainer.steps.stream = Stream(data.run, corpus, stream.split, order)
        writes = trainer.fabric.is_global_zero
        with CheckpointFolder(checkpoints_of(output), "dry-run", writes=writes) as checkpoints:
            _seconds(trainer.take_step)  # the first step is slower
            step = sum(_seconds(trainer.take_step) for _ in range(STEPS - 1)) / (STEPS - 1)
            evaluation = _seconds(trainer.evaluate)
            checkpoints.save(STEPS, *trainer.state())
    evaluations = math.ceil(training.max_steps / training.evaluate_every)
    found = DryRun(
        sum(weight.numel() for weight in trainer.bare.parameters()),
        peak_mb(),
        step,
        evaluation,
        stream.per_epoch / training.accumulate,
        members * (training.max_steps * step + evaluations * evaluation),
    )
    _report(trainer, found, evaluations, members)
    return found


def _seconds(work: Callable[[], object]) -> float:
    """Return the clock time of some work, until the device is finished."""
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _report(trainer: Trainer, found: DryRun, evaluations: int, members: int) -> None:
    training = trainer.data.run.training
    trainer.log(
        f"dry run: peak memory {found.peak_memory_mb / 1000:.3g} GB; "
        f"{found.seconds_per_step:.3g} s per step; {found.steps_per_epoch:,.4g} steps per epoch"
    )
    trainings = f"{members} trainings of " if members > 1 else ""
    trainer.log(
        f"at most {duration(found.seconds)} for {trainings}{counted(training.max_steps, 'step')} "
        f"and {counted(evaluations, 'evaluation')}"
        f"{'; fitting the parts of [stack] is not included' * bool(trainer.data.run.stack.parts)}"
    )
