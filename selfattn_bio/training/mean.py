"""Keep the running mean of the weights of a network in training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from selfattn_bio.training.hardware import gather, shard_like


class RunningMean:
    """Follow the weights of a network.

    If the network is sharded, each process moves only the means of its part of the weights, so that
    a step needs no communication. Call `gather` before `average` is used.

    Parameters
    ----------
    network
        Network that is trained.
    average
        Complete copy of it, which receives the means and the buffers.

    Attributes
    ----------
    average
        The copy, complete in every process and up to date after `gather`.
    """

    def __init__(self, network: nn.Module, average: nn.Module) -> None:
        self.average, self._weights = average, list(network.parameters())
        pairs = zip(average.parameters(), self._weights, strict=True)
        with torch.no_grad():
            self._means = [
                shard_like(mean.detach(), weight) if isinstance(weight, DTensor) else mean
                for mean, weight in pairs
            ]
        self._buffers = list(zip(average.buffers(), network.buffers(), strict=True))

    @torch.no_grad()
    def move(self, step: int, decay: float) -> None:
        """Move the means towards the weights after `step`, counted from 1; copy the buffers.

        A mean becomes decay x mean + (1 - decay) x weight. The decay is smaller in early steps, so
        that the means do not retain the random initial weights.
        """
        decay = min(decay, (step - 1) / (step + 8))
        torch._foreach_lerp_(_own_parts(self._means), _own_parts(self._weights), 1 - decay)
        for copied, buffer in self._buffers:
            copied.copy_(buffer)

    @torch.no_grad()
    def gather(self) -> None:
        """Bring `average` up to date in every process; all processes must call this."""
        for mean, complete in zip(self._means, self.average.parameters(), strict=True):
            if isinstance(mean, DTensor):
                complete.copy_(gather(mean))


def _own_parts(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return this process's parts of tensors that may be sharded."""
    return [each.to_local() if isinstance(each, DTensor) else each for each in tensors]
