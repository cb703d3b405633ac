"""Early exits: a record leaves the encoder at the first block after which the head is confident.

In training the head reads the output of every block, and each of these outputs enters the loss like
the output of a member. In scoring, a record leaves after the first block at which its confidence
reaches `threshold`. All exits share the final norm and the head, so a model with exits has the same
number of weights as one without.

References
----------
Teerapittayanon et al. 2016 (BranchyNet). Schuster et al. 2022 (CALM) for one head for all exits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from selfattn_bio.attention.mask import AttentionMask
from selfattn_bio.model.encoder import Encoder

Read = Callable[[Tensor, Tensor], Tensor]  # applies the head: (B, L, D) and mask (B, L) -> (B, C)
Readings = tuple[Tensor, ...]  # output of the head after each block, (B, C) each

THRESHOLDS = tuple(1 - 0.5 * 0.9**i for i in range(61))  # candidates, from 0.5 to 0.9991


class LastLayer(nn.Module):
    """Pass every record through all blocks."""

    def forward(self, encoder: Encoder, read: Read, x: Tensor, mask: Tensor) -> Tensor:
        """Map x (B, L, D) and mask (B, L) to (B, C)."""
        return read(encoder(x, mask), mask)

    def depths(self, encoder: Encoder, read: Read, x: Tensor, mask: Tensor) -> Tensor:
        """Return the number of blocks that each record passes, (B,)."""
        return torch.full((len(x),), len(encoder.blocks))


class ConfidenceExits(nn.Module):
    """Let a record leave after the first block whose output is confident enough.

    `threshold` is a buffer, saved with the weights. It is chosen on the validation split at the end
    of training; until then it is infinite, so that no record leaves early.
    """

    threshold: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("threshold", torch.tensor(torch.inf))

    def forward(self, encoder: Encoder, read: Read, x: Tensor, mask: Tensor) -> Tensor | Readings:
        """Map x (B, L, D) and mask (B, L) to (B, C); in training, one (B, C) per exit."""
        return (
            self.readings(encoder, read, x, mask)
            if self.training
            else self._left(encoder, read, x, mask)[0]
        )

    def readings(self, encoder: Encoder, read: Read, x: Tensor, mask: Tensor) -> Readings:
        """Return the output of the head after each block, (B, C) each."""
        return tuple(read(encoder.norm(output), mask) for output in encoder.block_outputs(x, mask))

    def depths(self, encoder: Encoder, read: Read, x: Tensor, mask: Tensor) -> Tensor:
        """Return the number of blocks that each record passes, (B,)."""
        return self._left(encoder, read, x, mask)[1]

    def _left(self, encoder: Encoder, read: Read, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return outputs (B, C) and depths (B,); records that left are not computed further."""
        x, rows = encoder.place(x), torch.arange(len(x), device=x.device)
        shared = AttentionMask(mask)
        outputs, depths, order = [], [], []
        for depth in range(1, max(1, len(encoder.blocks)) + 1):
            # an empty slice if the encoder was pruned to no blocks
            for block in encoder.blocks[depth - 1 : depth]:
                x = block(x, shared)
            output = read(encoder.norm(x), shared.tokens)
            leaves = (
                confidence(output) >= self.threshold
                if depth < len(encoder.blocks)
                else torch.ones_like(rows, dtype=torch.bool)
            )
            outputs.append(output[leaves])
            order.append(rows[leaves])
            depths.append(torch.full_like(order[-1], min(depth, len(encoder.blocks))))
            x, shared, rows = x[~leaves], shared.select(~leaves), rows[~leaves]
            if not len(rows):
                break
        back = torch.cat(order).argsort()
        return torch.cat(outputs)[back], torch.cat(depths)[back]


def confidence(outputs: Tensor) -> Tensor:
    """Return the probability of the predicted class, (...).

    `outputs` (..., C) are the logits of the classes. With C = 1 there are two classes, and the
    output is the logit of label 1.
    """
    if outputs.shape[-1] == 1:
        return outputs[..., 0].abs().sigmoid()
    return outputs.softmax(-1).amax(-1)


def settled(readings: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Return the output at which each record leaves, and how many blocks it passed.

    This is the first output with a confidence of at least `threshold`, or the last one. Maps
    readings (..., E, C), one per block, to outputs (..., C) and numbers of blocks (...).
    """
    sure = confidence(readings) >= threshold
    sure[..., -1] = True
    depth = sure.int().argmax(-1)
    return readings.take_along_dim(depth[..., None, None], -2).squeeze(-2), depth + 1


@dataclass(frozen=True)
class Choice:
    """A threshold and its results on the records it was chosen on.

    Attributes
    ----------
    threshold
        Confidence at which a record leaves.
    worth, worth_of_all_layers
        Quality of the outputs with this threshold, and of those of the last block.
    mean_layers
        Number of blocks that a record passes, averaged over records and members.
    """

    threshold: float
    worth: float
    worth_of_all_layers: float
    mean_layers: float


def choose_exits(readings: Tensor, worth: Callable[[Tensor], float], drop: float) -> Choice:
    """Choose the lowest threshold that lowers the quality by at most `drop`.

    THRESHOLDS are tried from the highest down, until one lowers it by more than `drop`. If the
    highest already does, the threshold is infinite.

    Parameters
    ----------
    readings
        Outputs of n records by member and block, (n, M, E, C).
    worth
        Function from outputs (n, C) to their quality; higher is better.
    drop
        Allowed decrease compared with the quality of the last block.
    """
    layers = readings.shape[2]
    full = worth(readings[:, :, -1].mean(1))
    choice = Choice(float("inf"), full, full, float(layers))
    for threshold in reversed(THRESHOLDS):
        outputs, depths = settled(readings, threshold)
        value = worth(outputs.mean(1))
        if not value >= full - drop:
            break
        choice = Choice(threshold, value, full, float(depths.double().mean()))
    return choice


@contextmanager
def through_all_layers(network: nn.Module) -> Iterator[None]:
    """Disable early exits inside the `with` block."""
    exits = [module for module in network.modules() if isinstance(module, ConfidenceExits)]
    before = [module.threshold for module in exits]
    try:
        for module in exits:
            module.threshold = torch.full_like(module.threshold, torch.inf)
        yield
    finally:
        for module, threshold in zip(exits, before, strict=True):
            module.threshold = threshold
