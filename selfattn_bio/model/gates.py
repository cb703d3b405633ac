"""Learned gates on attention heads and feed-forwards of the encoder.

Training opens or closes each gate; closed parts can be removed afterwards (`model.pruning`). In
training the gate of each sequence is sampled from the hard concrete distribution. In evaluation
mode it is one constant scale factor, which attribution methods treat as any other linear operation.

References
----------
Louizos et al. 2018, Learning sparse neural networks through L0 regularization. Voita et al. 2019
for gates on heads.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

# concrete distribution: temperature and the interval it is stretched to (Louizos et al. 2018)
TEMPERATURE, LOW, HIGH = 2 / 3, -0.1, 1.1
START = 2.0  # initial log-odds of an open gate
# Log-odds per unit of the weight. Adam moves a weight by about the learning rate per step, and a
# gate must be able to move by 5 log-odds within one training.
RATE = 10.0


class HardConcrete(nn.Module):
    """Scale parts of a tensor by learned gates in [0, 1]; some become exactly 0 or exactly 1.

    Parameters
    ----------
    num
        Number of gates.
    cost
        Number of network weights that are removed when one gate closes.
    """

    def __init__(self, num: int, cost: float) -> None:
        super().__init__()
        self.cost = cost
        self.weight = nn.Parameter(torch.zeros(num))

    @property
    def log_odds(self) -> Tensor:
        """Return the log-odds of each gate, (num,)."""
        return START + RATE * self.weight

    def forward(self, x: Tensor) -> Tensor:
        """Scale x (B, num R, ...); each gate scales R consecutive entries of dimension 1.

        For heads, these are the R query heads that share keys and values. A feed-forward has a
        single gate for all tokens.
        """
        # (B, num)
        gate = self._sampled(len(x)) if self.training else self.values().expand(len(x), -1)
        gate = gate.to(x.dtype).repeat_interleave(x.shape[1] // gate.shape[1], dim=1)
        return x * gate.reshape(*gate.shape, *[1] * (x.ndim - 2))

    def values(self) -> Tensor:
        """Return the gate values after training, (num,); 0 means closed."""
        return _stretched(self.log_odds.sigmoid())

    def chance_open(self) -> Tensor:
        """Return the probability that a sampled gate is not 0, (num,).

        It has a gradient where the gate itself has none.
        """
        return (self.log_odds - TEMPERATURE * math.log(-LOW / HIGH)).sigmoid()

    def _sampled(self, count: int) -> Tensor:
        even = torch.rand(count, len(self.weight), device=self.weight.device).clamp(1e-6, 1 - 1e-6)
        return _stretched(((even.logit() + self.log_odds) / TEMPERATURE).sigmoid())


def _stretched(x: Tensor) -> Tensor:
    return (x * (HIGH - LOW) + LOW).clamp(0, 1)


def expected_open(network: nn.Module) -> Tensor | None:
    """Return the expected fraction of gated weights that are open, as a mean over the members.

    Returns None if the network has no gates.
    """
    gates = [module for module in network.modules() if isinstance(module, HardConcrete)]
    if not gates:
        return None
    total = sum(gate.cost * len(gate.weight) for gate in gates)
    return torch.stack([gate.cost / total * gate.chance_open().sum() for gate in gates]).sum()
