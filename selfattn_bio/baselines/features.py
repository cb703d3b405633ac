"""Define the features of baselines: feature sets, and those without k-mers.

A `FeatureSet` describes the features of a baseline. `FeatureSet.candidates` fits it to the training
records and yields the `Features` to choose from.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import scipy
from numpy.typing import NDArray
from pydantic import Field

from selfattn_bio.arrays import Scores
from selfattn_bio.baselines.base import Array, Setup, State
from selfattn_bio.motifs import database_of, open_database
from selfattn_bio.motifs.scores import HIGHEST, LOWEST, ScoreMatrices
from selfattn_bio.sequence.alphabet import PROTEIN, Alphabet, Letters
from selfattn_bio.sequence.kmers import gc_content
from selfattn_bio.stored import ArrayOf

Matrix = Any  # of scipy or numpy, one row per record or per position

WORK = 10_000_000_000  # maximum bp x motifs scored for training, which takes minutes on one core
MAX_RECORDS = 100_000  # maximum number of training records whose motifs are scored
MAX_SCORED = 20_000  # maximum length in bp of a record whose motifs are scored
FLANK = 7  # positions on each side of a position
MAX_POSITIONS = 200_000  # maximum number of training positions, sampled if there are more


class Features(ABC):
    """Features that were fitted to training records.

    Attributes
    ----------
    size
        Number of features F.
    measured
        Fraction of the positions at which substitutions are scored because `weighted_effects` are
        estimates. The others are scaled like these.
    """

    size: int
    measured: ClassVar[float] = 0.0

    @abstractmethod
    def matrix(self, letters: Letters) -> Matrix:
        """Return the features of each record or position, (n, F)."""

    def weighted(self, letters: Letters, weights: Array, bias: float) -> Array:
        """Return the weighted sum of the features of each record or position, (n,)."""
        found: Array = self.matrix(letters) @ weights + bias
        return found

    def weighted_effects(self, record: NDArray[np.uint8], weights: Array) -> Array | None:
        """Return the effect of each substitution on the weighted sum, (L, A).

        By default None: every changed record is scored.
        """
        return None

    def changes(self, record: NDArray[np.uint8]) -> tuple[Scores, Scores] | None:
        """Return the features of a record, (F,), and after each substitution, (F, A, L).

        By default None: every changed record is scored.
        """
        return None

    def substituted(self, record: NDArray[np.uint8]) -> tuple[Any, Any, Any, Matrix]:
        """Return the features of positions (n, F) after each substitution near them.

        The first three values are the position of each row, that of the substitution, and the
        number of its letter, all (n,). By default there are none, because substitutions have no
        effect.
        """
        nowhere = np.zeros(0, np.int64)
        return nowhere, nowhere, nowhere, np.zeros((0, self.size))

    def window_matrix(self, letters: NDArray[np.uint8], size: int, stride: int) -> Matrix | None:
        """Return the features of overlapping windows that are the same on both strands.

        By default None: windows are read as records.
        """
        return None

    def chosen(self) -> dict[str, Any]:
        """Return the settings chosen on the validation split, for the report."""
        return {}

    def stored(self) -> State:
        """Return the state from which `FeatureSet.restore` builds these features."""
        return State()


Candidates = Iterator[tuple[Features, Matrix]]


class FeatureSet(ABC):
    """Description of the features of a baseline.

    Attributes
    ----------
    reads
        As for `Baseline`.
    is_sampled
        Whether `most` may limit the number of training records.
    state
        Declaration of the values and arrays of the fitted features.
    """

    reads: ClassVar[tuple[str, ...]] = ()
    is_sampled: ClassVar[bool] = False
    state: ClassVar[type[State]] = State

    def obstacle(self, setup: Setup, train: Letters) -> str:
        """Return why the records do not have these features; empty if they do."""
        return ""

    def most(self, setup: Setup, train: Letters) -> int:
        """Return the maximum number of training records."""
        return len(train)

    def candidates(self, setup: Setup, train: Letters, scaled: bool) -> Candidates:
        """Yield features to choose from, each with those of the training records.

        Here one, which has nothing to fit. Several scales of the same features are only useful if
        `scaled` is true.
        """
        features = self.restore(setup, State())
        yield features, features.matrix(train)

    @abstractmethod
    def restore(self, setup: Setup, state: Any) -> Features:
        """Build fitted features from their state.

        Raises
        ------
        ValueError
            If values and arrays do not fit each other.
        """


class Figures(FeatureSet, Features):
    """A few numbers per record, with nothing to fit; a subclass has `size` and `matrix`."""

    def restore(self, setup: Setup, state: State) -> Features:
        return self


class GcContent(Figures):
    """GC content."""

    size = 1

    def matrix(self, letters: Letters) -> Array:
        return gc_content(letters)[:, None]


class Length(Figures):
    """The logarithm of the length and its square.

    Length separates some data sets of proteins without any biology. With the square, medium lengths
    can have the highest probability.
    """

    size = 2

    def matrix(self, letters: Letters) -> Array:
        logs = np.log([[len(record)] for record in letters])
        return np.hstack([logs, logs**2])


class FirstResidue(Figures):
    """The first residue as one-hot, all 0 if it is ambiguous.

    Complete chains begin with M; fragments usually do not.
    """

    size = len(PROTEIN.letters)

    def matrix(self, letters: Letters) -> Array:
        return np.eye(256)[[record[0] for record in letters]][:, list(PROTEIN.letters.encode())]


@dataclass(frozen=True)
class Nothing(Figures):
    """A feature that is always 0, for the best prediction that ignores the sequence."""

    per_position: bool = False
    size = 1

    def restore(self, setup: Setup, state: State) -> Features:
        return Nothing(setup.is_per_position)

    def matrix(self, letters: Letters) -> Array:
        return np.zeros((sum(map(len, letters)) if self.per_position else len(letters), 1))


@dataclass(frozen=True)
class Neighbours(Features):
    """The letters around each position as one-hot, one row per position.

    Ambiguous letters and positions beyond the ends have one additional code each.
    """

    alphabet: Alphabet

    @property
    def size(self) -> int:  # type: ignore[override]
        return (2 * FLANK + 1) * (len(self.alphabet.letters) + 2)

    def matrix(self, letters: Letters) -> scipy.sparse.csr_matrix:
        return self._one_hot(np.concatenate([self._around(row) for row in letters]))

    def substituted(self, record: NDArray[np.uint8]) -> tuple[Any, Any, Any, Matrix]:
        around, number = self._around(record), len(self.alphabet.letters)
        position, column, letter = np.indices((*around.shape, number)).reshape(3, -1)
        at = position + column - FLANK
        kept = (at >= 0) & (at < len(record))
        position, column, letter, at = position[kept], column[kept], letter[kept], at[kept]
        changed = around[position]
        changed[np.arange(len(changed)), column] = letter
        return position, at, letter, self._one_hot(changed)

    def _around(self, record: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Return the codes of the letters around each position, (L, 2 FLANK + 1)."""
        codes, beyond = self.alphabet.codes(record).astype(np.int64), len(self.alphabet.letters) + 1
        padded = np.pad(codes, FLANK, constant_values=beyond)
        return np.lib.stride_tricks.sliding_window_view(padded, 2 * FLANK + 1)

    def _one_hot(self, around: NDArray[np.int64]) -> scipy.sparse.csr_matrix:
        columns = around + (len(self.alphabet.letters) + 2) * np.arange(around.shape[1])
        ends = around.shape[1] * np.arange(len(around) + 1)
        values = np.ones(columns.size, np.float32)
        return scipy.sparse.csr_matrix((values, columns.ravel(), ends), (len(around), self.size))


class NeighbourSet(FeatureSet):
    """The letters around each position."""

    is_sampled = True

    def most(self, setup: Setup, train: Letters) -> int:
        return max(1, MAX_POSITIONS * len(train) // max(1, sum(map(len, train))))

    def restore(self, setup: Setup, state: State) -> Neighbours:
        return Neighbours(setup.alphabet)


class MotifState(State):
    """Motifs that are scored."""

    labels: Annotated[list[str], Field(min_length=1)]
    log_odds: Annotated[
        NDArray[np.float32], ArrayOf("float32", ("motifs", "positions", 4), LOWEST, HIGHEST)
    ]
    widths: Annotated[NDArray[np.int64], ArrayOf("int64", ("motifs",), low=1)]


@dataclass(frozen=True)
class MotifFeatures(Features):
    """The best hit of every motif, followed by the occupancy of every motif."""

    matrices: ScoreMatrices

    @property
    def size(self) -> int:  # type: ignore[override]
        return 2 * len(self.matrices)

    def matrix(self, letters: Letters) -> NDArray[Any]:
        return self.matrices.scores(letters)

    def window_matrix(self, letters: NDArray[np.uint8], size: int, stride: int) -> NDArray[Any]:
        return self.matrices.window_scores(letters, size, stride)

    def changes(self, record: NDArray[np.uint8]) -> tuple[Scores, Scores] | None:
        return self.matrices.score_substitutions(record)

    def chosen(self) -> dict[str, Any]:
        return {"motifs": len(self.matrices)}

    def stored(self) -> MotifState:
        matrices = self.matrices
        return MotifState(
            labels=list(matrices.labels), log_odds=matrices.values, widths=matrices.widths
        )


class MotifScores(FeatureSet):
    """Scores of the motifs of a database.

    A large training split is sampled, so that scoring takes minutes.
    """

    reads, is_sampled = ("database",), True
    state = MotifState

    def obstacle(self, setup: Setup, train: Letters) -> str:
        """Return why motifs cannot be scored: there is no database, or records are too long."""
        if not database_of(setup.database, setup.alphabet):
            return f"the task names no database of {setup.alphabet.title} motifs"
        if (longest := max(len(record) for record in train)) > MAX_SCORED:
            unit = setup.alphabet.unit
            return f"the longest record has {longest:,} {unit}, more than {MAX_SCORED:,}"
        return ""

    def most(self, setup: Setup, train: Letters) -> int:
        motifs = open_database(setup.database, setup.alphabet)
        work = sum(len(record) for record in train) * len(motifs)
        return max(2, min(MAX_RECORDS, int(len(train) * min(1.0, WORK / work))))

    def candidates(self, setup: Setup, train: Letters, scaled: bool) -> Candidates:
        motifs = open_database(setup.database, setup.alphabet)
        matrices = ScoreMatrices.from_probabilities(motifs, setup.alphabet.one_strand)
        features = MotifFeatures(matrices)
        yield features, features.matrix(train)

    def restore(self, setup: Setup, state: MotifState) -> MotifFeatures:
        if len(state.labels) != len(state.widths):
            raise ValueError(f"there are {len(state.labels)} labels for {len(state.widths)} motifs")
        if state.widths.max() > (width := state.log_odds.shape[1]):
            raise ValueError(f"widths has {state.widths.max()}, but log_odds has {width} positions")
        found = tuple(state.labels), state.log_odds, state.widths
        return MotifFeatures(ScoreMatrices(*found, setup.alphabet.one_strand))
