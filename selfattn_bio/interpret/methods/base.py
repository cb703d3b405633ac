"""What a method of interpretation is. Each is a small frozen class, told apart by `name`, which is its `kind` in a run file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.interpret.relevance import importance
from selfattn_bio.interpret.targets import Target
from selfattn_bio.scoring.scorer import Scorer

Letters = NDArray[np.uint8]
Scores = NDArray[np.float32]


class Method(ABC):
    """A way to say what the letters of sequences mean to a model.

    Attributes
    ----------
    name
        The kind in a run file.
    proposal
        True of the forms of attention: where to look, no explanation; without scores of letters that do not stand there.
    """

    name: ClassVar[str]
    proposal: ClassVar[bool] = False

    @abstractmethod
    def relevance(self, scorer: Scorer, letters: Sequence[Letters], target: Target) -> list[Scores]:
        """How much each letter matters, one (L,) array a sequence, never negative."""


class Scoring(Method):
    """A method with hypothetical scores: one for each letter that could stand at a position."""

    @abstractmethod
    def scores(self, scorer: Scorer, letters: Sequence[Letters], target: Target) -> list[Scores]:
        """Hypothetical scores.

        Parameters
        ----------
        scorer
            The model.
        letters
            (L,) ASCII, upper case, of each sequence; L >= k, lengths may differ.
        target
            What is explained; `Target.check` passes.

        Returns
        -------
        Of each sequence (L, A) in units of the output (logits): what the letter does there, beside the mean over the letters, which is 0.
        0 where a letter cannot be scored, as an ambiguous one.
        """

    def relevance(self, scorer: Scorer, letters: Sequence[Letters], target: Target) -> list[Scores]:
        """The L2 norm over the scores of a position."""
        return [importance(scores) for scores in self.scores(scorer, letters, target)]


class Proposal(Method):
    """A form of attention."""

    proposal: ClassVar[bool] = True

    @abstractmethod
    def received(self, scorer: Scorer, letters: Sequence[Letters], target: Target) -> list[Scores]:
        """What each letter receives, one (L,) array a sequence; arguments as of `Scoring.scores`.

        Raises
        ------
        ValueError
            If the network has no attention, as the CNN.
        """

    def relevance(self, scorer: Scorer, letters: Sequence[Letters], target: Target) -> list[Scores]:
        """What it receives."""
        return self.received(scorer, letters, target)
