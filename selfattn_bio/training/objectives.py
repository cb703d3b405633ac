"""What a run learns: a batch becomes inputs and what is wanted of the outputs, and both become a loss.

Hides: smoothing, class weights, missing targets, what is hidden of a sequence. The loop alone uses it. A loss is a sum over what is
wanted, and `Batch.size` says over how many: the loop divides by the sizes of all batches of a step, whatever way they were cut.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, huber_loss, mse_loss, poisson_nll_loss

from selfattn_bio import config
from selfattn_bio.evaluation.measures import UNKNOWN, measure, number_known, predictions_of
from selfattn_bio.evaluation.points import Bins, measure_bins
from selfattn_bio.evaluation.targets import language_metrics
from selfattn_bio.scoring.scorer import Scorer, rates_of_bins
from selfattn_bio.sequence.kmers import MASK, PAD, UNK, KmerTokenizer


@dataclass(frozen=True)
class Batch:
    """Inputs (B, N), what is wanted of the outputs (a tensor, of several parts one of each), and over how many things the loss is a sum."""

    tokens: Tensor
    wanted: Any
    size: int


class Objective(ABC):
    """What a run learns, of sequences (`OfSequences`) or of tokens (`OfTokens`)."""

    @abstractmethod
    def batch(self, tokens: Tensor, targets: NDArray) -> Batch:
        """Inputs and what is wanted; `tokens` (B, N) are padded with 0, `targets` are those of the rows."""

    @abstractmethod
    def loss(self, outputs: Tensor, wanted: Any) -> Tensor:
        """The sum over the batch, in float32."""


class OfSequences(Objective):
    """Outputs are (B, M, C), of each sequence; M are the members, whose losses are averaged."""

    @abstractmethod
    def measure(self, outputs: NDArray[np.float64], targets: NDArray) -> dict[str, float]:
        """loss and metrics of the outputs (n, C) of all records."""


class OfTokens(Objective):
    """Outputs are (B, M, N, C), of each token or place; M are the members, whose losses are averaged."""

    @abstractmethod
    def measure(self, scorer: Scorer, letters: list[NDArray[np.uint8]], targets: NDArray) -> dict[str, float]:
        """loss and metrics on all records."""


class Binary(OfSequences):
    """Binary cross-entropy with label smoothing and class weights.

    Parameters
    ----------
    labels
        0 or 1 of the training records, from which balanced weights are taken: each class counts the same in total, and the mean
        weight is 1.
    """

    def __init__(self, training: config.Training, labels: NDArray[np.int64]) -> None:
        self.smoothing = training.label_smoothing
        share = float(np.mean(labels))
        balanced = training.class_weights == "balanced"
        self.weights = (0.5 / (1 - share), 0.5 / share) if balanced else (1.0, 1.0)

    def batch(self, tokens: Tensor, targets: NDArray) -> Batch:
        return Batch(tokens, torch.from_numpy(targets).to(tokens.device, torch.float32), len(targets))

    def loss(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        """The sum of `losses`."""
        return self.losses(outputs, wanted).sum()

    def losses(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        """outputs (B, M, 1), wanted (B,) float 0 or 1 -> (B,)."""
        logits = outputs.squeeze(-1).float()
        weight = torch.where(wanted > 0.5, self.weights[1], self.weights[0])[:, None]
        target = (wanted * (1 - self.smoothing) + self.smoothing / 2)[:, None].expand_as(logits)
        return binary_cross_entropy_with_logits(logits, target, weight=weight, reduction="none").mean(1)

    def measure(self, outputs: NDArray[np.float64], targets: NDArray) -> dict[str, float]:
        from sklearn.metrics import roc_auc_score

        logits = outputs[:, 0]
        loss = float(np.mean(np.logaddexp(0, logits) - targets * logits))
        return {"loss": loss, "auroc": float(roc_auc_score(targets, logits))}


class WeightedBinary(Binary):
    """Binary cross-entropy where each record has a weight of its own, which its target brings along: label and weight."""

    def batch(self, tokens: Tensor, targets: NDArray) -> Batch:
        wanted = np.stack([targets["label"], targets["weight"]], axis=1)
        return Batch(tokens, torch.from_numpy(wanted).to(tokens.device, torch.float32), len(targets))

    def losses(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        """outputs (B, M, 1), wanted (B, 2): label and weight -> (B,)."""
        return super().losses(outputs, wanted[:, 0]) * wanted[:, 1]


class Multiclass(OfSequences):
    """Cross-entropy with label smoothing and class weights; a record without a class counts nothing."""

    def __init__(self, section: config.MulticlassObjective, training: config.Training, classes: NDArray[np.int64]) -> None:
        self.section, self.smoothing, self.weights = section, training.label_smoothing, None
        if training.class_weights == "balanced":
            counts = np.bincount(classes[classes != UNKNOWN], minlength=len(section.classes))
            self.weights = torch.tensor(counts.sum() / (len(counts) * np.maximum(counts, 1)), dtype=torch.float32)

    def batch(self, tokens: Tensor, targets: NDArray) -> Batch:
        return Batch(tokens, torch.from_numpy(targets).to(tokens.device), int((targets != UNKNOWN).sum()))

    def loss(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        """outputs (B, M, C), wanted (B,) int."""
        weights = None if self.weights is None else self.weights.to(outputs.device)
        return _cross_entropy(outputs, wanted, self.smoothing, weights)

    def measure(self, outputs: NDArray[np.float64], targets: NDArray) -> dict[str, float]:
        known = targets != UNKNOWN
        loss = cross_entropy(torch.from_numpy(outputs[known]), torch.from_numpy(targets[known])).item()
        return {"loss": loss, **measure(self.section, predictions_of(self.section, outputs), targets)}


class Columns(OfSequences):
    """One output a column of numbers, some of which may be missing: what labels and numbers share."""

    def __init__(self, section: config.MultilabelObjective | config.RegressionObjective) -> None:
        self.section = section

    def batch(self, tokens: Tensor, targets: NDArray) -> Batch:
        wanted = torch.from_numpy(self.wanted(targets)).to(tokens.device, torch.float32)
        return Batch(tokens, wanted, int(np.isfinite(targets).sum()))

    def wanted(self, targets: NDArray) -> NDArray:
        """Targets in the units of the outputs."""
        return targets

    def loss(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        """outputs (B, M, C), wanted (B, C) float, NaN where it is not known."""
        wanted = wanted[:, None].expand_as(outputs)
        known = wanted.isfinite()
        return self.of_known(outputs.float()[known], wanted[known]).sum() / outputs.shape[1]

    @abstractmethod
    def of_known(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        """The loss of each, (n,)."""

    def measure(self, outputs: NDArray[np.float64], targets: NDArray) -> dict[str, float]:
        known = np.isfinite(targets)
        loss = self.of_known(torch.from_numpy(outputs)[known], torch.from_numpy(self.wanted(targets))[known]).mean().item()
        return {"loss": loss, **measure(self.section, predictions_of(self.section, outputs), targets)}


class Multilabel(Columns):
    """Binary cross-entropy of each label, with label smoothing."""

    def __init__(self, section: config.MultilabelObjective, training: config.Training) -> None:
        super().__init__(section)
        self.smoothing = training.label_smoothing

    def of_known(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(outputs, wanted * (1 - self.smoothing) + self.smoothing / 2, reduction="none")


class Regression(Columns):
    """Squared error or Huber's loss of standardised numbers, or the Poisson likelihood of counts given the logarithm of their rate."""

    def __init__(self, section: config.RegressionObjective) -> None:
        super().__init__(section)
        self.section: config.RegressionObjective = section

    def of_known(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        match self.section.loss:
            case "mse":
                return mse_loss(outputs, wanted, reduction="none")
            case "huber":
                return huber_loss(outputs, wanted, reduction="none")
            case "poisson":
                return poisson_nll_loss(outputs, wanted, log_input=True, reduction="none")

    def wanted(self, targets: NDArray) -> NDArray:
        """Standardised numbers; counts as they are."""
        if self.section.loss == "poisson":
            return targets
        return (targets - np.array(self.section.center)) / np.array(self.section.scale)


class Several(OfSequences):
    """The weighted mean of what each part loses a known target, the parts' outputs side by side.

    What a record adds to a part's loss is divided by how much is known of a training record in the mean: over an epoch each part then
    weighs what the run file says, however few its targets are. Divided by what is known in each step, a part that is rarely known would
    weigh less, as it has no say in the steps without any of it.

    Parameters
    ----------
    parts
        By name, those of the section.
    targets
        Of the training records, a field of each part; each has one at least that is known.
    """

    def __init__(self, section: config.SeveralObjective, parts: dict[str, OfSequences], targets: NDArray) -> None:
        self.section, self.parts, self.places = section, parts, section.places()
        total = sum(part.weight for part in section.parts.values())
        self.weights = {name: part.weight / total for name, part in section.parts.items()}
        self.known = {name: number_known(targets[name]) / len(targets) for name in parts}

    def batch(self, tokens: Tensor, targets: NDArray) -> Batch:
        wanted = {name: part.batch(tokens, targets[name]).wanted for name, part in self.parts.items()}
        return Batch(tokens, wanted, len(targets))

    def loss(self, outputs: Tensor, wanted: dict[str, Tensor]) -> Tensor:
        """outputs (B, M, C) of all parts, wanted of each part by its name."""
        losses = [
            part.loss(outputs[..., self.places[name]], wanted[name]) * (self.weights[name] / self.known[name])
            for name, part in self.parts.items()
        ]
        return torch.stack(losses).sum()

    def measure(self, outputs: NDArray[np.float64], targets: NDArray) -> dict[str, float]:
        losses = {name: part.measure(outputs[:, self.places[name]], targets[name])["loss"] for name, part in self.parts.items()}
        loss = sum(self.weights[name] * of_part for name, of_part in losses.items())
        of_parts = {f"{name}.loss": of_part for name, of_part in losses.items()}
        return {"loss": loss, **measure(self.section, predictions_of(self.section, outputs), targets), **of_parts}


class Labels(OfTokens):
    """Cross-entropy of each letter's label."""

    def __init__(self, section: config.LabelsObjective, training: config.Training) -> None:
        self.section, self.smoothing = section, training.label_smoothing

    def batch(self, tokens: Tensor, targets: NDArray) -> Batch:
        wanted = np.full(tokens.shape, UNKNOWN)
        for row, labels in zip(wanted, targets, strict=True):
            row[: len(labels)] = labels
        return Batch(tokens, torch.from_numpy(wanted).to(tokens.device), int((wanted != UNKNOWN).sum()))

    def loss(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        """outputs (B, M, N, C), wanted (B, N) int."""
        return _cross_entropy(outputs, wanted, self.smoothing)

    def measure(self, scorer: Scorer, letters: list[NDArray[np.uint8]], targets: NDArray) -> dict[str, float]:
        outputs, wanted = [], []
        for found, rows in zip(scorer.token_outputs(letters), targets, strict=True):
            outputs.append(found[: len(rows)])
            wanted.append(rows)
        joined, truth = np.concatenate(outputs), np.concatenate(wanted)
        known = truth != UNKNOWN
        loss = cross_entropy(torch.from_numpy(joined[known]), torch.from_numpy(truth[known])).item()
        return {"loss": loss, **measure(self.section, predictions_of(self.section, joined), truth)}


class BinsOfPoints(OfTokens):
    """Cross-entropy of each bin and strand; outputs are (B, M, N, 2), of each place of the encoder.

    By strand, as both strands together tell half as much: on the fly's 2R the same steps came to a valid AUPRC of .29 so, and to .33 by
    strand in half of them (docs/decisions.md#long-sequences).
    """

    def __init__(self, section: config.BinsObjective, pitch: int) -> None:
        self.size, self.places = section.bin, section.bin // pitch

    def batch(self, tokens: Tensor, targets: NDArray) -> Batch:
        """`targets` are the `Points` of the rows; wanted is (B, bins, 2), NaN behind the last whole bin of a row."""
        rows = [points.labels(self.size) for points in targets]
        wanted = np.full((len(rows), max(map(len, rows)), 2), np.nan, dtype=np.float32)
        for row, labels in zip(wanted, rows, strict=True):
            row[: len(labels)] = labels
        return Batch(tokens, torch.from_numpy(wanted).to(tokens.device), sum(map(len, rows)))

    def loss(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        """outputs (B, M, N, 2), wanted (B, bins, 2) float, NaN where there is no bin."""
        rates = rates_of_bins(outputs, self.places, wanted.shape[1])
        wanted = wanted[:, None].expand_as(rates)
        known = wanted.isfinite()
        rate, holds = rates[known], wanted[known]
        return torch.where(holds > 0.5, -torch.log(-torch.expm1(-rate)), rate).sum() / outputs.shape[1]

    def measure(self, scorer: Scorer, letters: list[NDArray[np.uint8]], targets: NDArray) -> dict[str, float]:
        bins = Bins.of(targets, self.size)
        return measure_bins(bins.joined(scorer.log_rates(letters)), bins.labels)


class LanguageModel(OfTokens):
    """What a masked and a causal model share: tokens are what is wanted, and perplexity is how well."""

    letters: int | None = None  # new letters that a wanted token brings; None where tokens overlap

    def __init__(self, tokenizer: KmerTokenizer) -> None:
        self.tokenizer = tokenizer

    @abstractmethod
    def batch(self, tokens: Tensor, targets: NDArray, generator: torch.Generator | None = None) -> Batch:
        """Inputs and what is wanted; what is hidden is drawn from `generator`, or from torch's global one."""

    def loss(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        """outputs (B, M, N, V), wanted (B, N) int."""
        return _cross_entropy(outputs, wanted)

    def measure(self, scorer: Scorer, letters: list[NDArray[np.uint8]], targets: NDArray) -> dict[str, float]:
        loss, right, size = self.sums(scorer, letters).sum(axis=0)
        return {"loss": loss / size, **language_metrics(loss / size, right / size, self.letters)}

    def sums(self, scorer: Scorer, letters: list[NDArray[np.uint8]]) -> NDArray[np.float64]:
        """(n, 3) of each record: sum of the losses in nats, tokens that were right, tokens that were wanted; what is hidden is always the
        same."""
        generator, found = torch.Generator().manual_seed(0), np.zeros((len(letters), 3))
        with torch.inference_mode():
            for rows in scorer.batches(letters):
                batch = self.batch(scorer.tokens_of([letters[i] for i in rows]), np.zeros((len(rows), 0)), generator)
                outputs = scorer.network(batch.tokens).mean(1).float()  # (B, N, V)
                losses = cross_entropy(outputs.transpose(1, 2), batch.wanted, reduction="none")  # (B, N), 0 where nothing is wanted
                right, known = outputs.argmax(-1) == batch.wanted, batch.wanted != UNKNOWN
                found[rows] = torch.stack([losses.double().sum(1), right.sum(1), known.sum(1)], dim=1).cpu().numpy()
        return found


class Masked(LanguageModel):
    """Spans of 2k letters are hidden: every token over one of them becomes [MASK], and those that lie in them whole are wanted."""

    def __init__(self, tokenizer: KmerTokenizer, fraction: float) -> None:
        super().__init__(tokenizer)
        self.fraction = fraction

    def batch(self, tokens: Tensor, targets: NDArray, generator: torch.Generator | None = None) -> Batch:
        k, stride, span = self.tokenizer.k, self.tokenizer.stride, 2 * self.tokenizer.k
        lengths = (tokens != PAD).sum(1) * stride + k - stride  # letters of each row
        hidden = torch.zeros(len(tokens), int(lengths.max()) + span, dtype=torch.bool)
        for row, length in enumerate(lengths.tolist()):
            number = max(1, round(self.fraction * length / span))
            starts = torch.randint(max(1, length - span + 1), (number,), generator=generator)
            hidden[row, (starts[:, None] + torch.arange(span)).flatten()] = True
        over = hidden.unfold(1, k, stride)[:, : tokens.shape[1]].to(tokens.device)  # (B, N, k)
        wanted = torch.where(over.all(-1) & (tokens != PAD) & (tokens != UNK), tokens, UNKNOWN)
        inputs = torch.where(over.any(-1) & (tokens != PAD), MASK, tokens)
        return Batch(inputs, wanted, int((wanted != UNKNOWN).sum()))


class Causal(LanguageModel):
    """Each token is wanted of the one before it."""

    def __init__(self, tokenizer: KmerTokenizer) -> None:
        super().__init__(tokenizer)
        self.letters = tokenizer.stride

    def batch(self, tokens: Tensor, targets: NDArray, generator: torch.Generator | None = None) -> Batch:
        wanted = torch.full_like(tokens, UNKNOWN)
        wanted[:, :-1] = torch.where((tokens[:, 1:] != PAD) & (tokens[:, 1:] != UNK), tokens[:, 1:], UNKNOWN)
        return Batch(tokens, wanted, int((wanted != UNKNOWN).sum()))


def _cross_entropy(outputs: Tensor, wanted: Tensor, smoothing: float = 0.0, weights: Tensor | None = None) -> Tensor:
    """outputs (B, M, ..., C), wanted (B, ...) -> the sum over what is known, the mean over the members."""
    members = outputs.shape[1]
    flat = outputs.float().flatten(0, -2)
    repeated = wanted[:, None].expand(outputs.shape[:-1]).flatten()
    known = repeated != UNKNOWN
    return cross_entropy(flat[known], repeated[known], weights, label_smoothing=smoothing, reduction="sum") / members


def build_objective(run: config.RunFile, tokenizer: KmerTokenizer, targets: NDArray[Any]) -> OfSequences | OfTokens:
    """The objective of a run whose classes and scales are known; `targets` are those of the training records."""
    match run.objective:
        case config.LabelsObjective() as section:
            return Labels(section, run.training)
        case config.BinsObjective() as section:
            return BinsOfPoints(section, run.pitch)
        case config.MaskedObjective() | config.CausalObjective() as section:
            return build_language_model(section, tokenizer)
        case section:
            return _of_sequences(section, run.training, targets)


def _of_sequences(section: config.Objective, training: config.Training, targets: NDArray[Any]) -> OfSequences:
    match section:
        case config.MulticlassObjective():
            return Multiclass(section, training, targets)
        case config.MultilabelObjective():
            return Multilabel(section, training)
        case config.RegressionObjective():
            return Regression(section)
        case config.SeveralObjective():
            parts = {name: _of_sequences(part, training, targets[name]) for name, part in section.parts.items()}
            return Several(section, parts, targets)
        case _:
            kind = WeightedBinary if isinstance(training.balance, config.ReweightBalance) else Binary
            return kind(training, targets)


def build_language_model(section: config.Objective, tokenizer: KmerTokenizer) -> LanguageModel:
    """The objective of a masked or causal language model.

    Raises
    ------
    ValueError
        If the objective is another.
    """
    match section:
        case config.MaskedObjective(fraction=fraction):
            return Masked(tokenizer, fraction)
        case config.CausalObjective():
            return Causal(tokenizer)
        case _:
            raise ValueError(f"objective must be masked or causal, got {section.kind!r}")
