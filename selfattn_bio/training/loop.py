"""The training loop: steps, evaluations and checkpoints, and at the end the model folder.

The batch of a step depends only on the seed and the step, and its random numbers also on the
process. A checkpoint therefore needs only `History`, weights and optimizer state to resume bit for
bit. Processes split each batch and sum their gradients, so the number of processes changes only
rounding and dropout.
"""

from __future__ import annotations

from pathlib import Path

import torch

from selfattn_bio.log import Progress
from selfattn_bio.training.dry_run import choose_threads
from selfattn_bio.training.finalize import write_model
from selfattn_bio.training.hardware import keep_precision, max_of_all
from selfattn_bio.training.messages import report_progress, report_start
from selfattn_bio.training.resume import (
    CheckpointFolder,
    checkpoints_of,
    fingerprint_of,
    provenance_of,
)
from selfattn_bio.training.stacking import shared_parts
from selfattn_bio.training.trainer import Trainer


def train(trainer: Trainer, *, threads: int, stack_of: Path | None = None) -> None:
    """Train one run to its end and write its model folder.

    Resumes from the newest checkpoint in `<output>.checkpoints` if it has the same data, settings
    and versions, with the threads and the precision of its first start. On the CPU, with the same
    number of processes, the result is bit for bit the same as without an interruption.

    Parameters
    ----------
    trainer
        The run before its first step.
    threads
        Maximum number of CPU threads. The training uses as many of them as it uses well
        (`choose_threads`), and fitting a stack uses all.
    stack_of
        Model folder of another member of this run. The parts of its stack are reused instead of
        fitted again.

    Raises
    ------
    CorpusError
        If a part of the stack cannot be fitted to the records.
    ModelFolderError
        If `stack_of` belongs to another run, corpus or split.
    TrainingError
        If another process trains this run, or the loss is not finite.
    TrainingInterrupted
        After SIGTERM or Ctrl-C, once the state of the step is saved.
    """
    data, fabric = trainer.data, trainer.fabric
    parts = shared_parts(data, stack_of, threads) if stack_of else {}
    fingerprint = fingerprint_of(data, fabric.world_size)
    path, writes = checkpoints_of(trainer.output), fabric.is_global_zero
    with CheckpointFolder(path, fingerprint, writes=writes) as checkpoints, trainer.signals:
        if trainer.chose_precision and writes:
            keep_precision(data.run, path)
        fabric.barrier()  # the first process must have cleaned the folder before others read it
        trainer.restore(checkpoints)
        history = trainer.history
        history.threads = history.threads or choose_threads(trainer, threads)
        torch.set_num_threads(history.threads)
        report_start(trainer)
        provenance = provenance_of(
            data, device=fabric.device.type, processes=fabric.world_size, threads=history.threads
        )
        take_steps(trainer, checkpoints)
        write_model(trainer, provenance, parts, threads)
        # srun and torchrun wait only minutes for the first process, which may be fitting a stack
        fabric.barrier()
        checkpoints.finish()


def take_steps(trainer: Trainer, checkpoints: CheckpointFolder) -> None:
    """Take the remaining steps, with evaluations and checkpoints.

    Raises
    ------
    TrainingInterrupted
        After a stop signal, once the state is saved.
    TrainingError
        As for `Trainer.take_step`.
    """
    history, training, shown = trainer.history, trainer.data.run.training, Progress()
    while not trainer.is_finished():
        # after a resumption, an evaluation that was abandoned is still due
        if not trainer.is_due():
            trainer.take_step()
        if trainer.is_due():
            trainer.evaluate()
        report_progress(trainer, shown)
        at_end = history.step == training.max_steps
        stop = max_of_all(trainer.fabric, trainer.signals.received)
        if history.step % training.checkpoint_every == 0 or at_end or stop:
            checkpoints.save(history.step, *trainer.state())
        if stop and (trainer.is_due() or not at_end):
            raise trainer.interruption()
    # out of patience: save the state, so that a run that is stopped below repeats no training
    if history.step < training.max_steps:
        checkpoints.save(history.step, *trainer.state())
