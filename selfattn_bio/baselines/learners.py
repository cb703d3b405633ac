"""Linear models as learners of baselines, for every kind of target; `trees` has the others.

A learner fits one `Answer` of an objective at a time, and joins the models of several answers.
Their outputs are those of a network: logits, standardised numbers or logarithms of rates.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Annotated, Any, ClassVar

import numpy as np
import scipy
from numpy.typing import NDArray
from pydantic import Field

from selfattn_bio.baselines.base import Array, State
from selfattn_bio.baselines.features import Features, Matrix
from selfattn_bio.objectives.base import Answer
from selfattn_bio.sequence.alphabet import Letters
from selfattn_bio.stored import ArrayOf, Finite, NotNegative

RARE = 1e-6  # lowest probability and rate of a constant prediction, so that its logarithm is finite
# maximum number of gapped k-mers of all training records, per strand; each takes up to 12 bytes
MAX_GAPPED = 30_000_000


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
        case "number" | "robust":
            return np.array([values.mean()])
        case "count" | "rate":
            return np.log(np.maximum([values.mean()], RARE))


def worth(outputs: Array, answer: Answer) -> float:
    """Return how well outputs (n, size) fit an answer; higher is better.

    It is the AUROC of labels, the log-likelihood of classes and counts, and minus the squared error
    or Huber's loss of numbers, which also sees shrinkage. It is -inf if nothing is known, or only
    one label.
    """
    known = np.isfinite(answer.values)
    truth, outputs = answer.values[known], outputs[known]
    if not len(truth) or (answer.kind == "label" and len(np.unique(truth)) < 2):
        return -np.inf
    match answer.kind:
        case "label":
            from sklearn.metrics import roc_auc_score  # imported here because it takes a second

            return float(roc_auc_score(truth, outputs[:, 0]))
        case "class":
            likelihoods = scipy.special.log_softmax(outputs, axis=1)
            return float(likelihoods[np.arange(len(truth)), truth.astype(np.int64)].mean())
        case "number":
            return -float(np.mean((outputs[:, 0] - truth) ** 2))
        case "robust":
            return -float(np.mean(scipy.special.huber(1.0, outputs[:, 0] - truth)))
        case "count" | "rate":
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
        penalties = [penalty for penalty in self.penalties if penalty]
        return {"C": penalties if len(penalties) > 1 else penalties[0]} if penalties else {}

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
        from sklearn.exceptions import ConvergenceWarning

        known = np.isfinite(train.values)
        x, y = (x, train.values) if known.all() else (x[known], train.values[known])
        best = LinearModel(np.zeros((train.size, x.shape[1])), prior(train), (0.0,))
        highest = -np.inf
        if len(np.unique(y)) < 2:
            return best, highest
        x = self._fitted_to(x)
        # Each fit starts from the previous one, which has a slightly stronger penalty
        model = self._regression(train)
        for penalty in self.penalties:
            alpha = 1 / (penalty * len(y)) if train.kind == "count" else 1 / penalty
            model.set_params(**({"C": penalty} if hasattr(model, "C") else {"alpha": alpha}))
            # close enough for a baseline
            with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
                model.fit(x, y)
            weights = self._of_features(model.coef_.reshape(-1, x.shape[1]))
            biases = np.ravel(model.intercept_)
            if train.kind == "class":
                weights, biases = _of_classes(weights, biases, model.classes_, train.size)
            outputs = np.mean([reading @ weights.T + biases for reading in readings], axis=0)
            if (found := worth(outputs, valid)) > highest:
                highest = found
                chosen = penalty if len(self.penalties) > 1 else 0.0
                best = LinearModel(weights.astype(np.float64), biases.astype(np.float64), (chosen,))
        return best, highest

    def _fitted_to(self, x: Matrix) -> Matrix:
        """Return the matrix that the regression reads, from the features (n, F)."""
        return x

    def _of_features(self, weights: NDArray[Any]) -> NDArray[Any]:
        """Return the weights of the features, (C, F), from those of the regression."""
        return weights

    def _regression(self, answer: Answer) -> Any:
        from sklearn import linear_model as linear

        match answer.kind:
            case "number" | "robust":  # for robust numbers, Huber's loss only chooses the penalty
                return linear.Ridge()
            case "count":
                return linear.PoissonRegressor(max_iter=500, warm_start=True)
            case _:
                return linear.LogisticRegression(max_iter=2000, tol=self.tolerance, warm_start=True)

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

    def _fitted_to(self, x: Matrix) -> Matrix:
        return x @ self.matched

    def _of_features(self, weights: NDArray[Any]) -> NDArray[Any]:
        return (self.matched @ weights.T).T

    @cached_property
    def matched(self) -> scipy.sparse.csr_matrix:
        """Return the gapped k-mers that each k-mer matches, (4^k, G), 1 or 0."""
        kmers = np.arange(4**self.k)
        digits = kmers[:, None] // 4 ** np.arange(self.k - 1, -1, -1) % 4  # (4^k, k)
        powers = 4 ** np.arange(self.informative - 1, -1, -1)
        at = combinations(range(1, self.k), self.informative - 1)
        columns = np.stack([digits[:, (0, *others)] @ powers for others in at], axis=1)
        columns += np.arange(columns.shape[1]) * 4**self.informative
        shape = (len(kmers), columns.shape[1] * 4**self.informative)
        rows = np.repeat(kmers, columns.shape[1])
        ones = np.ones(columns.size, np.float32)
        return scipy.sparse.csr_matrix((ones, (rows, columns.ravel())), shape=shape)
