"""Read attention weights, which show where a model attends but explain nothing.

They were the least accurate methods in our comparison (docs/interpretation.md) and are labelled
accordingly. Weights are read in tiles (`interpret.readout`), so long sequences and sparse patterns
work.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.data.batches import pad_letters
from selfattn_bio.interpret.attribution import backward_batches
from selfattn_bio.interpret.capture import read_letters
from selfattn_bio.interpret.methods.base import AttentionMethod, Letters, Scores
from selfattn_bio.interpret.readout import AttentionReading
from selfattn_bio.interpret.targets import Target
from selfattn_bio.scoring.scorer import Scorer


class _Read(AttentionMethod):
    """Method that reads attention weights."""

    by_gradient: ClassVar[bool] = False

    @abstractmethod
    def _of(self, reading: AttentionReading) -> NDArray[np.float32]:
        """Return scores (B, L)."""

    def received(self, scorer: Scorer, letters: Sequence[Letters], target: Target) -> list[Scores]:
        found: list[Scores] = []
        for batch in backward_batches(letters):
            padded = pad_letters(list(letters[batch]))
            rows = self._of(
                read_letters(
                    scorer, padded, [""] * len(padded), target if self.by_gradient else None
                )
            )
            found += [
                row[: len(sequence)] for row, sequence in zip(rows, letters[batch], strict=True)
            ]
        return found


@dataclass(frozen=True)
class Received(_Read):
    """Raw attention received, averaged over layers and heads. The target is ignored."""

    name: ClassVar[str] = "received"

    def _of(self, reading: AttentionReading) -> NDArray[np.float32]:
        return reading.received()


@dataclass(frozen=True)
class Rollout(_Read):
    """Attention rollout through the layers. The target is ignored.

    References
    ----------
    Abnar and Zuidema 2020.
    """

    name: ClassVar[str] = "rollout"

    def _of(self, reading: AttentionReading) -> NDArray[np.float32]:
        return reading.rollout()


@dataclass(frozen=True)
class ValueRollout(_Read):
    """Attention rollout with weights scaled by the norms of the values. The target is ignored.

    References
    ----------
    Kobayashi et al. 2020.
    """

    name: ClassVar[str] = "value_rollout"

    def _of(self, reading: AttentionReading) -> NDArray[np.float32]:
        return reading.value_rollout()


@dataclass(frozen=True)
class GradientRollout(_Read):
    """Attention rollout of weights times gradients, positive products only.

    References
    ----------
    Chefer et al. 2021.
    """

    name: ClassVar[str] = "gradient_rollout"
    by_gradient: ClassVar[bool] = True

    def _of(self, reading: AttentionReading) -> NDArray[np.float32]:
        return reading.gradient_rollout()
