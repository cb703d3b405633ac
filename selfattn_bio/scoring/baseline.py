"""Score sequences with a saved baseline, through the interface of a trained model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.baselines import Baseline, load_baseline
from selfattn_bio.errors import ArgumentError
from selfattn_bio.objectives import Objective
from selfattn_bio.scoring.scorer import Scorer, without_padding
from selfattn_bio.sequence.alphabet import Alphabet
from selfattn_bio.sequence.policy import SequencePolicy


class BaselineScorer(Scorer):
    """Score sequences with a baseline that `evaluate` saved.

    `score_sequences` and `selfattn-bio score` accept it. Logits and calibration work as
    in `Scorer`. Functions that need a network, such as `explain` and
    `embed`, raise `ArgumentError`.

    Parameters
    ----------
    baseline
        A fitted baseline.
    folder
        The folder it was loaded from.
    """

    def __init__(self, baseline: Baseline, folder: Path | None = None) -> None:
        attributes = {
            "calibration": baseline.calibration,
            "baseline": baseline,
            "folder": folder,
            "reference": None,
        }
        for name, value in attributes.items():
            object.__setattr__(self, name, value)  # a Scorer is frozen

    baseline: Baseline

    @classmethod
    def load(cls, folder: Path) -> BaselineScorer:
        """Load a saved baseline.

        Raises
        ------
        ModelFolderError
            As for `baselines.load_baseline`.
        """
        return cls(load_baseline(folder), folder)

    def __repr__(self) -> str:
        return f"BaselineScorer: {self.baseline.title}"

    def __getattr__(self, name: str) -> NoReturn:
        """Raise: a baseline has no run file, network or tokens."""
        if name not in ("run", "network", "tokenizer"):
            raise AttributeError(name)
        raise ArgumentError(
            f"this is a baseline ({self.baseline.title}) without a network; only `load` and "
            "`score` accept it",
            place=str(self.folder or ""),
        )

    @property
    def objective(self) -> Objective[Any]:
        """Return the objective of the model that the baseline was compared with."""
        return self.baseline.setup.objective

    @property
    def alphabet(self) -> Alphabet:
        """Return the alphabet of the training records."""
        return self.baseline.setup.alphabet

    @property
    def policy(self) -> SequencePolicy:
        """Return how sequences are read."""
        return self.baseline.setup.policy

    @property
    def both_strands(self) -> bool:
        """Return whether logits are means over both strands."""
        return self.baseline.both_strands

    @property
    def shortest(self) -> int:
        """Return the minimum length of a sequence, which is 1 for a baseline."""
        return 1

    def outputs(
        self, letters: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]
    ) -> NDArray[np.float64]:
        """Return the outputs (n, C) of sequences of any lengths, as in `Scorer.outputs`.

        Arrays (n, L) are padded with 0 at the end.
        """
        return self.baseline.outputs(without_padding(letters))

    def token_outputs(self, letters: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float64]]:
        """Return the outputs (L, C) of the positions of each sequence."""
        return self.baseline.position_outputs(without_padding(letters))

    def member_log_odds(self, letters: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
        """Return `log_odds` as an ensemble with one member, (n, 1)."""
        return self.log_odds(letters)[:, None]
