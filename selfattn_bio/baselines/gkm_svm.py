"""Support vector machine on gapped k-mers of DNA, from the package gkmsvm-lite (extra `gkm`)."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from selfattn_bio.baselines.base import Baseline, Labels, Logits, Setup, State, sample_rows
from selfattn_bio.extras import install_command
from selfattn_bio.sequence.alphabet import Letters
from selfattn_bio.stored import ArrayOf, Finite

LMER, INFORMATIVE, MISMATCHES, PENALTY = 11, 7, 3, 1.0  # the defaults of LS-GKM
PLATT = 10.0  # scikit-learn's C of the regression on decision values, which keeps its slope finite
# Maximum number of training records, sampled if there are more; time grows quadratically
MAX_RECORDS = 2_000
LONGEST = 150  # maximum length in bp; time grows quadratically
PARAMETERS = {"L": LMER, "k": INFORMATIVE, "d": MISMATCHES, "include_rc": True}


class GkmState(State):
    """Support vectors as letters 0 to 3, their coefficients, and two lines.

    `bias` is the intercept of the decision value; `scale` and `offset` give the logit.
    """

    vectors: Annotated[NDArray[np.uint8], ArrayOf("uint8", ("vectors", "bp"), low=0, high=3)]
    coefficients: Annotated[NDArray[np.float32], ArrayOf("float32", ("vectors",))]
    bias: Finite
    scale: Finite
    offset: Finite


class GkmSvm(Baseline):
    """Support vector machine on gapped 11-mers with 7 informative positions, on both strands.

    A logistic regression of the validation labels on the decision value gives the logit. Ambiguous
    bases are read as A. No setting is chosen on the validation split.

    References
    ----------
    Ghandi et al. 2014, Enhanced regulatory sequence prediction using gapped k-mer features; Lee
    2016, LS-GKM.
    """

    name, title, short_title = "gkm_svm", "gapped k-mer SVM", "gkm-SVM"
    alphabets = ("dna",)
    state = GkmState

    machine: Any
    scale: float
    offset: float

    @classmethod
    def obstacle(cls, setup: Setup, train: Letters) -> str:
        """Return why it cannot be fitted.

        The extra is not installed, or records are too long, too short or differ in length.
        """
        lengths = {len(record) for record in train}
        if lacking := cls.lacking():
            return lacking
        if len(lengths) > 1:
            return f"records have {min(lengths):,} to {max(lengths):,} bp; it needs one length"
        if not LMER <= max(lengths) <= LONGEST:
            return f"records have {max(lengths):,} bp; it reads {LMER} to {LONGEST}"
        return ""

    @classmethod
    def lacking(cls) -> str:
        """Return how to install the extra `gkm` if it is not installed."""
        if find_spec("gkmsvm") is None:
            return f"it needs the extra gkm: {install_command('gkm')}"
        return ""

    def chosen(self) -> dict[str, Any]:
        """Return the number of training records and of support vectors."""
        return {"records": self.records, "support vectors": len(self.machine.coefficients)}

    def _fit(
        self, train: Letters, labels: Labels, valid: tuple[Letters, ...], valid_labels: Labels
    ) -> None:
        rows = sample_rows(labels, MAX_RECORDS)
        self.records = len(rows)
        positive, negative = (
            _one_hot([train[int(row)] for row in rows if labels[row] == label]) for label in (1, 0)
        )
        self.machine = _package().train_gkmsvm(
            positive,
            negative,
            l=LMER,
            k=INFORMATIVE,
            d=MISMATCHES,
            C=PENALTY,
            solver="libsvm",
            device="cpu",
        )
        self.scale, self.offset = 1.0, 0.0
        decisions = self._logits(valid[0])
        spread = decisions.std() or 1.0  # all decision values may be equal
        line = LogisticRegression(C=PLATT).fit(decisions[:, None] / spread, valid_labels)
        self.scale, self.offset = float(line.coef_[0, 0] / spread), float(line.intercept_[0])

    def _logits(self, letters: Letters) -> Logits:
        logits, lengths = np.empty(len(letters)), np.array([len(record) for record in letters])
        for length in np.unique(lengths):
            rows: NDArray[np.int64] = np.flatnonzero(lengths == length)
            logits[rows] = self.machine(_one_hot([letters[row] for row in rows]))[:, 0]
        return logits * self.scale + self.offset

    def _effects(self, letters: Letters) -> list[NDArray[np.float64]]:
        effects = []
        for record in letters:
            one_hot = _one_hot([record])
            of_record = (
                _package().ism(self.machine, one_hot)[0].T[: len(record)].astype(np.float64)
                * self.scale
            )
            # Exactly 0 for the original base
            of_record[one_hot[0].T[: len(record)] > 0] = 0
            effects.append(of_record)
        return effects

    def _state(self) -> GkmState:
        return GkmState(
            vectors=self.machine.support_sequences.argmax(axis=1).astype(np.uint8),
            coefficients=self.machine.coefficients,
            bias=float(self.machine.bias),
            scale=self.scale,
            offset=self.offset,
        )

    def _restore(self, state: GkmState) -> None:
        if not LMER <= (length := state.vectors.shape[1]) <= LONGEST:
            raise ValueError(f"vectors has {length} bp; {LMER} to {LONGEST} are possible")
        vectors = np.eye(4, dtype=np.float32)[state.vectors].transpose(0, 2, 1)
        self.machine = _package().GkmSVM(
            vectors, state.coefficients, state.bias, "estimated", PARAMETERS
        )
        self.scale, self.offset = state.scale, state.offset


def _package() -> Any:
    """Import gkmsvm without its warning that numba's threading layer is already initialised."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Numba's threading layer is already initialized")
        import gkmsvm
    return gkmsvm


def _one_hot(letters: Letters) -> NDArray[np.float32]:
    """Return records of one length as one-hot, (n, 4, L), float32, padded to at least one l-mer.

    All letters except C, G and T become A.
    """
    table = np.zeros(256, np.int64)
    table[list(b"ACGT")] = range(4)
    codes = table[np.stack(letters)]
    codes = np.pad(codes, ((0, 0), (0, max(0, LMER - codes.shape[1]))))
    return np.eye(4, dtype=np.float32)[codes].transpose(0, 2, 1)
