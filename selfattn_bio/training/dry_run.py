"""Time the first batches of a training: choose its CPU threads, or measure memory and time.

More threads pay only if batches are large: small ones spend their time waiting for the slowest
thread, which takes the cores from other trainings.
"""

from __future__ import annotations

import copy
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
from selfattn_bio.training.memory import peak_mb, reset_peak
from selfattn_bio.training.messages import report_start
from selfattn_bio.training.resume import CheckpointFolder, checkpoints_of
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
    name: str,
    members: int,
) -> DryRun:
    """Take steps with the longest records, evaluate, and save a checkpoint in a temporary folder.

    Parameters
    ----------
    run, corpus, split_path, threads, name
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
        trainer = Trainer(run, corpus, split_path, output, name)
        trainer.history.threads = choose_threads(trainer, threads)
        torch.set_num_threads(trainer.history.threads)
        report_start(trainer)
        data, stream, training = trainer.data, trainer.steps.stream, trainer.data.run.training
        order = LongestFirst(stream.windows.sampled_lengths(), training.batch_size, training.seed)
        trainer.steps.stream = Stream(data.run, corpus, stream.split, order)
        writes = trainer.fabric.is_global_zero
        with CheckpointFolder(checkpoints_of(output), "dry-run", writes=writes) as checkpoints:
            _clock(trainer.take_step)  # the first step is slower
            step = sum(_clock(trainer.take_step) for _ in range(STEPS - 1)) / (STEPS - 1)
            evaluation = _clock(trainer.evaluate)
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


def _clock(work: Callable[[], object]) -> float:
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


MIN_EFFICIENCY = 0.75  # least speed of n threads, as a fraction of n times that of one thread
ROUNDS = 3  # timed batches for each number; the fastest counts


def choose_threads(trainer: Trainer, most: int) -> int:
    """Return the largest number of threads up to `most` that a training uses well.

    A copy of the network computes the gradients of the first batch, so that the training itself
    does not change. All processes must call this, and get the answer of the first.

    Parameters
    ----------
    trainer
        A training before its first step.
    most
        Largest number, at least 1.
    """
    if most == 1 or trainer.fabric.device.type != "cpu":
        return most
    compute = _first_batch(trainer)
    before = torch.get_num_threads()
    try:
        chosen = best_number(most, lambda number: _seconds(compute, number))
    finally:
        torch.set_num_threads(before)
    return int(trainer.fabric.broadcast(chosen))


def best_number(most: int, seconds: Callable[[int], float]) -> int:
    """Return the largest number of threads whose speed is at least `MIN_EFFICIENCY` of the ideal.

    The numbers are 1, 2, 4, ... and `most`. The first that is too slow ends the search.

    Parameters
    ----------
    most
        Largest number, at least 1.
    seconds
        Returns the time of the same work with a number of threads.
    """
    single, chosen = seconds(1), 1
    while chosen < most:
        number = min(2 * chosen, most)
        if single / seconds(number) < MIN_EFFICIENCY * number:
            break
        chosen = number
    return chosen


def _first_batch(trainer: Trainer) -> Callable[[], object]:
    """Return a function that computes the gradients of the first batch in a copied network."""
    steps, network = trainer.steps, copy.deepcopy(trainer.bare)
    batch = steps.first_batch()
    weights = [weight for weight in network.parameters() if weight.requires_grad]

    def compute() -> None:
        with trainer.fabric.autocast():
            loss = steps.loss.sum(network(batch.tokens.ids), batch.targets)
        torch.autograd.grad(loss, weights, allow_unused=True)

    return compute


def _seconds(compute: Callable[[], object], threads: int) -> float:
    """Return the clock time of the fastest round with a number of threads, after a warm-up."""
    torch.set_num_threads(threads)
    return min([_clock(compute) for _ in range(ROUNDS + 1)][1:])
