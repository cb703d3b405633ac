"""A saved baseline that answers like a trained model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.baselines import Baseline, load_baseline
from selfattn_bio.config import BinaryObjective
from selfattn_bio.errors import ArgumentError
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.sequence.alphabet import Alphabet
from selfattn_bio.sequence.spelling import Spelling


class BaselineScorer(Scorer):
    """A baseline that `evaluate` saved: `score_sequences` and `selfattn-bio score` accept it.

    It has logits, probabilities, temperature, threshold and slope as a `Scorer` has them. Whatever needs a network, such as `explain` and
    `embed`, raises `ArgumentError`.

    Parameters
    ----------
    baseline
        Fitted.
    folder
        It was loaded from.
    """

    def __init__(self, baseline: Baseline, folder: Path | None = None) -> None:
        calibration = baseline.calibration
        attributes = {**vars(calibration), "baseline": baseline, "folder": folder, "reference": None}
        for name, value in attributes.items():
            object.__setattr__(self, name, value)  # a Scorer is frozen

    baseline: Baseline

    @classmethod
    def load(cls, folder: Path) -> BaselineScorer:
        """Load a saved baseline.

        Raises
        ------
        ModelFolderError
            As `baselines.load_baseline`.
        """
        return cls(load_baseline(folder), folder)

    def __repr__(self) -> str:
        return f"BaselineScorer: {self.baseline.title}"

    @property
    def run(self) -> NoReturn:
        """Raise: a baseline has no run file."""
        raise self._refusal()

    @property
    def network(self) -> NoReturn:
        """Raise: a baseline has no network."""
        raise self._refusal()

    @property
    def tokenizer(self) -> NoReturn:
        """Raise: a baseline has no tokens."""
        raise self._refusal()

    def _refusal(self) -> ArgumentError:
        where = f"{self.folder}: " if self.folder else ""
        return ArgumentError(f"{where}this is a baseline ({self.baseline.title}) without a network; only `load` and `score` accept it")

    @property
    def objective(self) -> BinaryObjective:
        """Return the objective of all baselines that are saved."""
        return BinaryObjective()

    @property
    def alphabet(self) -> Alphabet:
        """Return the alphabet of its records."""
        return self.baseline.setup.alphabet

    @property
    def spelling(self) -> Spelling:
        """Return how letters are read."""
        return self.baseline.setup.spelling

    @property
    def both_strands(self) -> bool:
        """Return whether logits are means over both strands."""
        return self.baseline.both_strands

    @property
    def shortest(self) -> int:
        """Return the length that a sequence must have: a baseline reads any."""
        return 1

    def outputs(self, letters: NDArray[np.uint8] | Sequence[NDArray[np.uint8]], batch_size: int | None = None) -> NDArray[np.float64]:
        """Return the logits (n, 1) of sequences of any lengths, as `Scorer.outputs`; `batch_size` does not matter."""
        return self.logits(letters)[:, None]

    def logits(self, letters: NDArray[np.uint8] | Sequence[Any]) -> NDArray[np.float64]:
        """Return the logits of label 1, (n,); (n, L) arrays are padded with 0 at the end."""
        return self.baseline.logits([row[: np.count_nonzero(row)] for row in letters])

    def member_log_odds(self, letters: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
        """Return `log_odds` of its only member, (n, 1)."""
        return self.log_odds(letters)[:, None]
