"""Language models: predict hidden tokens, or each token from the ones before it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from selfattn_bio import config
from selfattn_bio.arrays import Integers
from selfattn_bio.data.collation import TokenBatch
from selfattn_bio.objectives.base import Array, Objective, Predictions
from selfattn_bio.objectives.loss import UNKNOWN, Batch, Loss, cross_entropy_sum
from selfattn_bio.sequence.alphabet import Letters
from selfattn_bio.sequence.kmers import MASK, PAD, UNK, KmerTokenizer

if TYPE_CHECKING:
    from selfattn_bio.scoring.scorer import Scorer

LanguageT = TypeVar("LanguageT", config.MaskedObjective, config.CausalObjective)


class LanguageModel(Objective[LanguageT]):
    """Base class of language models, which predict tokens; the main metric is perplexity."""

    main_metric = "perplexity"
    higher_is_better = False
    predicts = "is a language model, to be used for fine-tuning or embeddings"
    no_motifs = "a language model has no score of a record; fine-tune it on labelled records"
    loss_class: ClassVar[type[LanguageLoss]]

    def targets(self, table: pd.DataFrame, records: pd.DataFrame, place: str) -> NDArray:
        """Return floats (n, 0), as there are no targets."""
        return np.zeros((len(records), 0))

    def output_names(self, tokenizer: KmerTokenizer) -> list[str]:
        return tokenizer.names

    def language_loss(self, tokenizer: KmerTokenizer) -> LanguageLoss:
        """Return the loss for these tokens."""
        return self.loss_class(self, tokenizer)

    def loss(self, run: config.RunFile, tokenizer: KmerTokenizer, targets: NDArray) -> LanguageLoss:
        return self.language_loss(tokenizer)

    def read(self, scorer: Scorer, inputs: Letters) -> Array:
        """Return sums for each record, (n, 4).

        They are the loss in nats, correct tokens, predicted tokens, and the new letters in these, 0
        if tokens overlap. Masks are the same in every call.
        """
        found = np.zeros((len(inputs), 4))
        for rows, sums in self.read_batches(scorer, inputs):
            found[rows] = sums
        return found

    def read_batches(self, scorer: Scorer, inputs: Letters) -> Iterator[tuple[Integers, Any]]:
        loss, generator = self.language_loss(scorer.tokenizer), torch.Generator().manual_seed(0)
        for rows in scorer.batches(inputs):
            tokens = scorer.collate([inputs[i] for i in rows])
            batch = loss.batch(tokens, np.zeros((len(rows), 0)), generator)
            yield rows, self._sums(scorer, batch.to(scorer.device), loss.letters)

    @torch.inference_mode()
    def _sums(self, scorer: Scorer, batch: Batch, letters: int) -> Array:
        outputs = scorer.network(batch.tokens.ids).mean(1).float()  # (B, N, V)
        # (B, N), 0 without a target
        losses = cross_entropy(outputs.transpose(1, 2), batch.targets, reduction="none")
        right, known = outputs.argmax(-1) == batch.targets, batch.targets != UNKNOWN
        sums = [losses.double().sum(1), right.sum(1), known.sum(1), letters * known.sum(1)]
        return torch.stack(sums, dim=1).cpu().numpy()

    def measure(self, predictions: Array, targets: NDArray) -> dict[str, float]:
        """Compute accuracy, perplexity per token and, if tokens do not overlap, bits per letter."""
        loss, right, tokens, letters = predictions.sum(axis=0)
        if not tokens:
            return dict.fromkeys(("accuracy", "perplexity", "bits_per_letter"), float("nan"))
        mean = loss / tokens
        bits = {"bits_per_letter": float(mean / np.log(2) / (letters / tokens))} if letters else {}
        return {"accuracy": float(right / tokens), "perplexity": float(np.exp(mean)), **bits}

    def prediction_columns(self, predictions: Predictions) -> dict[str, Any]:
        total, right, tokens, _ = np.transpose(predictions)
        mean = np.divide(total, tokens, out=np.full(len(total), np.nan), where=tokens > 0)
        return {"nats_per_token": mean, "right": right, "tokens": tokens.astype(int)}


class LanguageLoss(Loss):
    """Cross-entropy of predicted tokens.

    Attributes
    ----------
    letters
        New letters per predicted token, for bits per letter; 0 if tokens overlap.
    """

    letters: int = 0

    def __init__(self, objective: LanguageModel[Any], tokenizer: KmerTokenizer) -> None:
        self.objective, self.tokenizer = objective, tokenizer

    @abstractmethod
    def batch(
        self, tokens: TokenBatch, targets: NDArray, generator: torch.Generator | None = None
    ) -> Batch:
        """Return inputs and targets; masks are sampled from `generator` or torch's global one."""

    def sum(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of outputs (B, M, N, V) with targets (B, N) int."""
        return cross_entropy_sum(outputs, targets)

    def measure_outputs(self, outputs: Array, targets: NDArray) -> dict[str, float]:
        sums = np.asarray(outputs)
        loss, _, tokens, _ = sums.sum(axis=0)
        return {"loss": loss / tokens, **self.objective.measure(sums, targets)}


class MaskedLoss(LanguageLoss):
    """Masked language model over spans of 2k letters.

    Every token that overlaps a span becomes [MASK]. Tokens entirely inside spans are predicted.
    """

    def batch(
        self, tokens: TokenBatch, targets: NDArray, generator: torch.Generator | None = None
    ) -> Batch:
        ids, k, stride = tokens.ids, self.tokenizer.k, self.tokenizer.stride
        span = 2 * k
        lengths = tokens.lengths * stride + k - stride  # letters of each row
        hidden = torch.zeros(len(ids), int(lengths.max()) + span, dtype=torch.bool)
        for row, length in enumerate(lengths.tolist()):
            number = max(1, round(self.objective.section.fraction * length / span))
            starts = torch.randint(max(1, length - span + 1), (number,), generator=generator)
            hidden[row, (starts[:, None] + torch.arange(span)).flatten()] = True
        over = hidden.unfold(1, k, stride)[:, : ids.shape[1]]  # (B, N, k)
        masked_tokens = torch.where(over.all(-1) & (ids != PAD) & (ids != UNK), ids, UNKNOWN)
        inputs = torch.where(over.any(-1) & (ids != PAD), MASK, ids)
        num_targets = int((masked_tokens != UNKNOWN).sum())
        return Batch(TokenBatch(inputs, tokens.lengths), masked_tokens, num_targets)


class CausalLoss(LanguageLoss):
    """Causal language model: predict each token from the preceding ones."""

    def __init__(self, objective: LanguageModel[Any], tokenizer: KmerTokenizer) -> None:
        super().__init__(objective, tokenizer)
        self.letters = tokenizer.stride

    def batch(
        self, tokens: TokenBatch, targets: NDArray, generator: torch.Generator | None = None
    ) -> Batch:
        following = tokens.ids[:, 1:]
        next_tokens = torch.full_like(tokens.ids, UNKNOWN)
        next_tokens[:, :-1] = torch.where(
            (following != PAD) & (following != UNK), following, UNKNOWN
        )
        return Batch(tokens, next_tokens, int((next_tokens != UNKNOWN).sum()))


class Masked(LanguageModel[config.MaskedObjective], kind="masked"):
    """Masked language model."""

    loss_class = MaskedLoss


class Causal(LanguageModel[config.CausalObjective], kind="causal"):
    """Causal language model."""

    loss_class = CausalLoss
