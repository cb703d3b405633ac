"""The baselines that are a feature set and a learner."""

from __future__ import annotations

import math
from operator import itemgetter
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.baselines.base import (
    POSITION,
    PROFILE,
    RECORD,
    TWO_CLASSES,
    Array,
    Baseline,
    Setup,
    State,
)
from selfattn_bio.baselines.blocks import ExactPositions, KmerCounts, Variants
from selfattn_bio.baselines.embeddings import EmbeddingSet
from selfattn_bio.baselines.features import (
    Features,
    FeatureSet,
    FirstResidue,
    GcContent,
    Length,
    MotifScores,
    NeighbourSet,
    Nothing,
)
from selfattn_bio.baselines.learners import GappedLinear, Linear, LinearModel
from selfattn_bio.baselines.trees import Trees, TreesModel
from selfattn_bio.sequence.alphabet import Ascii, Letters

PIECE = 1024  # records whose features are in memory together


class PairBaseline(Baseline):
    """A baseline of a feature set and a learner.

    Attributes
    ----------
    features
        Features that it reads.
    learner
        Model that turns features into outputs.
    """

    features: ClassVar[FeatureSet]
    learner: ClassVar[Linear | Trees]

    fitted: Features
    model: LinearModel | TreesModel

    def __init_subclass__(cls, **others: Any) -> None:
        super().__init_subclass__(**others)
        cls.reads = cls.features.reads
        cls.states = cls.features.state, cls.learner.state

    @classmethod
    def obstacle(cls, setup: Setup, train: Letters) -> str:
        """Return why the baseline cannot be fitted: of its features, or too many outputs."""
        most, found = cls.learner.max_outputs, setup.num_outputs
        if most and found > most:
            return f"the task has {found} outputs, more than {most}"
        return cls.features.obstacle(setup, train)

    def chosen(self) -> dict[str, Any]:
        """Return the settings of features and learner, and the number of sampled records."""
        is_sampled = self.features.is_sampled or self.learner.is_sampled
        records = {"records": self.records} if is_sampled else {}
        return self.model.chosen() | records | self.fitted.chosen()

    def _most(self, train: Letters) -> int:
        return min(
            self.features.most(self.setup, train), self.learner.most(train, self.setup.num_outputs)
        )

    def _fit(
        self, train: Letters, targets: NDArray, valid: tuple[Letters, ...], valid_targets: NDArray
    ) -> None:
        objective, highest = self.setup.objective, -np.inf
        answers = list(
            zip(objective.answers(targets), objective.answers(valid_targets), strict=True)
        )
        for features, x in self.features.candidates(self.setup, train, self.learner.scaled):
            readings = [features.matrix(reading) for reading in valid]
            fits: list[Any] = [
                self.learner.fit(*pair, x, readings, self.setup.threads) for pair in answers
            ]
            # constant values are fitted equally well by all
            worth = float(np.mean([found for _, found in fits if found > -np.inf] or [-np.inf]))
            if worth > highest or not hasattr(self, "model"):
                highest, self.fitted = worth, features
                self.model = self.learner.joined([model for model, _ in fits])

    def _outputs(self, letters: Letters) -> Array:
        pieces = (letters[start : start + PIECE] for start in range(0, len(letters), PIECE))
        return np.concatenate([self.model.read(self.fitted, piece) for piece in pieces])

    def window_outputs(self, letters: NDArray[np.uint8], size: int, stride: int) -> Array:
        """Return the outputs of overlapping windows of a sequence on both strands."""
        x = self.fitted.window_matrix(letters, size, stride)
        if x is None:
            return super().window_outputs(letters, size, stride)
        outputs = self.model.outputs(x)
        return np.stack([outputs, outputs])

    def _effects(self, letters: Letters, output: int, span: slice | None) -> list[Array]:
        if self.setup.is_per_position:
            return [self._near_effects(record, output, span) for record in letters]
        effects = []
        pairs = zip(letters, self.model.effects(self.fitted, letters, output), strict=True)
        for record, found in pairs:
            every = np.arange(len(record))
            of_record = self._rescored(record, output, every) if found is None else found
            if found is not None and (number := math.ceil(self.fitted.measured * len(found))):
                best = np.argsort(-np.linalg.norm(found, axis=1), kind="stable")[:number]
                exact = self._rescored(record, output, best)
                of_record = found * (np.linalg.norm(exact) / (np.linalg.norm(found[best]) or 1.0))
                of_record[best] = exact
            codes = self.setup.alphabet.codes(record)
            known = np.flatnonzero(codes < of_record.shape[1])
            of_record[known, codes[known]] = 0  # sums may differ in the last digit
            effects.append(of_record)
        return effects

    def _near_effects(self, record: Ascii, output: int, span: slice | None) -> Array:
        """Return the effects on the mean of a track, or on the sum of an output over a span."""
        value = itemgetter((..., output)) if span else self.setup.objective.tracks[output].value
        weights = np.zeros(len(record))
        weights[span or slice(None)] = 1.0 if span else 1 / len(record)
        near, at, letter, x = self.fitted.substituted(record)
        new, old = value(self.model.outputs(x)), value(self._outputs([record]))
        effects = np.zeros((len(record), len(self.setup.alphabet.letters)))
        np.add.at(effects, (at, letter), weights[near] * (new - old[near]))
        return effects

    def _rescored(self, record: Ascii, output: int, positions: NDArray[np.int64]) -> Array:
        """Return the effects of substitutions at positions by scoring changed records, (P, A)."""
        bases = np.frombuffer(self.setup.alphabet.letters.encode(), np.uint8)
        each = max(1, PIECE // len(bases))
        effects = np.empty((len(positions), len(bases)))
        for start in range(0, len(positions), each):
            at = positions[start : start + each].repeat(len(bases))
            changed = np.repeat(record[None], len(at), axis=0)
            changed[np.arange(len(at)), at] = np.tile(bases, len(at) // len(bases))
            outputs = self._outputs([record, *changed])[:, output]
            effects[start : start + each] = (outputs[1:] - outputs[0]).reshape(-1, len(bases))
        return effects

    def _state(self) -> tuple[State, ...]:
        return self.fitted.stored(), self.model.stored()

    def _restore(self, features: Any, learner: Any) -> None:
        self.fitted = self.features.restore(self.setup, features)
        self.model = self.learner.restore(learner, self.fitted.size, self.setup.num_outputs)


# Fractions of 20 residues are small, so they need large weights
OF_RESIDUES = Linear((*Linear.penalties, 50.0, 200.0, 1000.0))
OF_POSITIONS = Linear((0.01, 0.03, 0.1, 0.3, 1.0, 3.0), tolerance=1e-3)
# of targets other than two classes
GENERAL = Linear((0.001, 0.01, 0.1, 1.0, 10.0, 100.0), tolerance=1e-3)


class Gc(PairBaseline):
    name, title = "gc", "GC content"
    alphabets = ("dna",)
    features, learner = GcContent(), Linear((1e6,))  # practically no penalty


class Kmers(PairBaseline):
    name, title = "kmer6_logistic", "logistic regression on 6-mers"
    alphabets = ("dna",)
    features, learner = KmerCounts(((6, 1),)), Linear()


class PositionalKmers(PairBaseline):
    """Logistic regression on counts of 6-mers, and of 3-mers in ten equal parts of the record."""

    name = "kmer6_positional_logistic"
    title = "logistic regression on 6-mers and positional 3-mers"
    alphabets = ("dna",)
    features, learner = KmerCounts(((6, 1), (3, 10))), Linear()


class LogisticPositions(PairBaseline):
    """Logistic regression on 1-mers at exact positions; of DNA also 3-mers and counts of 5-mers."""

    name = "exact_positions"
    title = "logistic regression on exact positions, of DNA and RNA also on counts of 5-mers"
    alphabets = ("dna", "protein")
    features, learner = ExactPositions((1, 3), 5), OF_POSITIONS


class BoostedMotifs(PairBaseline):
    """Gradient boosting on the best hit and occupancy of every motif of a database."""

    name, title = "motif_scores", "gradient boosting on motif scores"
    alphabets, suits = ("dna",), (TWO_CLASSES, RECORD, PROFILE)
    features = MotifScores()
    learner = Trees(rate=0.05, features=0.1, seeds=3, rounds=2000)


class BoostedKmers(PairBaseline):
    name, title = "kmer6_trees", "gradient boosting on 6-mers"
    alphabets, suits = ("dna",), (TWO_CLASSES, RECORD, PROFILE)
    features, learner = KmerCounts(((6, 1),)), Trees(features=0.1)


class BoostedPositions(PairBaseline):
    name = "exact_positions_trees"
    title = "gradient boosting on 1-mers and 2-mers at exact positions"
    alphabets, suits = ("dna", "protein"), (TWO_CLASSES, RECORD, PROFILE)
    features, learner = ExactPositions((1, 2), 5), Trees()


class GappedKmers(PairBaseline):
    name, title = "gapped_kmers", "linear model of gapped 8-mers"
    alphabets, suits = ("dna",), (TWO_CLASSES, RECORD, PROFILE)
    features = KmerCounts(((8, 1),))
    learner = GappedLinear((0.01, 0.03, 0.1, 0.3, 1.0), tolerance=1e-3)


class LengthAlone(PairBaseline):
    name, title = "length", "length alone"
    alphabets = ("protein",)
    features, learner = Length(), Linear((1e6,))


class FirstResidueAlone(PairBaseline):
    name, title = "first_letter", "first residue alone"
    alphabets = ("protein",)
    features, learner = FirstResidue(), Linear((1e6,))


class Composition(PairBaseline):
    name, title = "composition", "logistic regression on composition"
    alphabets = ("protein",)
    features, learner = KmerCounts(((1, 1),)), OF_RESIDUES


class Dipeptides(PairBaseline):
    name, title = "kmer2_logistic", "logistic regression on 2-mers"
    alphabets = ("protein",)
    features, learner = KmerCounts(((2, 1),)), OF_RESIDUES


class BoostedDipeptides(PairBaseline):
    name, title = "kmer2_trees", "gradient boosting on 2-mers"
    alphabets, suits = ("protein",), (TWO_CLASSES, RECORD)
    features, learner = KmerCounts(((1, 1), (2, 1))), Trees()


class Constant(PairBaseline):
    name, title = "constant", "constant prediction"
    alphabets = ("dna", "protein")
    suits: ClassVar[tuple[str, ...]] = (RECORD, POSITION)
    features, learner = Nothing(), Linear(())


class MeanProfile(Constant):
    name, title = "mean_profile", "mean profile and mean count"
    suits = (PROFILE,)


class Additive(PairBaseline):
    name, title = "substitutions_linear", "additive model of substitutions"
    alphabets, suits, is_special = ("dna", "protein"), (TWO_CLASSES, RECORD), True
    features, learner = Variants((1,)), GENERAL


class LinearKmers(PairBaseline):
    name, title = "kmer6_linear", "linear model of 6-mers"
    alphabets, suits = ("dna",), (RECORD, PROFILE)
    features, learner = KmerCounts(((6, 1),)), GENERAL


class LinearPositions(PairBaseline):
    name = "exact_positions_linear"
    title = "linear model of 1-mers and 2-mers at exact positions"
    alphabets, suits = ("dna", "protein"), (RECORD, PROFILE)
    features, learner = ExactPositions((1, 2), 5), GENERAL


class LinearComposition(PairBaseline):
    name, title = "composition_linear", "linear model of composition"
    alphabets, suits = ("protein",), (RECORD,)
    features, learner = KmerCounts(((1, 1),)), GENERAL


class LinearDipeptides(PairBaseline):
    name, title = "kmer2_linear", "linear model of 2-mers"
    alphabets, suits = ("protein",), (RECORD,)
    features, learner = KmerCounts(((2, 1),)), GENERAL


class PretrainedLinear(PairBaseline):
    name, title = "pretrained_linear", "linear model of the vectors of the frozen pretrained model"
    alphabets, suits = ("dna", "protein"), (TWO_CLASSES, RECORD)
    features = EmbeddingSet()
    learner = Linear((1e-5, 1e-4, 0.001, 0.01, 0.1, 1.0, 10.0), tolerance=1e-3)


class LinearWindow(PairBaseline):
    name, title = "window_logistic", "logistic regression on the 15 positions around each"
    alphabets, suits = ("dna", "protein"), (POSITION,)
    features, learner = NeighbourSet(), GENERAL


class BoostedWindow(PairBaseline):
    name, title = "window_trees", "gradient boosting on the 15 positions around each"
    alphabets, suits = ("dna", "protein"), (POSITION,)
    features, learner = NeighbourSet(), Trees()
