"""Differentially private steps: each record's gradient clipped, noise on their sum, and what was spent of the privacy budget.

Hides: Opacus, whose accountant says how much noise a budget needs and how much of it is spent; the secret that draws and noise come from;
what is written of a private run. The loop alone uses it.

Gradients are taken one record at a time. That is exact for whatever a network is made of (tables of T5, Shaw and Transformer-XL, learned
vectors, fused kernels, LoRA), and holds the memory of one record, where hooks or `vmap` know neither our kernels nor tables that all
records share (docs/privacy.md has the price). The sum over a batch is as Opacus' `GradSampleModule` and `DPOptimizer` have it, which
it was checked with where they know all layers.
"""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from selfattn_bio.config import PRIVATE_STEM, Privacy, RunFile
from selfattn_bio.data.poisson import NOISE, PoissonOrder
from selfattn_bio.errors import TrainingError
from selfattn_bio.training.hardware import seed_torch

ACCOUNTANT = "prv"  # numerical composition, Gopi et al. 2021: a bound from above, nearer than that of Renyi divergences
TOLERANCE = 0.01  # share of epsilon that the noise may leave unspent
BITS = 256
RECORDS = 2  # the stream of what a record draws, of the seed: that is no secret


class Private:
    """What a private run has beside a plain one.

    Parameters
    ----------
    run
        With a section [privacy].
    num_records
        Of train; how many they are is no secret.
    place
        For errors.

    Attributes
    ----------
    noise_multiplier
        Standard deviation of the noise in units of `max_grad_norm`, by which `max_steps` steps spend epsilon.
    secret
        What batches and noise are drawn from: new for each run, in its checkpoints and nowhere else. Whoever has it can take the noise out.

    Raises
    ------
    TrainingError
        If a batch has more records than there are, or delta is so large that it allows a record to be published.
    """

    def __init__(self, run: RunFile, num_records: int, place: str) -> None:
        from opacus.accountants import create_accountant  # a second that other runs need not wait

        assert run.privacy is not None
        self.section: Privacy = run.privacy
        training = run.training
        if training.batch_size >= num_records:
            message = f"training.batch_size must be < the {num_records:,} records of train with [privacy], got {training.batch_size}"
            raise TrainingError(message, place=place)
        if self.section.delta >= 1 / num_records:
            message = f"privacy.delta must be < 1 / records of train = {1 / num_records:.2g}, got {self.section.delta:.2g}"
            raise TrainingError(message, place=place, cure="A larger one would allow to publish a record as it is")
        self.num_records, self.batch_size, self.seed = num_records, training.batch_size, training.seed
        self.max_steps = training.max_steps
        self.secret = secrets.randbits(BITS)
        self.noise_multiplier = _noise_for(self.section, self.order.rate, training.max_steps)
        self.accountant = create_accountant(ACCOUNTANT)
        self._sums: list[Tensor] = []

    @property
    def order(self) -> PoissonOrder:
        """The batches, of the secret as it is now."""
        return PoissonOrder(self.num_records, self.batch_size, self.secret)

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds, so that a run that is taken up draws the same batches and the same noise, and spends no more."""
        return {"secret": f"{self.secret:x}", "history": self.accountant.history}

    def restore(self, state: dict[str, Any]) -> None:
        """Undo `state`."""
        self.secret = int(state["secret"], 16)
        self.accountant.history = [tuple(steps) for steps in state["history"]]

    # ------------------------------------------------------------------------------------------------------------- a step
    def seed_record(self, step: int, row: int) -> None:
        """Let dropout and what an objective hides depend on the record and not on those beside it, whose gradients it else would move."""
        seed_torch(self.seed, RECORDS, step, row)

    def add_record(self, network: nn.Module) -> None:
        """Take the gradients of one record out of the network, and add them to the sum, together no longer than `max_grad_norm`."""
        parameters = _trained(network)
        if not self._sums:
            self._sums = [torch.zeros_like(parameter) for parameter in parameters]
        squares = [parameter.grad.double().square().sum() for parameter in parameters if parameter.grad is not None]
        scale = (self.section.max_grad_norm / torch.stack(squares).sum().sqrt().clamp(min=1e-12)).clamp(max=1.0)
        for total, parameter in zip(self._sums, parameters, strict=True):
            if parameter.grad is not None:
                total.add_(parameter.grad * scale)
                parameter.grad = None

    def finish(self, network: nn.Module, step: int) -> float:
        """Noise on the sum, divided by the mean size of a batch: the gradients of the step. Returns their norm."""
        parameters = _trained(network)
        rng = np.random.default_rng((self.secret, NOISE, step))
        deviation = self.noise_multiplier * self.section.max_grad_norm
        sums = self._sums or [torch.zeros_like(parameter) for parameter in parameters]  # a batch of no record
        for total, parameter in zip(sums, parameters, strict=True):
            noise = torch.from_numpy(rng.standard_normal(tuple(parameter.shape))).to(total)
            parameter.grad = (total + noise * deviation) / self.batch_size
        self._sums = []
        self.accountant.step(noise_multiplier=self.noise_multiplier, sample_rate=self.order.rate)
        return float(torch.stack([parameter.grad.norm() for parameter in parameters if parameter.grad is not None]).norm())

    # -------------------------------------------------------------------------------------------------------------- words
    def spent(self) -> dict[str, Any]:
        """What the run spends, as provenance.json and metrics.json have it: all its steps, though `patience` ended it before.

        When it ended hangs on weights that hang on train, and a bound for so many steps holds where their number is fixed beforehand.
        """
        from opacus.accountants import create_accountant

        planned = create_accountant(ACCOUNTANT)
        planned.history = [(self.noise_multiplier, self.order.rate, self.max_steps)]
        with _narrow_orders():
            epsilon = float(planned.get_epsilon(self.section.delta))
        return {
            "epsilon": epsilon,
            "delta": self.section.delta,
            "epsilon_planned": self.section.epsilon,
            "max_grad_norm": self.section.max_grad_norm,
            "noise_multiplier": self.noise_multiplier,
            "sample_rate": self.order.rate,
            "steps": sum(steps for _, _, steps in self.accountant.history),
            "accountant": ACCOUNTANT,
        }


def check_layers(network: nn.Module, place: str) -> None:
    """Refuse layers in which a record's output depends on the records beside it.

    Raises
    ------
    TrainingError
        If there is one; the first is named.
    """
    for name, module in network.named_modules():
        if isinstance(module, _BatchNorm):
            message = f"layers must take each record by itself with [privacy], got {type(module).__name__} in {name!r}"
            raise TrainingError(message, place=place, cure=PRIVATE_STEM)


def _trained(network: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


def _noise_for(section: Privacy, rate: float, steps: int) -> float:
    from opacus.accountants.utils import get_noise_multiplier

    with _narrow_orders():
        return get_noise_multiplier(
            target_epsilon=section.epsilon,
            target_delta=section.delta,
            sample_rate=rate,
            steps=steps,
            accountant=ACCOUNTANT,
            epsilon_tolerance=TOLERANCE * section.epsilon,
        )


@contextmanager
def _narrow_orders() -> Iterator[None]:
    """Opacus warns that other orders of Renyi divergence might give a nearer bound; here they only say how wide a range is composed."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Optimal order is the (largest|smallest) alpha", category=UserWarning)
        yield
