"""Logistic regression on k-mers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from selfattn_bio.baselines.base import Baseline, Labels, Logits, State
from selfattn_bio.baselines.blocks import Align, KmerSlots
from selfattn_bio.sequence.alphabet import Letters
from selfattn_bio.sequence.kmers import root_of_squares
from selfattn_bio.stored import ArrayOf, Finite, Positive, Stored

TINY = 1e-12


@dataclass(frozen=True)
class Scaling:
    """Scale the counts of each block.

    Attributes
    ----------
    by_record
        Divide by the Euclidean length of the record's counts, which removes the effect of record
        length. Otherwise divide by `fixed`.
    fixed
        One divisor per block.
    """

    by_record: bool
    fixed: tuple[float, ...]

    def of(self, counts: Sequence[sparse.csr_matrix]) -> sparse.csr_matrix:
        """Return the scaled blocks (n, size) concatenated."""
        if self.by_record:
            scales = [np.maximum(root_of_squares(block), TINY) for block in counts]
            counts = [
                sparse.diags_array(1 / scale) @ block
                for scale, block in zip(scales, counts, strict=True)
            ]
        else:
            counts = [
                block * block.dtype.type(1 / scale)
                for scale, block in zip(self.fixed, counts, strict=True)
            ]
        return sparse.csr_matrix(sparse.hstack(counts))


class StoredBlock(Stored):
    """Settings of a `KmerSlots`, and the fixed divisor of its counts."""

    k: Annotated[int, Field(ge=1, le=8)]
    slots: Annotated[int, Field(ge=1)]
    align: Align
    divisor: Positive


class LinearState(State):
    """Features, their scaling and weights, penalty and intercept."""

    blocks: Annotated[list[StoredBlock], Field(min_length=1)]
    by_record: bool
    penalty: Positive
    bias: Finite
    weights: Annotated[NDArray[np.float64], ArrayOf("float64")]


class LinearKmers(Baseline):
    """Logistic regression with an L2 penalty on k-mer features.

    Features, scaling and penalty are chosen by AUROC on the validation split.
    """

    # Scikit-learn's C; larger values fit more closely
    penalties: ClassVar[tuple[float, ...]] = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
    tolerance: ClassVar[float] = 1e-4
    reads_strands = True
    state = LinearState

    blocks: tuple[KmerSlots, ...]
    scaling: Scaling
    penalty: float
    weights: NDArray[np.float64]
    bias: float

    @abstractmethod
    def candidates(
        self, train: Letters
    ) -> Iterator[tuple[tuple[KmerSlots, ...], list[sparse.csr_matrix], Scaling]]:
        """Yield feature sets to choose from: blocks, their training counts, and a scaling."""

    def chosen(self) -> dict[str, Any]:
        """Return the penalty and scaling."""
        return {
            "C": self.penalty,
            "scaling": "by record" if self.scaling.by_record else "by mean of train",
        }

    def _fit(
        self, train: Letters, labels: Labels, valid: tuple[Letters, ...], valid_labels: Labels
    ) -> None:
        best, counted = -1.0, None
        for blocks, counts, scaling in self.candidates(train):
            if blocks != counted:
                on_valid = [[block.counts(reading) for block in blocks] for reading in valid]
                counted = blocks
            x, x_valid = scaling.of(counts), tuple(map(scaling.of, on_valid))
            # Each fit starts from the previous one, which has a slightly stronger penalty
            model = LogisticRegression(max_iter=2000, tol=self.tolerance, warm_start=True)
            for penalty in self.penalties:
                model.set_params(C=penalty).fit(x, labels)
                auroc = roc_auc_score(valid_labels, self._mean(model.decision_function, x_valid))
                if auroc > best:
                    best, self.blocks, self.scaling, self.penalty = auroc, blocks, scaling, penalty
                    self.weights = model.coef_[0].astype(np.float64)
                    self.bias = float(model.intercept_[0])

    def _logits(self, letters: Letters) -> Logits:
        logits = np.full(len(letters), self.bias)
        for block, weights, scale in self._by_block:
            totals, squares = block.totals(letters, weights)
            logits += totals / (
                np.maximum(np.sqrt(squares), TINY) if self.scaling.by_record else scale
            )
        return logits

    @property
    def _by_block(self) -> list[tuple[KmerSlots, NDArray[np.float64], float]]:
        """Return the weights and the fixed scale of each block."""
        weights = np.split(self.weights, np.cumsum([block.size for block in self.blocks])[:-1])
        return list(zip(self.blocks, weights, self.scaling.fixed, strict=True))

    def _effects(self, letters: Letters) -> list[NDArray[np.float64]]:
        return [
            sum((self._of_block(*each, record) for each in self._by_block), np.zeros(1))
            for record in letters
        ]

    def _of_block(
        self,
        block: KmerSlots,
        weights: NDArray[np.float64],
        scale: float,
        record: NDArray[np.uint8],
    ) -> NDArray[np.float64]:
        substitutions = block.substitutions(record)
        linear = substitutions.total(weights)
        if not self.scaling.by_record:
            return linear / scale
        counts = block.counts([record]).toarray()[0].astype(np.float64)
        before, squares = weights @ counts, counts @ counts
        after = np.sqrt(np.maximum(squares + substitutions.squares(counts), 0))
        return (before + linear) / np.maximum(after, TINY) - before / max(np.sqrt(squares), TINY)

    def _state(self) -> LinearState:
        blocks = [
            StoredBlock(k=block.k, slots=block.slots, align=block.align, divisor=divisor)
            for block, divisor in zip(self.blocks, self.scaling.fixed, strict=True)
        ]
        return LinearState(
            blocks=blocks,
            by_record=self.scaling.by_record,
            penalty=self.penalty,
            bias=self.bias,
            weights=self.weights,
        )

    def _restore(self, state: LinearState) -> None:
        self.blocks = tuple(
            KmerSlots(self.setup.alphabet, block.k, block.slots, block.align)
            for block in state.blocks
        )
        self.scaling = Scaling(state.by_record, tuple(block.divisor for block in state.blocks))
        self.penalty, self.bias, self.weights = state.penalty, state.bias, state.weights
        if len(self.weights) != (expected := sum(block.size for block in self.blocks)):
            raise ValueError(f"weights has {len(self.weights)} values for {expected} k-mers")
