"""The baselines of bins: models of two classes that read the bases around each bin."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.baselines.base import BIN, Array, Baseline, Setup, State, sample_rows
from selfattn_bio.baselines.blocks import KmerCounts
from selfattn_bio.baselines.kinds import Constant, Gc, PairBaseline
from selfattn_bio.baselines.learners import Linear
from selfattn_bio.baselines.trees import Trees
from selfattn_bio.config import BinaryObjective
from selfattn_bio.errors import ArgumentError
from selfattn_bio.objectives.points import LEAST_RATE, without_overlaps
from selfattn_bio.sequence.alphabet import Ascii, Letters

AROUND = 200  # bp on each side of the middle of a bin
MOST_BINS = 50_000  # maximum number of training bins; records are sampled if there are more


class BinBaseline(Baseline):
    """A model of whether a bin contains a point on the strand that is read.

    It reads the bases around each bin on both strands, so each bin has two rows. Positions beyond
    the ends of a record are N. Outputs are log rates of points, as those of the network.

    Attributes
    ----------
    of_windows
        The baseline of two classes that reads the bases.
    """

    of_windows: ClassVar[type[Baseline]]
    alphabets, suits = ("dna",), (BIN,)

    def __init_subclass__(cls, **others: Any) -> None:
        super().__init_subclass__(**others)
        cls.states = cls.of_windows.states

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.model = self.of_windows(replace(setup, section=BinaryObjective(), strands="given"))

    def chosen(self) -> dict[str, Any]:
        """Return the settings of the model, and the number of training records that it read."""
        return self.model.chosen() | {"records": self.records}

    def _fit(
        self, train: Letters, targets: NDArray, valid: tuple[Letters, ...], valid_targets: NDArray
    ) -> None:
        rows = without_overlaps(targets)
        bins = sum(map(len, train)) // len(train) // self.setup.unit
        rows = rows[sample_rows(np.zeros(len(rows)), max(1, MOST_BINS // bins))]
        windows = self._windows([train[row] for row in rows])
        labels = [self._labels(of) for of in (targets[rows], valid_targets)]
        self.model.fit(windows, labels[0], self._windows(valid[0]), labels[1])
        self.records, self.calibration = len(rows), self.model.calibration

    def _labels(self, targets: NDArray) -> NDArray[np.int64]:
        return self.setup.objective.answers(targets)[0].values.astype(np.int64)

    def _windows(self, letters: Letters) -> list[Ascii]:
        """Return the bases around each bin, on the forward and then on the reverse strand."""
        return [window for row in letters for window in self._around(row)]

    def _around(self, record: Ascii) -> Iterator[Ascii]:
        unit = self.setup.unit
        padded = np.pad(record[: len(record) // unit * unit], AROUND, constant_values=ord("N"))
        for start in range(unit // 2, len(padded) - 2 * AROUND, unit):
            window = padded[start : start + 2 * AROUND]
            yield window
            yield self.setup.alphabet.reverse_complement(window)

    def _log_odds(self, windows: list[Ascii]) -> Array:
        return self.calibration.log_odds(self.model.logits(windows))

    def _outputs(self, letters: Letters) -> Array:
        return np.log(_rates(self._log_odds(self._windows(letters)))).reshape(-1, 2)

    def _effects(self, letters: Letters, output: int, span: slice | None) -> list[Array]:
        if span:
            raise ArgumentError(
                "a stack explains the points of complete sequences, not those between start and end"
            )
        return [self._effects_on_points(record, output) for record in letters]

    def _effects_on_points(self, record: Ascii, strand: int) -> Array:
        """Return the effects on the log of the expected number of points on a strand."""
        windows = list(self._around(record))[strand::2]
        odds, unit = self._log_odds(windows)[:, None, None], self.setup.unit
        effects = np.stack(self.model.substitution_effects(windows))
        changes = _rates(odds + self.calibration.slope * effects) - _rates(odds)
        total = np.zeros((len(record) + 2 * AROUND + unit, changes.shape[-1]))
        for start, change in zip(range(unit // 2, len(total), unit), changes, strict=False):
            total[start : start + 2 * AROUND] += change[::-1, ::-1] if strand else change
        return np.log1p(total[AROUND : AROUND + len(record)] / _rates(odds).sum())

    def _state(self) -> tuple[State, ...]:
        return self.model._state()

    def _restore(self, *states: Any) -> None:
        self.model._restore(*states)


def _rates(log_odds: Array) -> Array:
    """Return the rates of points whose probabilities have these log-odds."""
    return np.maximum(np.logaddexp(0, log_odds), LEAST_RATE)


# counts of 5-mers, and of 3-mers in parts of 50 bp
KMERS = KmerCounts(((5, 1), (3, 8)))


class AroundKmers(PairBaseline):
    # points are rare, so gradients are small
    features, learner = KMERS, Linear((0.1, 0.3, 1.0, 3.0), tolerance=1e-6)


class AroundTrees(PairBaseline):
    features, learner = KMERS, Trees(features=0.1)


class BinConstant(BinBaseline):
    name, title = "bin_constant", "constant prediction of bins"
    of_windows = Constant


class BinGc(BinBaseline):
    name, title = "bin_gc", "GC content around the bin"
    of_windows = Gc


class BinKmers(BinBaseline):
    name, title = "bin_kmers", "logistic regression on k-mers around the bin"
    of_windows = AroundKmers


class BinTrees(BinBaseline):
    name, title = "bin_trees", "gradient boosting on k-mers around the bin"
    of_windows = AroundTrees
