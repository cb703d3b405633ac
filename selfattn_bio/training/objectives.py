"""Objectives: turn a batch into inputs and targets, and outputs into a loss.

They handle label smoothing, class weights, missing targets and masking. A loss is a sum over
targets, and `Batch.size` is their number. The loop divides by the total size of a step, so the
result does not depend on how the step was divided into batches.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    huber_loss,
    mse_loss,
    poisson_nll_loss,
)

from selfattn_bio import config
from selfattn_bio.evaluation.measures import UNKNOWN, count_known, measure, predictions_of
from selfattn_bio.evaluation.points import Bins, measure_bins
from selfattn_bio.evaluation.targets import language_metrics
from selfattn_bio.scoring.scorer import Scorer, rates_of_bins
from selfattn_bio.sequence.kmers import MASK, PAD, UNK, KmerTokenizer


@dataclass(frozen=True)
class Batch:
    """Store inputs (B, N), targets of the outputs, and the number of terms in the loss.

    `targets` is a tensor, or a dict with one tensor per part for several parts.
    """

    tokens: Tensor
    targets: Any
    size: int


class Objective(ABC):
    """Base class of objectives, for outputs per sequence (`OfSequences`) or token (`OfTokens`)."""

    @abstractmethod
    def batch(self, tokens: Tensor, targets: NDArray) -> Batch:
        """Return inputs and targets.

        `tokens` (B, N) are padded with 0; `targets` are those of the rows.
        """

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Any) -> Tensor:
        """Return the sum of the loss over the batch, in float32."""

    def predictions(
        self, scorer: Scorer, inputs: Sequence[Any]
    ) -> Iterator[tuple[NDArray[np.int64], Iterable[Any]]]:
        """Yield batches of row numbers and their predictions, so that a caller can stop early."""
        for rows in scorer.batches(inputs):
            yield rows, self.predict(scorer, [inputs[i] for i in rows])

    @abstractmethod
    def predict(self, scorer: Scorer, inputs: list[Any]) -> Iterable[Any]:
        """Return the predictions of the records of a batch."""

    @abstractmethod
    def measure(self, predictions: Any, targets: NDArray) -> dict[str, float]:
        """Return loss and metrics of the predictions of all records."""


class OfSequences(Objective):
    """Objective with outputs (B, M, C) per sequence; the losses of the M members are averaged.

    Predictions are the outputs of the records, (n, C).
    """

    def predict(self, scorer: Scorer, inputs: list[Any]) -> NDArray[np.float64]:
        return scorer.outputs(inputs)


class OfTokens(Objective):
    """Objective with outputs (B, M, N, C) per token or bin.

    The losses of the M members are averaged. Predictions are a list with one array per record.
    """


class Binary(OfSequences):
    """Binary cross-entropy with label smoothing and class weights.

    Parameters
    ----------
    labels
        0 or 1 for each training record. Balanced weights are computed from them: each class has the
        same total weight, and the mean weight is 1.
    """

    def __init__(self, training: config.Training, labels: NDArray[np.int64]) -> None:
        self.smoothing = training.label_smoothing
        positive = float(np.mean(labels))
        balanced = training.class_weights == "balanced"
        self.weights = (0.5 / (1 - positive), 0.5 / positive) if balanced else (1.0, 1.0)

    def batch(self, tokens: Tensor, targets: NDArray) -> Batch:
        return Batch(
            tokens, torch.from_numpy(targets).to(tokens.device, torch.float32), len(targets)
        )

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of `losses`."""
        return self.losses(outputs, targets).sum()

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the losses (B,) of outputs (B, M, 1) with targets (B,) float, 0 or 1."""
        logits = outputs.squeeze(-1).float()
        weight = torch.where(targets > 0.5, self.weights[1], self.weights[0])[:, None]
        target = (targets * (1 - self.smoothing) + self.smoothing / 2)[:, None].expand_as(logits)
        return binary_cross_entropy_with_logits(
            logits, target, weight=weight, reduction="none"
        ).mean(1)

    def measure(self, outputs: NDArray[np.float64], targets: NDArray) -> dict[str, float]:
        from sklearn.metrics import roc_auc_score

        logits = outputs[:, 0]
        loss = float(np.mean(np.logaddexp(0, logits) - targets * logits))
        return {"loss": loss, "auroc": float(roc_auc_score(targets, logits))}


class WeightedBinary(Binary):
    """Binary cross-entropy with a weight per record; a target consists of label and weight."""

    def batch(self, tokens: Tensor, targets: NDArray) -> Batch:
        columns = np.stack([targets["label"], targets["weight"]], axis=1)
        return Batch(
            tokens, torch.from_numpy(columns).to(tokens.device, torch.float32), len(targets)
        )

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the losses (B,) of outputs (B, M, 1) with targets (B, 2): label and weight."""
        return super().losses(outputs, targets[:, 0]) * targets[:, 1]


class Multiclass(OfSequences):
    """Cross-entropy with label smoothing and class weights; records without a class are ignored."""

    def __init__(
        self,
        section: config.MulticlassObjective,
        training: config.Training,
        classes: NDArray[np.int64],
    ) -> None:
        self.section, self.smoothing, self.weights = section, training.label_smoothing, None
        if training.class_weights == "balanced":
            counts = np.bincount(classes[classes != UNKNOWN], minlength=len(section.classes))
            self.weights = torch.tensor(
                counts.sum() / (len(counts) * np.maximum(counts, 1)), dtype=torch.float32
            )

    def batch(self, tokens: Tensor, targets: NDArray) -> Batch:
        return Batch(
            tokens, torch.from_numpy(targets).to(tokens.device), int((targets != UNKNOWN).sum())
        )

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of outputs (B, M, C) with targets (B,) int."""
        weights = None if self.weights is None else self.weights.to(outputs.device)
        return _cross_entropy(outputs, targets, self.smoothing, weights)

    def measure(self, outputs: NDArray[np.float64], targets: NDArray) -> dict[str, float]:
        known = targets != UNKNOWN
        loss = cross_entropy(
            torch.from_numpy(outputs[known]), torch.from_numpy(targets[known])
        ).item()
        return {
            "loss": loss,
            **measure(self.section, predictions_of(self.section, outputs), targets),
        }


class Columns(OfSequences):
    """Base class of objectives with one output per numeric column; values may be missing."""

    def __init__(self, section: config.MultilabelObjective | config.RegressionObjective) -> None:
        self.section = section

    def batch(self, tokens: Tensor, targets: NDArray) -> Batch:
        scaled = torch.from_numpy(self.to_output_units(targets)).to(tokens.device, torch.float32)
        return Batch(tokens, scaled, int(np.isfinite(targets).sum()))

    def to_output_units(self, targets: NDArray) -> NDArray:
        """Convert targets to the units of the outputs."""
        return targets

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of outputs (B, M, C) with targets (B, C) float, NaN if unknown."""
        targets = targets[:, None].expand_as(outputs)
        known = targets.isfinite()
        return self.of_known(outputs.float()[known], targets[known]).sum() / outputs.shape[1]

    @abstractmethod
    def of_known(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each known value, (n,)."""

    def measure(self, outputs: NDArray[np.float64], targets: NDArray) -> dict[str, float]:
        known = np.isfinite(targets)
        loss = (
            self.of_known(
                torch.from_numpy(outputs)[known],
                torch.from_numpy(self.to_output_units(targets))[known],
            )
            .mean()
            .item()
        )
        return {
            "loss": loss,
            **measure(self.section, predictions_of(self.section, outputs), targets),
        }


class Multilabel(Columns):
    """Binary cross-entropy of each label, with label smoothing."""

    def __init__(self, section: config.MultilabelObjective, training: config.Training) -> None:
        super().__init__(section)
        self.smoothing = training.label_smoothing

    def of_known(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(
            outputs, targets * (1 - self.smoothing) + self.smoothing / 2, reduction="none"
        )


class Regression(Columns):
    """Regression of standardised numbers or of counts.

    Numbers use squared error or Huber's loss. Counts use the Poisson likelihood, with the logarithm
    of the rate as output.
    """

    def __init__(self, section: config.RegressionObjective) -> None:
        super().__init__(section)
        self.section: config.RegressionObjective = section

    def of_known(self, outputs: Tensor, targets: Tensor) -> Tensor:
        match self.section.loss:
            case "mse":
                return mse_loss(outputs, targets, reduction="none")
            case "huber":
                return huber_loss(outputs, targets, reduction="none")
            case "poisson":
                return poisson_nll_loss(outputs, targets, log_input=True, reduction="none")

    def to_output_units(self, targets: NDArray) -> NDArray:
        """Return standardised numbers; counts are returned unchanged."""
        if self.section.loss == "poisson":
            return targets
        return (targets - np.array(self.section.center)) / np.array(self.section.scale)


class Several(OfSequences):
    """Weighted mean of several objectives, whose outputs are concatenated.

    The loss that a record adds to a part is divided by the mean number of known targets per
    training record. Over an epoch, each part then has the weight in the run file, however few its
    targets are. Dividing by the number of known targets in each step instead would give a rarely
    known part less weight, because it does not contribute to steps without its targets.

    Parameters
    ----------
    parts
        Objectives by name, as in the section.
    targets
        Targets of the training records, one field per part; each part has at least one known
        target.
    """

    def __init__(
        self, section: config.SeveralObjective, parts: dict[str, OfSequences], targets: NDArray
    ) -> None:
        self.section, self.parts, self.slices = section, parts, section.slices()
        total = sum(part.weight for part in section.parts.values())
        self.weights = {name: part.weight / total for name, part in section.parts.items()}
        self.known = {name: count_known(targets[name]) / len(targets) for name in parts}

    def batch(self, tokens: Tensor, targets: NDArray) -> Batch:
        by_part = {
            name: part.batch(tokens, targets[name]).targets for name, part in self.parts.items()
        }
        return Batch(tokens, by_part, len(targets))

    def loss(self, outputs: Tensor, targets: dict[str, Tensor]) -> Tensor:
        """Return the loss of outputs (B, M, C) of all parts, with targets by part."""
        losses = [
            part.loss(outputs[..., self.slices[name]], targets[name])
            * (self.weights[name] / self.known[name])
            for name, part in self.parts.items()
        ]
        return torch.stack(losses).sum()

    def measure(self, outputs: NDArray[np.float64], targets: NDArray) -> dict[str, float]:
        losses = {
            name: part.measure(outputs[:, self.slices[name]], targets[name])["loss"]
            for name, part in self.parts.items()
        }
        loss = sum(self.weights[name] * of_part for name, of_part in losses.items())
        of_parts = {f"{name}.loss": of_part for name, of_part in losses.items()}
        return {
            "loss": loss,
            **measure(self.section, predictions_of(self.section, outputs), targets),
            **of_parts,
        }


class Labels(OfTokens):
    """Cross-entropy of the label of each position."""

    def __init__(self, section: config.LabelsObjective, training: config.Training) -> None:
        self.section, self.smoothing = section, training.label_smoothing

    def batch(self, tokens: Tensor, targets: NDArray) -> Batch:
        padded = np.full(tokens.shape, UNKNOWN)
        for row, labels in zip(padded, targets, strict=True):
            row[: len(labels)] = labels
        return Batch(
            tokens, torch.from_numpy(padded).to(tokens.device), int((padded != UNKNOWN).sum())
        )

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of outputs (B, M, N, C) with targets (B, N) int."""
        return _cross_entropy(outputs, targets, self.smoothing)

    def predict(self, scorer: Scorer, inputs: list[Any]) -> list[NDArray[np.float64]]:
        return scorer.token_outputs(inputs)

    def measure(self, predictions: list[NDArray[np.float64]], targets: NDArray) -> dict[str, float]:
        outputs, labels = [], []
        for found, rows in zip(predictions, targets, strict=True):
            outputs.append(found[: len(rows)])
            labels.append(rows)
        joined, truth = np.concatenate(outputs), np.concatenate(labels)
        known = truth != UNKNOWN
        loss = cross_entropy(torch.from_numpy(joined[known]), torch.from_numpy(truth[known])).item()
        return {"loss": loss, **measure(self.section, predictions_of(self.section, joined), truth)}


class BinsOfPoints(OfTokens):
    """Cross-entropy of each bin and strand; outputs are (B, M, N, 2), per position of the encoder.

    Strands are separate, because targets of both strands combined carry half the information
    (figures: docs/decisions.md#long-sequences).
    """

    def __init__(self, section: config.BinsObjective, pitch: int) -> None:
        self.size, self.positions = section.bin, section.bin // pitch

    def batch(self, tokens: Tensor, targets: NDArray) -> Batch:
        """Return inputs and targets (B, bins, 2), NaN after the last complete bin of a row.

        `targets` are the `Points` of the rows.
        """
        rows = [points.labels(self.size) for points in targets]
        padded = np.full((len(rows), max(map(len, rows)), 2), np.nan, dtype=np.float32)
        for row, labels in zip(padded, rows, strict=True):
            row[: len(labels)] = labels
        return Batch(tokens, torch.from_numpy(padded).to(tokens.device), sum(map(len, rows)))

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of outputs (B, M, N, 2) with targets (B, bins, 2), NaN if no bin."""
        rates = rates_of_bins(outputs, self.positions, targets.shape[1])
        targets = targets[:, None].expand_as(rates)
        known = targets.isfinite()
        rate, holds = rates[known], targets[known]
        return (
            torch.where(holds > 0.5, -torch.log(-torch.expm1(-rate)), rate).sum() / outputs.shape[1]
        )

    def predictions(
        self, scorer: Scorer, inputs: Sequence[Any]
    ) -> Iterator[tuple[NDArray[np.int64], Iterable[Any]]]:
        """Yield batches of row numbers and their predictions; letters after the last bin go."""
        whole = [row[: len(row) // self.size * self.size] for row in inputs]
        yield from super().predictions(scorer, whole)

    def predict(self, scorer: Scorer, inputs: list[Any]) -> list[NDArray[np.float64]]:
        return scorer.log_rates(inputs)

    def measure(self, predictions: list[NDArray[np.float64]], targets: NDArray) -> dict[str, float]:
        bins = Bins.of(targets, self.size)
        return measure_bins(bins.joined(predictions), bins.labels)


class LanguageModel(OfTokens):
    """Base class of masked and causal language models, which predict tokens.

    The main metric is perplexity.
    """

    letters: int | None = None  # new letters per predicted token; None if tokens overlap

    def __init__(self, tokenizer: KmerTokenizer) -> None:
        self.tokenizer = tokenizer

    @abstractmethod
    def batch(
        self, tokens: Tensor, targets: NDArray, generator: torch.Generator | None = None
    ) -> Batch:
        """Return inputs and targets; masks are sampled from `generator` or torch's global one."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of outputs (B, M, N, V) with targets (B, N) int."""
        return _cross_entropy(outputs, targets)

    def measure(
        self, predictions: Sequence[NDArray[np.float64]], targets: NDArray
    ) -> dict[str, float]:
        loss, right, size = np.stack(predictions).sum(axis=0)
        return {"loss": loss / size, **language_metrics(loss / size, right / size, self.letters)}

    def predictions(
        self, scorer: Scorer, inputs: Sequence[Any]
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """Yield row numbers and sums of each batch; masks are the same in every call."""
        generator = torch.Generator().manual_seed(0)
        for rows in scorer.batches(inputs):
            tokens = scorer.tokens_of([inputs[i] for i in rows])
            batch = self.batch(tokens, np.zeros((len(rows), 0)), generator)
            yield rows, self._sums(scorer, batch)

    def predict(self, scorer: Scorer, inputs: list[Any]) -> NDArray[np.float64]:
        """Return sums for each record, (n, 3): loss in nats, correct tokens, predicted tokens."""
        found = np.zeros((len(inputs), 3))
        for rows, sums in self.predictions(scorer, inputs):
            found[rows] = sums
        return found

    @torch.inference_mode()
    def _sums(self, scorer: Scorer, batch: Batch) -> NDArray[np.float64]:
        outputs = scorer.network(batch.tokens).mean(1).float()  # (B, N, V)
        # (B, N), 0 without a target
        losses = cross_entropy(outputs.transpose(1, 2), batch.targets, reduction="none")
        right, known = outputs.argmax(-1) == batch.targets, batch.targets != UNKNOWN
        sums = [losses.double().sum(1), right.sum(1), known.sum(1)]
        return torch.stack(sums, dim=1).cpu().numpy()


class Masked(LanguageModel):
    """Masked language model over spans of 2k letters.

    Every token that overlaps a span becomes [MASK]. Tokens entirely inside spans are predicted.
    """

    def __init__(self, tokenizer: KmerTokenizer, fraction: float) -> None:
        super().__init__(tokenizer)
        self.fraction = fraction

    def batch(
        self, tokens: Tensor, targets: NDArray, generator: torch.Generator | None = None
    ) -> Batch:
        k, stride, span = self.tokenizer.k, self.tokenizer.stride, 2 * self.tokenizer.k
        lengths = (tokens != PAD).sum(1) * stride + k - stride  # letters of each row
        hidden = torch.zeros(len(tokens), int(lengths.max()) + span, dtype=torch.bool)
        for row, length in enumerate(lengths.tolist()):
            number = max(1, round(self.fraction * length / span))
            starts = torch.randint(max(1, length - span + 1), (number,), generator=generator)
            hidden[row, (starts[:, None] + torch.arange(span)).flatten()] = True
        over = hidden.unfold(1, k, stride)[:, : tokens.shape[1]].to(tokens.device)  # (B, N, k)
        masked_tokens = torch.where(
            over.all(-1) & (tokens != PAD) & (tokens != UNK), tokens, UNKNOWN
        )
        inputs = torch.where(over.any(-1) & (tokens != PAD), MASK, tokens)
        return Batch(inputs, masked_tokens, int((masked_tokens != UNKNOWN).sum()))


class Causal(LanguageModel):
    """Causal language model: predict each token from the preceding ones."""

    def __init__(self, tokenizer: KmerTokenizer) -> None:
        super().__init__(tokenizer)
        self.letters = tokenizer.stride

    def batch(
        self, tokens: Tensor, targets: NDArray, generator: torch.Generator | None = None
    ) -> Batch:
        next_tokens = torch.full_like(tokens, UNKNOWN)
        next_tokens[:, :-1] = torch.where(
            (tokens[:, 1:] != PAD) & (tokens[:, 1:] != UNK), tokens[:, 1:], UNKNOWN
        )
        return Batch(tokens, next_tokens, int((next_tokens != UNKNOWN).sum()))


def _cross_entropy(
    outputs: Tensor, targets: Tensor, smoothing: float = 0.0, weights: Tensor | None = None
) -> Tensor:
    """Return the cross-entropy of outputs (B, M, ..., C) with targets (B, ...).

    It is summed over known targets and averaged over members.
    """
    members = outputs.shape[1]
    flat = outputs.float().flatten(0, -2)
    repeated = targets[:, None].expand(outputs.shape[:-1]).flatten()
    known = repeated != UNKNOWN
    return (
        cross_entropy(
            flat[known], repeated[known], weights, label_smoothing=smoothing, reduction="sum"
        )
        / members
    )


def build_objective(
    run: config.RunFile, tokenizer: KmerTokenizer, targets: NDArray[Any]
) -> Objective:
    """Build the objective of a run whose classes and scales are known.

    `targets` are those of the training records.
    """
    match run.objective:
        case config.LabelsObjective() as section:
            return Labels(section, run.training)
        case config.BinsObjective() as section:
            return BinsOfPoints(section, run.pitch)
        case config.MaskedObjective() | config.CausalObjective() as section:
            return build_language_model(section, tokenizer)
        case section:
            return _of_sequences(section, run.training, targets)


def _of_sequences(
    section: config.AnyObjective, training: config.Training, targets: NDArray[Any]
) -> OfSequences:
    match section:
        case config.MulticlassObjective():
            return Multiclass(section, training, targets)
        case config.MultilabelObjective():
            return Multilabel(section, training)
        case config.RegressionObjective():
            return Regression(section)
        case config.SeveralObjective():
            parts = {
                name: _of_sequences(part, training, targets[name])
                for name, part in section.parts.items()
            }
            return Several(section, parts, targets)
        case _:
            kind = (
                WeightedBinary if isinstance(training.balance, config.ReweightBalance) else Binary
            )
            return kind(training, targets)


def build_language_model(section: config.AnyObjective, tokenizer: KmerTokenizer) -> LanguageModel:
    """Build the objective of a masked or causal language model.

    Raises
    ------
    ValueError
        If the objective is of another kind.
    """
    match section:
        case config.MaskedObjective(fraction=fraction):
            return Masked(tokenizer, fraction)
        case config.CausalObjective():
            return Causal(tokenizer)
        case _:
            raise ValueError(
                f"objective {section.kind!r} is not a language model (masked or causal)"
            )
