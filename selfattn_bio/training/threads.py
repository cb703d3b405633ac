"""Choose the number of CPU threads of a training by timing its own batches.

Used by `training.loop`. More threads pay only if batches are large: small ones spend their time
waiting for the slowest thread, which takes the cores from other trainings.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable

import torch

from selfattn_bio.training.trainer import Trainer

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
    times = []
    for _ in range(ROUNDS + 1):
        start = time.perf_counter()
        compute()
        times.append(time.perf_counter() - start)
    return min(times[1:])
