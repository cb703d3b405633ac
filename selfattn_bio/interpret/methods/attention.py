"""Proposals: where attention goes. Measured to be the worst explanations there are (docs/interpretation.md), and labelled so.

Hides: batches. The weights are walked tile by tile (`interpret.readout`), long sequences and sparse patterns too.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.data.batches import pad_letters
from selfattn_bio.interpret.methods.base import Letters, Proposal, Scores
from selfattn_bio.interpret.readout import AttentionReading, read_letters
from selfattn_bio.interpret.relevance import backward_batches
from selfattn_bio.interpret.targets import Target
from selfattn_bio.scoring.scorer import Scorer


class _Read(Proposal):
    """A form that is read of the weights."""

    by_gradient: ClassVar[bool] = False

    @abstractmethod
    def _of(self, reading: AttentionReading) -> NDArray[np.float32]:
        """(B, L)."""

    def received(self, scorer: Scorer, letters: Sequence[Letters], target: Target) -> list[Scores]:
        """As `Proposal.received`."""
        found: list[Scores] = []
        for batch in backward_batches(letters):
            padded = pad_letters(list(letters[batch]))
            rows = self._of(read_letters(scorer, padded, [""] * len(padded), target if self.by_gradient else None))
            found += [row[: len(sequence)] for row, sequence in zip(rows, letters[batch], strict=True)]
        return found


@dataclass(frozen=True)
class Received(_Read):
    """Raw attention received, the mean over all layers and heads; the target has no part in it."""

    name: ClassVar[str] = "received"

    def _of(self, reading: AttentionReading) -> NDArray[np.float32]:
        return reading.received()


@dataclass(frozen=True)
class Rollout(_Read):
    """Attention followed through the layers; the target has no part in it. Source: Abnar and Zuidema 2020."""

    name: ClassVar[str] = "rollout"

    def _of(self, reading: AttentionReading) -> NDArray[np.float32]:
        return reading.rollout()


@dataclass(frozen=True)
class ValueRollout(_Read):
    """Rollout of weights times the norms of what they take; the target has no part in it. Source: Kobayashi et al. 2020."""

    name: ClassVar[str] = "value_rollout"

    def _of(self, reading: AttentionReading) -> NDArray[np.float32]:
        return reading.value_rollout()


@dataclass(frozen=True)
class GradientRollout(_Read):
    """Rollout of weights times their gradients where those are positive. Source: Chefer et al. 2021."""

    name: ClassVar[str] = "gradient_rollout"
    by_gradient: ClassVar[bool] = True

    def _of(self, reading: AttentionReading) -> NDArray[np.float32]:
        return reading.gradient_rollout()
