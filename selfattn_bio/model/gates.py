"""Gates on parts of the encoder: each is learned open or closed, and what is closed can be cut out afterwards.

Hides: the hard concrete distribution. The encoder gates its heads and feed-forwards, the network asks how much is open, `model.pruning`
what stays. A gate is drawn for each sequence in training and is one number after it: a constant scale, which relevance passes as any other.

Source: Louizos et al. 2018, learning sparse neural networks through L0 regularization; of heads Voita et al. 2019.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from selfattn_bio import config

TEMPERATURE, LOW, HIGH = 2 / 3, -0.1, 1.1  # of the concrete distribution, and the interval that it is stretched to (Louizos et al. 2018)
START = 2.0  # log-odds of an open gate at first
RATE = 10.0  # log-odds to a unit of the weight: Adam moves a weight by the learning rate a step, and a gate has to move by 5 in a training


class HardConcrete(nn.Module):
    """`num` gates in [0, 1], of which some are 0 and some are 1 exactly.

    Attributes
    ----------
    cost
        Weights of the network that go where one gate closes.
    """

    def __init__(self, num: int, cost: float) -> None:
        super().__init__()
        self.cost = cost
        self.weight = nn.Parameter(torch.zeros(num))

    @property
    def log_odds(self) -> Tensor:
        """(num,)."""
        return START + RATE * self.weight

    def forward(self, x: Tensor) -> Tensor:
        """x (B, num R, ...) -> the same, each R neighbours scaled by their gate: heads of queries in groups, or all tokens by one."""
        gate = self._drawn(len(x)) if self.training else self.values().expand(len(x), -1)  # (B, num)
        gate = gate.to(x.dtype).repeat_interleave(x.shape[1] // gate.shape[1], dim=1)
        return x * gate.reshape(*gate.shape, *[1] * (x.ndim - 2))

    def values(self) -> Tensor:
        """(num,) what each gate is after training; 0 is closed."""
        return _stretched(self.log_odds.sigmoid())

    def chance_open(self) -> Tensor:
        """(num,) the chance that a drawn gate is not 0, which has a gradient where the gate itself has none."""
        return (self.log_odds - TEMPERATURE * math.log(-LOW / HIGH)).sigmoid()

    def _drawn(self, count: int) -> Tensor:
        even = torch.rand(count, len(self.weight), device=self.weight.device).clamp(1e-6, 1 - 1e-6)
        return _stretched(((even.logit() + self.log_odds) / TEMPERATURE).sigmoid())


def _stretched(x: Tensor) -> Tensor:
    return (x * (HIGH - LOW) + LOW).clamp(0, 1)


def build_gates(section: config.Gates, num: int, cost: float) -> nn.Module:
    """The gates that the run file names, `num` of them, each of `cost` weights; of a kind that learns none nothing, under the same name."""
    return HardConcrete(num, cost) if isinstance(section, config.HardConcreteGates) else nn.Identity()


def expected_open(network: nn.Module) -> Tensor | None:
    """The expected share of the gated weights that is open, the mean over the members; None without gates."""
    gates = [module for module in network.modules() if isinstance(module, HardConcrete)]
    if not gates:
        return None
    total = sum(gate.cost * len(gate.weight) for gate in gates)
    return torch.stack([gate.cost / total * gate.chance_open().sum() for gate in gates]).sum()
