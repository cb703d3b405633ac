"""Differentially private training: clipped gradients per record, noise, and the budget spent.

Opacus' accountant computes the noise that a budget requires and the budget that a run has spent.

Gradients are computed one record at a time. That is exact for any network (tables of T5, Shaw and
Transformer-XL, learned vectors, fused kernels, LoRA) and needs the memory of one record. Per-sample
hooks and `vmap` do not support our kernels, or tables that all records share. docs/privacy.md has
the cost. The sum over a batch is computed as in Opacus' `GradSampleModule` and `DPOptimizer`; the
results agree for networks whose layers Opacus supports.
"""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from selfattn_bio.config import PRIVATE_STEM
from selfattn_bio.data.batches import STREAM_NOISE, PoissonOrder
from selfattn_bio.errors import TrainingError
from selfattn_bio.extras import import_extra
from selfattn_bio.objectives.loss import Batch
from selfattn_bio.training.data import Stream
from selfattn_bio.training.hardware import seed_torch
from selfattn_bio.training.history import StepTotals
from selfattn_bio.training.steps import Steps

# numerical composition (Gopi et al. 2021): an upper bound, tighter than with Renyi divergences
ACCOUNTANT = "prv"
TOLERANCE = 0.01  # fraction of epsilon that the noise may leave unspent
BITS = 256
STREAM_RECORDS = 2  # random stream of the records; derived from the seed, which is not secret


class PrivateSteps(Steps):
    """Private training: each record's gradient is clipped, and noise is added to their sum.

    Parameters are those of `Steps`; the run file has a section [privacy].

    Attributes
    ----------
    noise_multiplier
        Standard deviation of the noise in units of `max_grad_norm`, with which `max_steps` steps
        spend epsilon.
    secret
        Random seed of batches and noise, new for each run and stored only in its checkpoints.
        Whoever has it can subtract the noise.

    Raises
    ------
    MissingPackageError
        If Opacus is not installed.
    TrainingError
        If there are several processes, a batch is not smaller than the training set, or delta is so
        large that it allows publishing a record; or as for `check_layers`.
    """

    shows_records: ClassVar[bool] = False

    def _prepare(self) -> None:
        # imported here because it is an extra, and takes about a second
        accountants = import_extra("opacus.accountants", "privacy", "[privacy]")
        run, num_records = self.data.run, len(self.data.train.rows)
        assert run.privacy is not None
        place, self.section = str(run.path or ""), run.privacy
        if (processes := self.fabric.world_size) > 1:
            message = f"[privacy] needs a single process, but {processes} were started"
            raise TrainingError(message, place=place, hint="Start it without torchrun")
        check_layers(self.network.module, place)
        if run.training.batch_size >= num_records:
            message = (
                f"with [privacy], training.batch_size ({run.training.batch_size}) must be less "
                f"than the number of training records ({num_records:,})"
            )
            raise TrainingError(message, place=place)
        if self.section.delta >= 1 / num_records:
            message = (
                f"privacy.delta = {self.section.delta:.2g} is too large: it must be less than 1 / "
                f"training records = {1 / num_records:.2g}"
            )
            hint = "A larger delta would allow publishing a record unchanged"
            raise TrainingError(message, place=place, hint=hint)
        self.training = run.training
        self.secret = secrets.randbits(BITS)
        self.order = PoissonOrder(num_records, self.training.batch_size, self.secret)
        self.noise_multiplier = _noise_for(
            self.section.epsilon, self.section.delta, self.order.rate, self.training.max_steps
        )
        self.accountant = accountants.create_accountant(ACCOUNTANT)
        self._sums: list[Tensor] = []

    def _build_stream(self) -> Stream:
        return Stream(self.data.run, self.data.corpus, self.data.train, self.order)

    # ------------ steps
    def add_gradients(self, step: int) -> StepTotals:
        """Accumulate the gradients of each record of a step, clipped one by one.

        The loss is the sum over the records of their mean losses. Letters and tokens are counted as
        if the batch had its mean size and its records were as long as the validation records. The
        true counts would reveal which records were sampled.
        """
        ((epoch, rows),) = self.stream.batches(step)
        loss = torch.zeros((), dtype=torch.float64, device=self.fabric.device)
        for row in rows:
            # Dropout and masking must depend only on the record. Otherwise they would depend on the
            # other records of the batch, and those would influence its gradient.
            seed_torch(self.training.seed, STREAM_RECORDS, step, int(self.data.train.rows[row]))
            batch, _ = self.batch(epoch, np.array([row]))
            if batch.num_targets:  # a record without targets changes nothing
                loss += self.backward(batch, 1.0, batch.num_targets)
                self._add_record()
        typical = round(self.data.lengths(self.data.valid).mean() * self.training.batch_size)
        return StepTotals(loss.item(), typical, typical)

    def first_batch(self) -> Batch:
        """Return a batch of the first record, because records are computed one by one."""
        return self.batch(0, np.zeros(1, np.int64))[0]

    def _add_record(self) -> None:
        """Clip the gradient of one record to `max_grad_norm` and move it into the sum."""
        trained = self._trained
        self._sums = self._sums or [torch.zeros_like(parameter) for parameter in trained]
        pairs = [
            (total, parameter)
            for total, parameter in zip(self._sums, trained, strict=True)
            if parameter.grad is not None
        ]
        squares = [parameter.grad.double().square().sum() for _, parameter in pairs]
        scale = (
            self.section.max_grad_norm / torch.stack(squares).sum().sqrt().clamp(min=1e-12)
        ).clamp(max=1.0)
        for total, parameter in pairs:
            total.add_(parameter.grad * scale)
            parameter.grad = None

    def finish_gradients(self, optimizer: torch.optim.Optimizer, step: int) -> float:
        """Set the gradients of a step to the noisy sum over its records, and return their norm.

        The sum is divided by the mean batch size. This spends a part of the budget.
        """
        rng = np.random.default_rng((self.secret, STREAM_NOISE, step))
        deviation = self.noise_multiplier * self.section.max_grad_norm
        trained = self._trained
        # a batch without records has no sums
        sums = self._sums or [torch.zeros_like(parameter) for parameter in trained]
        for total, parameter in zip(sums, trained, strict=True):
            noise = torch.from_numpy(rng.standard_normal(tuple(parameter.shape))).to(total)
            parameter.grad = (total + noise * deviation) / self.training.batch_size
        self._sums = []
        self.accountant.step(noise_multiplier=self.noise_multiplier, sample_rate=self.order.rate)
        return float(torch.stack([parameter.grad.norm() for parameter in trained]).norm())

    @property
    def _trained(self) -> list[Any]:
        return [each for each in self.network.module.parameters() if each.requires_grad]

    # ------------ messages, checkpoints and provenance
    def notes(self) -> list[str]:
        return [
            f"private: epsilon {self.section.epsilon:g} at delta {self.section.delta:g} "
            f"after {self.training.max_steps:,} steps; noise {self.noise_multiplier:.3g} x "
            f"max_grad_norm; each step samples a record with probability {self.order.rate:.3g}"
        ]

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint.

        With it, a resumed run samples the same batches and noise, and spends no extra budget.
        """
        return {"secret": f"{self.secret:x}", "history": self.accountant.history}

    def restore(self, state: dict[str, Any]) -> None:
        self.secret = int(state["secret"], 16)
        self.accountant.history = [tuple(steps) for steps in state["history"]]
        self.order = replace(self.order, secret=self.secret)
        self.stream = self._build_stream()

    def provenance(self) -> dict[str, Any]:
        """Return the privacy spent by the complete run.

        All `max_steps` count, even if `patience` ended the run earlier. The step at which it ends
        depends on weights that depend on the training data, and a bound for a number of steps holds
        only if the number was fixed in advance.
        """
        from opacus.accountants import create_accountant

        planned = create_accountant(ACCOUNTANT)
        planned.history = [(self.noise_multiplier, self.order.rate, self.training.max_steps)]
        with _narrow_orders():
            epsilon = float(planned.get_epsilon(self.section.delta))
        spent = {
            "epsilon": epsilon,
            "delta": self.section.delta,
            "epsilon_planned": self.section.epsilon,
            "max_grad_norm": self.section.max_grad_norm,
            "noise_multiplier": self.noise_multiplier,
            "sample_rate": self.order.rate,
            "steps": sum(steps for _, _, steps in self.accountant.history),
            "accountant": ACCOUNTANT,
        }
        return {"privacy": spent}


def check_layers(network: nn.Module, place: str) -> None:
    """Refuse layers in which the output of a record depends on other records of the batch.

    Raises
    ------
    TrainingError
        If there is such a layer; the message names the first.
    """
    for name, module in network.named_modules():
        if isinstance(module, _BatchNorm):
            message = (
                f"[privacy] does not support {type(module).__name__} ({name!r}), which combines "
                "the records of a batch"
            )
            raise TrainingError(message, place=place, hint=PRIVATE_STEM)


@cache  # a search of seconds, equal for all members and variants
def _noise_for(epsilon: float, delta: float, rate: float, steps: int) -> float:
    from opacus.accountants.utils import get_noise_multiplier

    with _narrow_orders():
        return get_noise_multiplier(
            target_epsilon=epsilon,
            target_delta=delta,
            sample_rate=rate,
            steps=steps,
            accountant=ACCOUNTANT,
            epsilon_tolerance=TOLERANCE * epsilon,
        )


@contextmanager
def _narrow_orders() -> Iterator[None]:
    """Silence Opacus' warning that other orders of Renyi divergence might give a tighter bound.

    Here the orders only determine the range over which the accountant composes numerically.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="Optimal order is the (largest|smallest) alpha", category=UserWarning
        )
        yield
