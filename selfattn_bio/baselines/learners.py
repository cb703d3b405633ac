"""Learners of baselines: linear models and boosted trees, for every kind of target.

A learner fits one `Answer` of an objective at a time, and joins the models of several answers.
Their outputs are those of a network: logits, standardised numbers or logarithms of rates.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import sparse
from scipy.special import log_softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from sklearn.metrics import roc_auc_score

from selfattn_bio.baselines.base import State
from selfattn_bio.baselines.features import Features, Matrix
from selfattn_bio.baselines.forest import LEAF, Forest
from selfattn_bio.objectives.base import Answer
from selfattn_bio.sequence.alphabet import Letters
from selfattn_bio.stored import ArrayOf, Finite, NotNegative

Array = NDArray[np.float64]

RARE = 1e-6  # lowest probability and rate of a constant prediction, so that its logarithm is finite
PIECE = 4096  # rows of a sparse matrix that pass through the trees together
READ = 1000  # maximum number of features that a tree reads
PATIENCE = 0.05  # trees without improvement on valid before it stops, as a fraction of all
TREES_PER_RECORD = 2  # at most, but at least 100 trees
MAX_FITTED = 300_000  # maximum number of training records of trees, divided by the outputs
# maximum number of gapped k-mers of all training records, which take 8 bytes each
MAX_GAPPED = 30_000_000
PARAMETERS: dict[str, Any] = {
    **{"bagging_fraction": 0.8, "bagging_freq": 1, "lambda_l2": 1.0, "max_bin": 63},
    **{"deterministic": True, "force_col_wise": True, "verbosity": -1},
}
OBJECTIVES = {  # of LightGBM, and the metric that stops early
    "label": ("binary", "binary_logloss"),
    "class": ("multiclass", "multi_logloss"),
    "number": ("regression", "l2"),
    "count": ("poisson", "poisson"),
}


def prior(answer: Answer) -> Array:
    """Return the outputs that fit the known values best and ignore the record, (size,)."""
    values = answer.values[np.isfinite(answer.values)]
    if not len(values):
        return np.zeros(answer.size)
    match answer.kind:
        case "label":
            mean = np.clip([values.mean()], RARE, 1 - RARE)
            return np.log(mean / (1 - mean))
        case "class":
            counts = np.bincount(values.astype(np.int64), minlength=answer.size)
            return np.log(np.maximum(counts / len(values), RARE))
        case "number":
            return np.array([values.mean()])
        case "count":
            return np.log(np.maximum([values.mean()], RARE))


def worth(outputs: Array, answer: Answer) -> float:
    """Return how well outputs (n, size) fit an answer; higher is better.

    It is the AUROC of labels, the log-likelihood of classes and counts, and minus the squared error
    of numbers, which also sees shrinkage. It is -inf if nothing is known, or only one label.
    """
    known = np.isfinite(answer.values)
    truth, outputs = answer.values[known], outputs[known]
    if not len(truth) or (answer.kind == "label" and len(np.unique(truth)) < 2):
        return -np.inf
    match answer.kind:
        case "label":
            return float(roc_auc_score(truth, outputs[:, 0]))
        case "class":
            likelihoods = log_softmax(outputs, axis=1)
            return float(likelihoods[np.arange(len(truth)), truth.astype(np.int64)].mean())
        case "number":
            return -float(np.mean((outputs[:, 0] - truth) ** 2))
        case "count":
            return float(np.mean(truth * outputs[:, 0] - np.exp(outputs[:, 0])))


class LinearState(State):
    """Penalty of each answer, intercept of each output, and weights, output by output."""

    penalties: Annotated[list[NotNegative], Field(min_length=1)]
    biases: Annotated[list[Finite], Field(min_length=1)]
    weights: Annotated[NDArray[np.float64], ArrayOf("float64")]


@dataclass(frozen=True)
class LinearModel:
    """A fitted linear model with C outputs.

    Attributes
    ----------
    weights, biases
        (C, F) and (C,).
    penalties
        scikit-learn's C of each answer, 0 if there was no choice.
    """

    weights: Array
    biases: Array
    penalties: tuple[float, ...]

    def read(self, features: Features, letters: Letters) -> Array:
        """Return the outputs of records or their positions, (n, C)."""
        lines = zip(self.weights, self.biases.tolist(), strict=True)
        return np.stack([features.weighted(letters, *line) for line in lines], axis=1)

    def outputs(self, x: Matrix) -> Array:
        """Return the outputs of rows of features, (n, C)."""
        found: Array = x @ self.weights.T + self.biases
        return found

    def effects(self, features: Features, letters: Letters, output: int) -> Iterator[Array | None]:
        """Yield the effects of substitutions on an output, (L, A); None to score each of them."""
        for record in letters:
            yield features.weighted_effects(record, self.weights[output])

    def chosen(self) -> dict[str, Any]:
        """Return the penalties."""
        penalties = list(self.penalties)
        return {"C": penalties if len(penalties) > 1 else penalties[0]} if any(penalties) else {}

    def stored(self) -> LinearState:
        """Return the state from which `Linear.restore` builds the model."""
        return LinearState(
            penalties=list(self.penalties),
            biases=self.biases.tolist(),
            weights=self.weights.ravel(),
        )


@dataclass(frozen=True)
class Linear:
    """Logistic, ridge or Poisson regression with an L2 penalty, chosen on the validation split.

    Attributes
    ----------
    penalties
        Values of scikit-learn's C to choose from, the strongest penalty first. Larger values fit
        more closely. Without any, the model is the best constant.
    tolerance
        scikit-learn's `tol` of a logistic regression.
    """

    penalties: tuple[float, ...] = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
    tolerance: float = 1e-4
    scaled: ClassVar[bool] = True  # whether the scale of the features matters
    is_sampled: ClassVar[bool] = False  # whether `most` may limit the training records
    max_outputs: ClassVar[int] = 0  # without limit
    state: ClassVar[type[State]] = LinearState

    def most(self, train: Letters, outputs: int) -> int:
        """Return the maximum number of training records."""
        return len(train)

    def fit(
        self, train: Answer, valid: Answer, x: Matrix, readings: Sequence[Matrix], threads: int
    ) -> tuple[LinearModel, float]:
        """Fit a model of one answer, and return it with its worth on the validation records.

        Parameters
        ----------
        train, valid
            The answer for the training and validation records.
        x, readings
            Their features. If both strands are read, the validation records are read twice, and
            the outputs are averaged.
        threads
            Number of threads, which only trees use.
        """
        known = np.isfinite(train.values)
        x, y = (x, train.values) if known.all() else (x[known], train.values[known])
        best = LinearModel(np.zeros((train.size, x.shape[1])), prior(train), (0.0,))
        highest = -np.inf
        if len(np.unique(y)) < 2:
            return best, highest
        # Each fit starts from the previous one, which has a slightly stronger penalty
        model = self._regression(train)
        for penalty in self.penalties:
            strength = {"number": 1 / penalty, "count": 1 / (penalty * len(y))}.get(train.kind)
            model.set_params(**({"C": penalty} if strength is None else {"alpha": strength}))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # close enough for a baseline
                model.fit(x, y)
            weights, biases = model.coef_.reshape(-1, x.shape[1]), np.ravel(model.intercept_)
            if train.kind == "class":
                weights, biases = _of_classes(weights, biases, model.classes_, train.size)
            outputs = np.mean([reading @ weights.T + biases for reading in readings], axis=0)
            if (found := worth(outputs, valid)) > highest:
                highest = found
                chosen = penalty if len(self.penalties) > 1 else 0.0
                best = LinearModel(weights.astype(np.float64), biases.astype(np.float64), (chosen,))
        return best, highest

    def _regression(self, answer: Answer) -> Any:
        match answer.kind:
            case "number":
                return Ridge()
            case "count":
                return PoissonRegressor(max_iter=500, warm_start=True)
            case _:
                return LogisticRegression(max_iter=2000, tol=self.tolerance, warm_start=True)

    def joined(self, parts: Sequence[LinearModel]) -> LinearModel:
        """Return one model with the outputs of all parts."""
        return LinearModel(
            np.concatenate([part.weights for part in parts]),
            np.concatenate([part.biases for part in parts]),
            tuple(penalty for part in parts for penalty in part.penalties),
        )

    def restore(self, state: LinearState, features: int, outputs: int) -> LinearModel:
        """Build a model from its state.

        Raises
        ------
        ValueError
            If values and arrays do not fit each other, the features or the outputs.
        """
        if len(state.biases) != outputs:
            raise ValueError(f"there are {len(state.biases)} biases for {outputs} outputs")
        if len(state.weights) != features * outputs:
            raise ValueError(
                f"weights has {len(state.weights)} values for {features} features and {outputs} "
                "outputs"
            )
        weights = state.weights.reshape(outputs, features)
        return LinearModel(weights, np.array(state.biases), tuple(state.penalties))


def _of_classes(
    weights: NDArray[Any], biases: NDArray[Any], present: NDArray[Any], size: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the weights and intercepts of all classes from those of the classes in train.

    scikit-learn has one row for two classes, the log-odds of the second. Absent classes are rare.
    """
    if len(weights) == 1:
        weights, biases = np.vstack([0 * weights, weights]), np.append(0 * biases, biases)
    rows = present.astype(np.int64)
    of_all = np.zeros((size, weights.shape[1]), weights.dtype)
    lowest = np.full(size, biases.min() + np.log(RARE), biases.dtype)
    of_all[rows], lowest[rows] = weights, biases
    return of_all, lowest


@dataclass(frozen=True)
class GappedLinear(Linear):
    """A linear model of gapped k-mers, for counts of k-mers of DNA as features.

    A gapped k-mer has `informative` bases, the first one included; the others may be any. It is
    counted wherever a k-mer matches, so that k-mers that differ in a few bases share weights. The
    weight of a k-mer is the sum of those of the gapped k-mers that it matches.

    Attributes
    ----------
    k, informative
        Length, and number of bases that are compared.

    References
    ----------
    Ghandi et al. 2014, Enhanced regulatory sequence prediction using gapped k-mer features (with a
    support vector machine).
    """

    k: int = 8
    informative: int = 6
    is_sampled: ClassVar[bool] = True
    max_outputs: ClassVar[int] = 20  # because a fit takes up to a minute

    def most(self, train: Letters, outputs: int) -> int:
        """Return the maximum number of training records."""
        bp = sum(map(len, train)) / len(train)
        return max(2, round(MAX_GAPPED / (bp * math.comb(self.k - 1, self.informative - 1))))

    def fit(
        self, train: Answer, valid: Answer, x: Matrix, readings: Sequence[Matrix], threads: int
    ) -> tuple[LinearModel, float]:
        """Fit a model of one answer; see `Linear.fit`."""
        matched = self._matched()
        model, found = super().fit(
            train, valid, x @ matched, [reading @ matched for reading in readings], threads
        )
        return replace(model, weights=(matched @ model.weights.T).T), found

    def _matched(self) -> sparse.csr_matrix:
        """Return the gapped k-mers that each k-mer matches, (4^k, F), 1 or 0."""
        kmers = np.arange(4**self.k)
        digits = kmers[:, None] // 4 ** np.arange(self.k - 1, -1, -1) % 4  # (4^k, k)
        powers = 4 ** np.arange(self.informative - 1, -1, -1)
        at = combinations(range(1, self.k), self.informative - 1)
        columns = np.stack([digits[:, (0, *others)] @ powers for others in at], axis=1)
        columns += np.arange(columns.shape[1]) * 4**self.informative
        shape = (len(kmers), columns.shape[1] * 4**self.informative)
        rows = np.repeat(kmers, columns.shape[1])
        ones = np.ones(columns.size, np.float32)
        return sparse.csr_matrix((ones, (rows, columns.ravel())), shape=shape)


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
        dense = (piece.toarray() if sparse.issparse(piece) else piece for piece in pieces)
        return np.concatenate([self._of_dense(piece) for piece in dense])

    def _of_dense(self, x: NDArray[Any]) -> Array:
        means = [np.mean([forest.sums(x) for forest in each], axis=0) for each in self.forests]
        return np.stack(means, axis=1)

    def read(self, features: Features, letters: Letters) -> Array:
        """Return the outputs of records or their positions, (n, C)."""
        return self.outputs(features.matrix(letters))

    def effects(self, features: Features, letters: Letters, output: int) -> Iterator[Array | None]:
        """Yield the effects of substitutions on an output, (L, A); None to score each of them."""
        forests = self.forests[output]
        trees = Forest(forests[0].num_features, *self._nodes(forests))
        for record in letters:
            if (read := features.changes(record, trees.used)) is None:
                yield None
                continue
            given, changed = read  # (F,) and (F, A, L)
            changes = trees.changes(given, changed.reshape(len(given), -1))
            yield changes.reshape(changed.shape[1:]).T / len(forests)

    @staticmethod
    def _nodes(forests: Sequence[Forest]) -> list[NDArray[Any]]:
        names = ("features", "values")
        return [np.concatenate([getattr(forest, name) for forest in forests]) for name in names]

    def chosen(self) -> dict[str, Any]:
        """Return the number of trees of each forest."""
        return {"trees": [forest.num_trees for each in self.forests for forest in each]}

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
        Learning rate, and the fraction of the features that each tree reads.
    seeds
        Number of boosters that are averaged.
    rounds
        Maximum number of trees; fewer for each of several classes, which take longer, and at most
        two per training record of a small split.
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
            sparse.csr_matrix(sparse.vstack(judged_readings))
            if sparse.issparse(x)
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
        }
        if answer.kind == "class":
            parameters["num_class"] = answer.size
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
