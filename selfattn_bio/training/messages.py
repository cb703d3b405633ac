"""Report the start, the progress and the end of a training."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from selfattn_bio.config import RunFile
from selfattn_bio.data.batches import RecordWindows
from selfattn_bio.display import counted, duration
from selfattn_bio.errors import TrainingError
from selfattn_bio.evaluation.metrics import title_of
from selfattn_bio.log import LOG, Progress
from selfattn_bio.training.trainer import Trainer


def report_start(trainer: Trainer) -> None:
    """Report the size of network and data, the device, and warnings."""
    for line in _start_lines(trainer):
        trainer.log(line)
    lineage = trainer.data.lineage
    if lineage and lineage.coordinate_warning and trainer.fabric.is_global_zero:
        LOG.warning(f"{trainer.name}: {lineage.coordinate_warning}")


def report_progress(trainer: Trainer, shown: Progress) -> None:
    """Report one line after each evaluation, and progress between them."""
    if trainer.fabric.is_global_zero:
        shown.update(
            lambda left: f"{trainer.name}: {_progress_line(trainer)}",
            trainer.history.step / trainer.data.run.training.max_steps,
            keep=trainer.history.is_evaluated,
        )


def report_end(trainer: Trainer, provenance: dict[str, Any]) -> None:
    """Report the best evaluation, why the training ended, and the model folder."""
    history, training = trainer.history, trainer.data.run.training
    early = (
        f"; stopped at step {history.step} after {training.patience} evaluations without "
        "improvement"
    )
    ended = early if history.step < training.max_steps else ""
    privacy = provenance.get("privacy")
    spent = f"; epsilon {privacy['epsilon']:.2f} spent" if privacy else ""
    metric = named_metric(trainer.steps.main_metric, trainer.best)
    trainer.log(
        f"best validation {metric} at step {history.best_step}{ended}{spent}; model in "
        f"{trainer.output}"
    )


def named_metric(name: str, value: float) -> str:
    """Format a metric with its name, such as "AUROC 0.8712"."""
    return f"{title_of(name)} {value:.4f}"


def out_of_memory(run: RunFile, reason: str, place: str) -> TrainingError:
    """Return the error of a training that ran out of memory, with smaller batches to try."""
    training = run.training
    size, of_step = training.batch_size, training.batch_size * training.accumulate
    smaller = next((each for each in range(size // 2, 0, -1) if of_step % each == 0), None)
    if smaller is None or run.privacy:  # a private run computes one record at a time
        hint = "Use shorter records (data.max_length) or a smaller network"
    else:
        hint = (
            f"Try training.batch_size = {smaller} and training.accumulate = {of_step // smaller}, "
            "which keep the number of records per step"
        )
    if "TORCHELASTIC_RUN_ID" in os.environ:
        hint += ", or start fewer processes per machine"
    return TrainingError(
        f"out of memory at training.batch_size = {size}: {reason}", place=place, hint=hint
    )


def _start_lines(trainer: Trainer) -> Iterator[str]:
    data, stream, fabric = trainer.data, trainer.steps.stream, trainer.fabric
    training, unit = data.run.training, data.corpus.alphabet.unit
    if training.window:
        num_used = len(data.letters(data.valid))
        num_windows = len(RecordWindows(data.lengths(data.valid), training.window))
        yield (
            f"windows of at most {training.window:,} {unit}: {len(stream.windows):,} are sampled "
            f"per epoch; the validation records give {num_windows:,} adjacent windows, and "
            f"{'all' if num_used == num_windows else f'{num_used:,}'} of them are used"
        )
    threads = trainer.history.threads
    processes = f"{fabric.world_size} processes, each with " if fabric.world_size > 1 else ""
    padding = 1 - stream.order.efficiency()
    weights = list(trainer.bare.parameters())
    trained = sum(p.numel() for p in weights if p.requires_grad)
    number = sum(p.numel() for p in weights)
    only = f", {trained:,} of them trained" if trained < number else ""
    yield (
        f"{counted(len(data.train.rows), 'sequence')} for training, {len(data.valid.rows):,} for "
        f"validation; {number:,} parameters{only}; "
        f"precision {training.precision} on {fabric.device.type}, "
        f"{processes}{counted(threads, 'thread')}; batches have "
        f"{f'{padding:.0%}' if padding else 'no'} padding"
    )
    yield from trainer.steps.notes()
    if data.run.is_control():
        yield (
            "negative control: its labels are shuffled, so its validation AUROC should stay near "
            "0.5"
        )


def _progress_line(trainer: Trainer) -> str:
    history, max_steps = trainer.history, trainer.data.run.training.max_steps
    seconds, evaluated = trainer.seconds, history.is_evaluated
    row = history.rows[-1] if evaluated else {}
    parts = [
        f"step {history.step}/{max_steps}",
        f"epoch {trainer.steps.stream.epoch_of(history.step):.1f}",
    ]
    if trainer.steps.shows_records:
        loss = row["train_loss"] if evaluated else history.loss_sum / history.loss_steps
        parts.append(f"loss {loss:.4f}")
    if evaluated:
        main = trainer.steps.main_metric
        parts.append(
            f"validation {named_metric(main, row[f'valid_{main}'])} "
            f"(best {trainer.best:.4f} at step {history.best_step})"
        )
    parts.append(f"{history.letters / seconds:,.0f} {trainer.data.corpus.alphabet.unit}/s")
    if left := seconds / history.step * (max_steps - history.step):
        parts.append(f"at most {duration(left)} left")
    return " | ".join(parts)
