"""Depth by the input: the head reads the encoder after each block, and a record that it is sure of goes no further.

Hides: which records of a batch are still in it. In training the head is read after every block, and each reading counts as a member's
output does in the loss; at scoring a record leaves at the first block after which its confidence reaches `threshold`. Last norm and head
are shared by all exits: a model with exits has the weights of one without.

Source: Teerapittayanon et al. 2016 (BranchyNet); one head for all exits as in Schuster et al. 2022 (CALM).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from selfattn_bio import config
from selfattn_bio.model.encoder import Encoder

Read = Callable[[Tensor, Tensor], Tensor]  # what the head says of (B, L, D) and its mask (B, L): (B, C)
Readings = tuple[Tensor, ...]

THRESHOLDS = tuple(1 - 0.5 * 0.9**i for i in range(61))  # confidences, .5 to .9991


class LastLayer(nn.Module):
    """Every record goes through all blocks."""

    def forward(self, encoder: Encoder, read: Read, x: Tensor, mask: Tensor) -> Tensor:
        """x (B, L, D), mask (B, L) -> (B, C)."""
        return read(encoder(x, mask), mask)

    def depths(self, encoder: Encoder, read: Read, x: Tensor, mask: Tensor) -> Tensor:
        """(B,) blocks that each record goes through."""
        return torch.full((len(x),), len(encoder.blocks))


class ConfidenceExits(nn.Module):
    """A record leaves after the first block whose reading is sure enough.

    `threshold` is a buffer of the model folder, chosen on valid at the end of the training; until then no confidence reaches it.
    """

    threshold: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("threshold", torch.tensor(torch.inf))

    def forward(self, encoder: Encoder, read: Read, x: Tensor, mask: Tensor) -> Tensor | Readings:
        """x (B, L, D), mask (B, L) -> (B, C), or in training that of each exit."""
        return self.readings(encoder, read, x, mask) if self.training else self._left(encoder, read, x, mask)[0]

    def readings(self, encoder: Encoder, read: Read, x: Tensor, mask: Tensor) -> Readings:
        """What the head says after each block, (B, C) each."""
        return tuple(read(encoder.norm(each), mask) for each in encoder.each(x, mask))

    def depths(self, encoder: Encoder, read: Read, x: Tensor, mask: Tensor) -> Tensor:
        """(B,) blocks that each record goes through."""
        return self._left(encoder, read, x, mask)[1]

    def _left(self, encoder: Encoder, read: Read, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs (B, C) and depths (B,); what left is not computed on."""
        x, rows = encoder.place(x), torch.arange(len(x), device=x.device)
        outputs, depths, order = [], [], []
        for depth in range(1, max(1, len(encoder.blocks)) + 1):
            for block in encoder.blocks[depth - 1 : depth]:  # none, of an encoder that was pruned to nothing
                x = block(x, mask)
            said = read(encoder.norm(x), mask)
            leaves = confidence(said) >= self.threshold if depth < len(encoder.blocks) else torch.ones_like(rows, dtype=torch.bool)
            outputs.append(said[leaves])
            order.append(rows[leaves])
            depths.append(torch.full_like(order[-1], min(depth, len(encoder.blocks))))
            x, mask, rows = x[~leaves], mask[~leaves], rows[~leaves]
            if not len(rows):
                break
        back = torch.cat(order).argsort()
        return torch.cat(outputs)[back], torch.cat(depths)[back]


def confidence(outputs: Tensor) -> Tensor:
    """Logits (..., C) of classes, or one of label 1 -> (...) the probability of what they call."""
    if outputs.shape[-1] == 1:
        return outputs[..., 0].abs().sigmoid()
    return outputs.softmax(-1).amax(-1)


def settled(readings: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Of readings (..., E, C) after each block the first that reaches `threshold`, or the last: (..., C), and how many blocks, (...)."""
    sure = confidence(readings) >= threshold
    sure[..., -1] = True
    depth = sure.int().argmax(-1)
    return readings.take_along_dim(depth[..., None, None], -2).squeeze(-2), depth + 1


@dataclass(frozen=True)
class Choice:
    """A threshold, and what it comes to on the records that it was chosen on."""

    threshold: float
    worth: float
    worth_of_all_layers: float
    mean_layers: float


def choose_exits(readings: Tensor, worth: Callable[[Tensor], float], drop: float) -> Choice:
    """The lowest of THRESHOLDS down to which no higher one costs more than `drop`; infinity where the highest does.

    Parameters
    ----------
    readings
        (n, M, E, C) of n records, by member and block.
    worth
        How good outputs (n, C) are, higher is better.
    drop
        By which the worth may be lower than that of the last block.
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
    """Let no record leave early inside the block."""
    exits = [module for module in network.modules() if isinstance(module, ConfidenceExits)]
    before = [module.threshold for module in exits]
    try:
        for module in exits:
            module.threshold = torch.full_like(module.threshold, torch.inf)
        yield
    finally:
        for module, threshold in zip(exits, before, strict=True):
            module.threshold = threshold


def build_exits(section: config.Exits) -> LastLayer | ConfidenceExits:
    """The exits that the run file names."""
    return ConfidenceExits() if isinstance(section, config.ConfidenceExits) else LastLayer()
