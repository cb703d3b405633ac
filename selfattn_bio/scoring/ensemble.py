"""Average the outputs of several models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from selfattn_bio.config import RunFile
from selfattn_bio.evaluation.calibration import Calibration
from selfattn_bio.model.one_hot import MeanNetwork
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
    def calibration(self) -> Calibration:
        """Return the mean calibration of the members."""
        return Calibration.mean([member.calibration for member in self.members])

    def as_module(self) -> MeanNetwork:
        """Return a module that reads one-hot sequences: the mean of `Scorer.as_module`."""
        return MeanNetwork(member.as_module() for member in self.members)
