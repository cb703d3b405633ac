"""What a biologist would try first, fitted on the same split with the same care: letter content and k-mers with a logistic regression; of
protein also what tells two collections apart without any biology, length and first residue.

Hides: scikit-learn and sparse counts. What can be chosen (strength of the penalty, scaling of the counts) is chosen on valid,
as the model's training is; test is only predicted. The CNN is no guest here: it is a variant of `train`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from selfattn_bio.data.batches import pad_letters
from selfattn_bio.sequence.alphabet import Alphabet
from selfattn_bio.sequence.kmers import KmerTokenizer

Letters = Sequence[NDArray[np.uint8]]  # one array of ASCII letters a record
Labels = NDArray[np.int64]
PENALTIES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # scikit-learn's C: a larger one fits closer
CLOSER = (50.0, 200.0, 1000.0)  # shares of 20 residues need large weights
NUM_SPECIAL = 4  # tokens below are [PAD] [CLS] [MASK] [UNK]
PIECE = 1 << 20  # letters of a record that are counted at once, as eight bytes each
CHUNK = 1024  # records encoded at once, padded to the longest of them


class Baseline(Protocol):
    """Fitted once on train (choosing on valid), then asked for probabilities."""

    def fit(self, train: Letters, labels: Labels, valid: Letters, valid_labels: Labels) -> None: ...

    def probabilities(self, letters: Letters) -> NDArray[np.float64]: ...

    def chosen(self) -> dict[str, Any]:
        """What was chosen on valid, for the report."""


def baselines(alphabet: Alphabet) -> dict[str, Baseline]:
    """The baselines of an alphabet by name, not fitted yet: simplest first."""
    if alphabet.name == "dna":
        return {
            "gc": Figures(lambda letters: gc_content(letters)[:, None]),
            "kmer6_logistic": KmerLogistic(alphabet, k=6),
            "kmer6_positional_logistic": KmerLogistic(alphabet, k=6, positional_k=3),
        }
    return {
        "length": Figures(length_figures),
        "first_letter": Figures(first_letter(alphabet)),
        "composition": KmerLogistic(alphabet, k=1, penalties=(*PENALTIES, *CLOSER)),
        "kmer2_logistic": KmerLogistic(alphabet, k=2, penalties=(*PENALTIES, *CLOSER)),
    }


def gc_content(letters: Letters) -> NDArray[np.float64]:
    """Share of G and C among the A, C, G and T of each record, shape (records,); ambiguous letters count neither way."""
    pieces = ((record[start : start + PIECE] for start in range(0, max(1, len(record)), PIECE)) for record in letters)
    counts = np.array([sum(np.bincount(piece, minlength=256)[list(b"ACGT")] for piece in of_record) for of_record in pieces])
    return counts[:, 1:3].sum(axis=1) / np.maximum(counts.sum(axis=1), 1)


def length_figures(letters: Letters) -> NDArray[np.float64]:
    """Logarithm of each record's length and its square, so that the middle lengths may be the likeliest, shape (records, 2)."""
    logs = np.log([[len(record)] for record in letters])
    return np.hstack([logs, logs**2])


def first_letter(alphabet: Alphabet) -> Callable[[Letters], NDArray[np.float64]]:
    """Which letter a record begins with, shape (records, letters of the alphabet); an ambiguous one is none of them."""
    return lambda letters: np.eye(256)[[record[0] for record in letters]][:, list(alphabet.letters.encode())]


@dataclass
class Figures:
    """Logistic regression on a few figures of each record, with nothing to choose: what is told without reading it as a whole."""

    of: Callable[[Letters], NDArray[np.float64]]  # (records, figures)
    model: LogisticRegression = field(default_factory=lambda: LogisticRegression(C=1e6, max_iter=1000))

    def fit(self, train: Letters, labels: Labels, valid: Letters, valid_labels: Labels) -> None:
        self.model.fit(self.of(train), labels)

    def probabilities(self, letters: Letters) -> NDArray[np.float64]:
        return self.model.predict_proba(self.of(letters))[:, 1]

    def chosen(self) -> dict[str, Any]:
        return {}


@dataclass
class KmerLogistic:
    """Logistic regression with an L2 penalty on k-mer counts, optionally with counts of shorter k-mers by place in the record.

    Counts are divided by the root of their sum of squares: by that of the record, so that length does not count, or by the
    mean of train, so that it does. Valid decides, together with the penalty.
    """

    alphabet: Alphabet
    k: int
    positional_k: int = 0
    bins: int = 10  # of relative place
    penalties: tuple[float, ...] = PENALTIES

    def fit(self, train: Letters, labels: Labels, valid: Letters, valid_labels: Labels) -> None:
        on_train, on_valid = self._counts(train), self._counts(valid)
        self._mean_norms = [_norms(block).mean() or 1.0 for block in on_train]
        best = -1.0
        for by_record in (True, False):
            x, x_valid = self._scaled(on_train, by_record), self._scaled(on_valid, by_record)
            for penalty in self.penalties:
                model = LogisticRegression(C=penalty, max_iter=2000, tol=1e-4).fit(x, labels)
                auroc = roc_auc_score(valid_labels, model.decision_function(x_valid))
                if auroc > best:
                    best, self._model, self._by_record, self._penalty = auroc, model, by_record, penalty

    def probabilities(self, letters: Letters) -> NDArray[np.float64]:
        return self._model.predict_proba(self._scaled(self._counts(letters), self._by_record))[:, 1]

    def chosen(self) -> dict[str, Any]:
        return {"C": self._penalty, "scaling": "by record" if self._by_record else "by mean of train"}

    def _counts(self, letters: Letters) -> list[sparse.csr_matrix]:
        blocks = [_count_kmers(letters, KmerTokenizer(self.alphabet, k=self.k, stride=1), bins=1)]
        if self.positional_k:
            blocks.append(_count_kmers(letters, KmerTokenizer(self.alphabet, k=self.positional_k, stride=1), bins=self.bins))
        return blocks

    def _scaled(self, blocks: list[sparse.csr_matrix], by_record: bool) -> sparse.csr_matrix:
        scales = [_norms(b) if by_record else np.full(b.shape[0], m) for b, m in zip(blocks, self._mean_norms, strict=True)]
        scaled = [sparse.diags_array(1 / np.maximum(s, 1e-12)) @ b for s, b in zip(scales, blocks, strict=True)]
        return sparse.csr_matrix(sparse.hstack(scaled))


@dataclass(frozen=True)
class KmerCounts:
    """k-mer counts of records, each divided by the root of its sum of squares: (records, k-mers)."""

    alphabet: Alphabet
    k: int

    def __call__(self, letters: Letters) -> sparse.csr_matrix:
        counts = _count_kmers(letters, KmerTokenizer(self.alphabet, k=self.k, stride=1), bins=1)
        return sparse.csr_matrix(sparse.diags_array(1 / np.maximum(_norms(counts), 1e-12)) @ counts)


def _norms(counts: sparse.csr_matrix) -> NDArray[np.float64]:
    return np.sqrt(np.asarray(counts.multiply(counts).sum(axis=1), dtype=np.float64).ravel())


def _count_kmers(letters: Letters, tokenizer: KmerTokenizer, bins: int) -> sparse.csr_matrix:
    """Counts of each k-mer in each of `bins` equal parts of a record, (records, bins * k-mers); those with an ambiguous letter left out."""
    num_kmers = tokenizer.vocabulary_size - NUM_SPECIAL
    chunks = []
    for tokens in _encoded(letters, tokenizer):  # (records, N)
        lengths = np.maximum((tokens > 0).sum(axis=1, keepdims=True), 1)  # padding is at the end
        part = np.minimum(np.arange(tokens.shape[1]) * bins // lengths, bins - 1)
        rows, at = np.nonzero(tokens >= NUM_SPECIAL)
        columns = part[rows, at] * num_kmers + tokens[rows, at] - NUM_SPECIAL
        shape = (len(tokens), bins * num_kmers)
        chunks.append(sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=shape))  # repeats are summed
    return sparse.csr_matrix(sparse.vstack(chunks))


def _encoded(letters: Letters, tokenizer: KmerTokenizer) -> Iterator[NDArray[np.int32]]:
    for start in range(0, len(letters), CHUNK):
        # A record shorter than k is filled up with the unknown letter: it has no k-mer, so no count, but is no error for a baseline.
        filled = [
            np.pad(record, (0, max(0, tokenizer.k - len(record))), constant_values=ord(tokenizer.alphabet.unknown))
            for record in letters[start : start + CHUNK]
        ]
        padded = pad_letters(filled)
        yield tokenizer.encode(tokenizer.alphabet.codes(padded))
