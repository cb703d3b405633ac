"""Held-out records with labels or numbers, and the tests that depend on which they have.

With labels, enrichment compares the number of positives and negatives that have a hit. With
numbers, it compares the numbers of records that have a hit with those of the others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.data.inputs import RecordPair
from selfattn_bio.errors import ArgumentError
from selfattn_bio.evaluation.calibration import platt_line
from selfattn_bio.evidence.associations import (
    Letters,
    enrichment,
    matched_enrichment,
    matched_rank_shift,
    rank_shift,
)
from selfattn_bio.objectives.outputs import LOG_ODDS, NumberOutput, Output
from selfattn_bio.sequence.alphabet import DNA, Alphabet

# Smallest effect that counts, in calibrated log-odds, or as a fraction of `Output.scale`
MIN_EFFECT = 0.1
# Results of `rank_shift` and `matched_rank_shift` that are above 0 for higher numbers
SHIFTS = ("rank_shift", "difference", "matched_rank_shift", "matched_difference")


@dataclass(frozen=True)
class HeldOut(ABC):
    """Records for testing motifs.

    Attributes
    ----------
    sequences
        ASCII letters, one array per record.
    truth
        (n,) label or number of each record.
    alphabet
        Alphabet of the sequences.
    unit
        Unit of effects.
    scale
        Effects below `MIN_EFFECT` times this are treated as none.
    pairs
        Both inputs of each record, for a model with two inputs.
    input
        Which of them the sequences are, "first" or "partner". The tests change only this input.
    opposing
        Column of the q-value that shows that the model uses a motif against the records.
    """

    sequences: Sequence[Letters]
    truth: NDArray[Any]
    alphabet: Alphabet = DNA
    unit: str = LOG_ODDS
    scale: float = 1.0
    pairs: Sequence[RecordPair] = ()
    input: str = "first"

    opposing: ClassVar[str]

    @property
    def least(self) -> float:
        """Return the smallest effect that counts, in `unit`."""
        return MIN_EFFECT * self.scale

    def inputs(
        self, sequences: Sequence[Letters], records: Sequence[int] | NDArray[np.int64]
    ) -> Sequence[Letters] | list[RecordPair]:
        """Return the inputs of the model for sequences that were made from these records.

        For a model with two inputs, the other input is the one of the record.
        """
        if not self.pairs:
            return sequences
        return [
            self.pairs[record]._replace(**{self.input: letters})
            for letters, record in zip(sequences, records, strict=True)
        ]

    @abstractmethod
    def enrichment(self, hits: pd.DataFrame) -> dict[str, float]:
        """Test whether records with a hit differ from the others."""

    @abstractmethod
    def matched(self, hits: pd.DataFrame, strata: NDArray[np.int64]) -> dict[str, float]:
        """Test whether records with a hit differ from others of the same stratum."""

    @abstractmethod
    def direction(self, row: Mapping[str, Any]) -> float:
        """Return 1 if records with a hit should score higher, -1 if lower, 0 if that is unclear.

        `row` has the results of `enrichment` and `matched`.
        """

    @abstractmethod
    def in_question(self, hits: pd.DataFrame) -> NDArray[np.bool_]:
        """Return which hits are in records whose motifs are described."""

    @property
    @abstractmethod
    def described(self) -> NDArray[np.int64]:
        """Return these records."""

    @property
    @abstractmethod
    def neutral(self) -> NDArray[np.int64]:
        """Return the records whose shuffles have the composition of records without signal."""

    @abstractmethod
    def slope(self, scores: NDArray[np.float64]) -> float:
        """Return how much the truth changes with the scores (n,); at least 0.

        Scores times the slope are scores as far as these records confirm them.
        """


class LabelledRecords(HeldOut):
    """Positives (1) and negatives (0)."""

    opposing = "effect_q"  # the model uses it against its own class, whatever it is enriched in

    def enrichment(self, hits: pd.DataFrame) -> dict[str, float]:
        return enrichment(hits, self.truth)

    def matched(self, hits: pd.DataFrame, strata: NDArray[np.int64]) -> dict[str, float]:
        return matched_enrichment(hits, self.truth, strata)

    def direction(self, row: Mapping[str, Any]) -> float:
        return 1.0

    def in_question(self, hits: pd.DataFrame) -> NDArray[np.bool_]:
        """Return which hits are in positives."""
        return self.truth[hits["record"].to_numpy(dtype=int)] == 1

    @property
    def described(self) -> NDArray[np.int64]:
        return np.flatnonzero(self.truth == 1)

    @property
    def neutral(self) -> NDArray[np.int64]:
        """Return the negatives; all records if there are none."""
        negatives = np.flatnonzero(self.truth == 0)
        return negatives if len(negatives) else np.arange(len(self.sequences))

    def slope(self, scores: NDArray[np.float64]) -> float:
        return platt_line(scores, self.truth)[0]


class MeasuredRecords(HeldOut):
    """Records with a number."""

    opposing = "support_q"  # records with hits have lower values, but the hits raise the score

    def enrichment(self, hits: pd.DataFrame) -> dict[str, float]:
        return rank_shift(hits, self.truth)

    def matched(self, hits: pd.DataFrame, strata: NDArray[np.int64]) -> dict[str, float]:
        return matched_rank_shift(hits, self.truth, strata)

    def direction(self, row: Mapping[str, Any]) -> float:
        """Return the common sign of ranks and means, in all records and in those matched."""
        signs = {np.sign(row[name]) for name in SHIFTS}
        return float(signs.pop()) if len(signs) == 1 else 0.0

    def in_question(self, hits: pd.DataFrame) -> NDArray[np.bool_]:
        return np.ones(len(hits), dtype=bool)

    @property
    def described(self) -> NDArray[np.int64]:
        return np.arange(len(self.sequences))

    @property
    def neutral(self) -> NDArray[np.int64]:
        return np.arange(len(self.sequences))

    def slope(self, scores: NDArray[np.float64]) -> float:
        """Return the slope of a linear regression of the numbers on the scores."""
        centred = scores - scores.mean()
        spread = float(centred @ centred)
        return max(0.0, float(centred @ self.truth) / spread) if spread else 0.0


def held_out_records(
    output: Output,
    sequences: Sequence[Letters],
    truth: NDArray[np.float64],
    alphabet: Alphabet,
    pairs: Sequence[RecordPair] = (),
    input: str = "first",
) -> HeldOut:
    """Return held-out records of an output, with their known targets (n,).

    Raises
    ------
    ArgumentError
        If there are none.
    """
    if not len(truth):
        raise ArgumentError(
            f"no held-out record has a known target of output {output.name!r}",
            hint="Add targets, or leave the output out of [interpret] targets",
        )
    kind = MeasuredRecords if isinstance(output, NumberOutput) else LabelledRecords
    return kind(sequences, truth, alphabet, output.unit, output.scale, pairs, input)
