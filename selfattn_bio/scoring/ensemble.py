"""Average the outputs of several models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from selfattn_bio.config import RunFile
from selfattn_bio.objectives import Objective
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.sequence.alphabet import Alphabet
from selfattn_bio.sequence.policy import SequencePolicy


@dataclass(frozen=True)
class Ensemble:
    """Average the outputs of several models, such as the members of a run with `seeds`.

    Attributes
    ----------
    members
        Two or more models with the same objective and the same handling of sequences (alphabet,
        soft mask, gaps).
    """

    members: tuple[Scorer, ...]

    @property
    def run(self) -> RunFile:
        """Return the run file of the first member."""
        return self.members[0].run

    @property
    def objective(self) -> Objective[Any]:
        """Return the objective of the members."""
        return self.members[0].objective

    @property
    def alphabet(self) -> Alphabet:
        """Return the alphabet of the members."""
        return self.members[0].alphabet

    @property
    def policy(self) -> SequencePolicy:
        """Return how sequences are read, which is the same for all members."""
        return self.members[0].policy

    @property
    def both_strands(self) -> bool:
        """Return whether the scores of all members are means over both strands."""
        return all(member.both_strands for member in self.members)

    @property
    def temperature(self) -> float:
        """Return the mean temperature of the members.

        A temperature for the mean logit cannot be fitted here, because the validation records are
        not available when sequences are scored.
        """
        return float(np.mean([member.temperature for member in self.members]))

    @property
    def threshold(self) -> float:
        """Return the mean threshold of the members."""
        return float(np.mean([member.threshold for member in self.members]))

    def probabilities(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return probabilities of label 1 from the mean logits."""
        return expit(logits / self.temperature)
