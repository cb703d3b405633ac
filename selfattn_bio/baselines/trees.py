"""Gradient boosting as a learner of baselines, with LightGBM; see `learners`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar

import numpy as np
import scipy
from numpy.typing import NDArray

from selfattn_bio.baselines.base import Array, State
from selfattn_bio.baselines.features import Features, Matrix
from selfattn_bio.baselines.forest import LEAF, Forest
from selfattn_bio.baselines.learners import prior, worth
from selfattn_bio.objectives.base import Answer
from selfattn_bio.sequence.alphabet import Letters
from selfattn_bio.stored import ArrayOf

PIECE = 4096  # rows of a sparse matrix that pass through the trees together
READ = 1000  # maximum number of features that a tree reads
PATIENCE = 0.05  # trees without improvement on valid before it stops, as a fraction of all
TREES_PER_RECORD = 2  # at most, but at least 100 trees
MAX_FITTED = 300_000  # maximum number of training records, divided by the outputs
PARAMETERS: dict[str, Any] = {
    **{"bagging_fraction": 0.8, "bagging_freq": 1, "lambda_l2": 1.0, "max_bin": 63},
    "alpha": 1.0,  # where Huber's loss becomes linear, as for the network
    **{"deterministic": True, "force_col_wise": True, "verbosity": -1},
    "enable_bundle": False,  # bundles of columns give equal trees, and take up to twice as long
}
OBJECTIVES = {  # of LightGBM, and the metric that stops early
    "label": ("binary", "binary_logloss"),
    "class": ("multiclass", "multi_logloss"),
    "number": ("regression", "l2"),
    "robust": ("huber", "huber"),
    "count": ("poisson", "poisson"),
}


class TreesState(State):
    """Number of nodes of each forest, and the nodes of all, see `Forest`."""

    num_nodes: Annotated[NDArray[np.int64], ArrayOf("int64", ("forests",), low=1)]
    features: Annotated[NDArray[np.int64], ArrayOf("int64", ("nodes",), low=LEAF)]
    values: Annotated[NDArray[np.float64], ArrayOf("float64", ("nodes",))]


@dataclass(frozen=True)
class TreesModel:
    """Fitted trees: for each of C outputs, forests that are averaged."""

    forests: tuple[tuple[Forest, ...], ...]

    def outputs(self, x: Matrix) -> Array:
        """Return the outputs of rows of features, (n, C)."""
        pieces = (x[start : start + PIECE] for start in range(0, x.shape[0], PIECE))
        dense = (piece.toarray() if scipy.sparse.issparse(piece) else piece for piece in pieces)
        return np.concatenate([self._of_dense(piece) for piece in dense])

    def _of_dense(self, x: NDArray[Any]) -> Array:
        means = [np.mean([forest.sums(x) for forest in each], axis=0) for each in self.forests]
        return np.stack(means, axis=1)

    def read(self, features: Features, letters: Letters) -> Array:
        """Return the outputs of records or their positions, (n, C)."""
        return self.outputs(features.matrix(letters))

    def effects(self, features: Features, letters: Letters, output: int) -> Iterator[Array | None]:
        """Yield the effects of substitutions on an output, (L, A); None to score each of them."""
        forests, trees = self.forests[output], self._joined[output]
        for record in letters:
            if (read := features.changes(record)) is None:
                yield None
                continue
            given, changed = read  # (F,) and (F, A, L)
            size = math.prod(changed.shape[1:])
            changes = trees.changes(given, changed.reshape(len(given), size))
            yield changes.reshape(changed.shape[1:]).T / len(forests)

    @cached_property
    def _joined(self) -> list[Forest]:
        """Return the trees of all forests of each output."""
        return [Forest(each[0].num_features, *self._nodes(each)) for each in self.forests]

    @staticmethod
    def _nodes(forests: Sequence[Forest]) -> list[NDArray[Any]]:
        names = ("features", "values")
        return [np.concatenate([getattr(forest, name) for forest in forests]) for name in names]

    def chosen(self) -> dict[str, Any]:
        """Return the number of trees of each forest."""
        forests = [
            forest for each in self.forests for forest in each if (forest.features != LEAF).any()
        ]
        return {"trees": [forest.num_trees for forest in forests]}

    def stored(self) -> TreesState:
        """Return the state from which `Trees.restore` builds the model."""
        forests = [forest for each in self.forests for forest in each]
        features, values = self._nodes(forests)
        num_nodes = np.array([len(forest.features) for forest in forests])
        return TreesState(num_nodes=num_nodes, features=features, values=values)


@dataclass(frozen=True)
class Trees:
    """Gradient boosting, which stops early on the validation split.

    Attributes
    ----------
    leaves
        Number of leaves of a tree.
    rate, features
        Learning rate, and the fraction of the features that each tree reads; at most `READ`.
    seeds
        Number of boosters that are averaged.
    rounds
        Maximum number of trees; fewer for each of several classes, which take longer, and at most
        two per training record of a small split, but not below 100.
    """

    leaves: int = 15
    rate: float = 0.1
    features: float = 0.5
    seeds: int = 1
    rounds: int = 1000
    scaled: ClassVar[bool] = False  # whether the scale of the features matters
    is_sampled: ClassVar[bool] = True  # whether `most` may limit the training records
    max_outputs: ClassVar[int] = 20  # because each output has its own trees
    state: ClassVar[type[State]] = TreesState

    def most(self, train: Letters, outputs: int) -> int:
        """Return the maximum number of training records."""
        return max(1, MAX_FITTED // outputs)

    def fit(
        self, train: Answer, valid: Answer, x: Matrix, readings: Sequence[Matrix], threads: int
    ) -> tuple[TreesModel, float]:
        """Fit a model of one answer; see `Linear.fit`."""
        known, judged = np.isfinite(train.values), np.isfinite(valid.values)
        y, y_valid = train.values[known], np.tile(valid.values[judged], len(readings))
        if len(np.unique(y)) < 2 or not len(y_valid):
            return self._constant(train, x.shape[1]), -np.inf
        judged_readings = [reading[judged] for reading in readings]
        x_valid = (
            scipy.sparse.csr_matrix(scipy.sparse.vstack(judged_readings))
            if scipy.sparse.issparse(x)
            else np.concatenate(judged_readings)
        )
        x = x if known.all() else x[known]
        forests = [
            self._boosted(train, (x, y), (x_valid, y_valid), seed, threads)
            for seed in range(self.seeds)
        ]
        model = TreesModel(tuple(zip(*forests, strict=True)))
        outputs = np.mean([model.outputs(reading) for reading in readings], axis=0)
        return model, worth(outputs, valid)

    def _boosted(
        self,
        answer: Answer,
        train: tuple[Matrix, Array],
        valid: tuple[Matrix, Array],
        seed: int,
        threads: int,
    ) -> list[Forest]:
        import lightgbm

        objective, metric = OBJECTIVES[answer.kind]
        fewest = min(20, max(1, len(train[1]) // 50))  # records of a leaf
        useful = int(np.count_nonzero(np.asarray((train[0] != 0).sum(axis=0)) >= fewest))
        parameters = PARAMETERS | {
            "objective": objective,
            "metric": metric,
            "learning_rate": self.rate,
            "num_leaves": self.leaves,
            "feature_fraction": min(self.features, READ / max(1, useful)),
            "min_data_in_leaf": fewest,
            "seed": seed,
            "num_threads": threads,
            "num_class": answer.size,
        }
        data = lightgbm.Dataset(*train, params=parameters)
        on_valid = lightgbm.Dataset(*valid, reference=data)
        rounds = self.rounds * 3 // (2 + answer.size)
        stop = lightgbm.early_stopping(round(PATIENCE * rounds), verbose=False)
        # Separable records never stop early, and few records need few trees
        rounds = min(rounds, max(100, TREES_PER_RECORD * len(train[1])))
        booster = lightgbm.train(
            parameters,
            data,
            rounds,
            valid_sets=[on_valid],
            keep_training_booster=True,  # otherwise it is written and parsed as text
            callbacks=[stop],
        )
        return Forest.of(booster, answer.size)

    def _constant(self, answer: Answer, features: int) -> TreesModel:
        leaf, values = np.array([LEAF]), prior(answer)[:, None]
        return TreesModel(tuple((Forest(features, leaf, each),) * self.seeds for each in values))

    def joined(self, parts: Sequence[TreesModel]) -> TreesModel:
        """Return one model with the outputs of all parts."""
        return TreesModel(tuple(each for part in parts for each in part.forests))

    def restore(self, state: TreesState, features: int, outputs: int) -> TreesModel:
        """Build a model from its state.

        Raises
        ------
        ValueError
            If values and arrays do not fit each other, the features or the outputs.
        """
        sizes = state.num_nodes.tolist()
        if sum(sizes) != len(state.features):
            raise ValueError(f"num_nodes adds up to {sum(sizes)}, not {len(state.features)}")
        if len(sizes) % outputs:
            raise ValueError(f"num_nodes has {len(sizes)} forests for {outputs} outputs")
        ends = np.cumsum(sizes)[:-1]
        pairs = zip(np.split(state.features, ends), np.split(state.values, ends), strict=True)
        forests = [Forest(features, *pair) for pair in pairs]
        each = len(sizes) // outputs
        return TreesModel(
            tuple(tuple(forests[at : at + each]) for at in range(0, len(forests), each))
        )
