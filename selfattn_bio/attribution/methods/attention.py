"""Read attention weights, which show where a model attends but explain nothing.

They were the least accurate methods in our comparison (docs/interpretation.md) and are labelled
accordingly. Weights are read in tiles (`readout`), so long sequences and sparse patterns work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.attribution.capture import read_letters
from selfattn_bio.attribution.methods.base import Letters, Method, Scores
from selfattn_bio.attribution.rules import by_batches
from selfattn_bio.attribution.targets import Target
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.sequence.kmers import pad_letters


class AttentionMethod(Method):
    """Method that reads attention weights, by the method of `AttentionReading` of its name.

    It shows where the model attends but does not explain its output, and does not score
    substitutions.
    """

    by_gradient: ClassVar[bool] = False  # otherwise the target is ignored

    def attribution(
        self, scorer: Scorer, letters: Sequence[Letters], target: Target
    ) -> list[Scores]:
        def read(batch: Sequence[Letters]) -> NDArray[np.float32]:
            of_target = target if self.by_gradient else None
            padded = pad_letters(list(batch))
            reading = read_letters(scorer, padded, [""] * len(padded), of_target)
            return getattr(reading, self.name)()

        return by_batches(letters, read)


@dataclass(frozen=True)
class Received(AttentionMethod):
    """Raw attention received, averaged over layers and heads."""

    name: ClassVar[str] = "received"


@dataclass(frozen=True)
class Rollout(AttentionMethod):
    """Attention rollout through the layers (Abnar and Zuidema 2020)."""

    name: ClassVar[str] = "rollout"


@dataclass(frozen=True)
class ValueRollout(AttentionMethod):
    """Attention rollout with weights scaled by the norms of values (Kobayashi et al. 2020)."""

    name: ClassVar[str] = "value_rollout"


@dataclass(frozen=True)
class GradientRollout(AttentionMethod):
    """Rollout of weights times gradients, positive products only (Chefer et al. 2021)."""

    name: ClassVar[str] = "gradient_rollout"
    by_gradient: ClassVar[bool] = True
