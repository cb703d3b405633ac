"""Score sequences with a trained model or an ensemble: ASCII sequences in, outputs out.

Takes care of batching, padding, the device and the calibration.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from selfattn_bio.arrays import Floats, Integers
from selfattn_bio.config import RunFile
from selfattn_bio.data.collation import Collation, to_device
from selfattn_bio.errors import ArgumentError
from selfattn_bio.evaluation.calibration import Calibration
from selfattn_bio.model.build import num_outputs
from selfattn_bio.model.classifier import NO_EMBEDDINGS, Network
from selfattn_bio.model.convolution import pool_mask
from selfattn_bio.model.one_hot import MeanNetwork, OneHotNetwork
from selfattn_bio.objectives import Objective, objective_of
from selfattn_bio.scoring.reference import Reference
from selfattn_bio.scoring.stack import Stack
from selfattn_bio.sequence.alphabet import Alphabet, Ascii
from selfattn_bio.sequence.kmers import PAD, KmerTokenizer
from selfattn_bio.sequence.policy import SequencePolicy, policy_of

# About 100 sequences of 300 bp. Batches of 256 sequences took twice as long per sequence.
BATCH_LETTERS = 32_768
# n upper-case ASCII sequences: an array (n, L) padded with 0 at the end, or n arrays
Sequences = Ascii | Sequence[Ascii]
T = TypeVar("T")


@dataclass(frozen=True, eq=False)  # compared by identity, as networks are
class Scorer:
    """Score sequences with a trained model.

    Attributes
    ----------
    run
        The run file of the model.
    tokenizer
        Converts sequences into tokens.
    network
        In evaluation mode, on `device`.
    calibration
        Slope, intercept and threshold, fitted to the validation split. If the network is
        uninformative, slope x standard deviation of the logits is about 2 / sqrt(number of
        validation records).
    reference
        Summary of the training data, or None if the model folder has none.
    folder
        The folder the model was loaded from, or None for a model created in memory.
    stack
        Simple models that are combined with the network, or None.
    record_length
        Median length of the training and validation records, without those of parent models. None
        for a model created in memory.
    longest_record
        Length of the longest of these records. None if the model folder does not have it.
    """

    run: RunFile
    tokenizer: KmerTokenizer
    network: Network
    calibration: Calibration = field(default_factory=Calibration)
    reference: Reference | None = None
    folder: Path | None = None
    stack: Stack | None = None
    record_length: int | None = None
    longest_record: int | None = None

    def __repr__(self) -> str:
        number = sum(parameter.numel() for parameter in self.network.parameters())
        parts = ", ".join(part.name for part in self.stack.parts) if self.stack else ""
        return (
            f"Scorer of objective {self.run.objective.kind!r}, {number:,} parameters"
            f"{parts and f', stacked with {parts}'}, on {self.device}"
        )

    @property
    def members(self) -> tuple[Scorer, ...]:
        """Return the scorer as an ensemble with one member."""
        return (self,)

    @property
    def networks(self) -> tuple[Scorer, ...]:
        """Return a scorer for each of the M networks of `[model] members`, with the same weights.

        The outputs of this scorer are the means of theirs.
        """
        model = self.run.model.model_copy(update={"members": 1})
        run = self.run.model_copy(update={"model": model})
        networks = map(self.network.alone, range(self.run.model.members))
        return tuple(replace(self, run=run, network=network) for network in networks)

    @property
    def alphabet(self) -> Alphabet:
        """Return the alphabet of the tokenizer."""
        return self.tokenizer.alphabet

    @property
    def policy(self) -> SequencePolicy:
        """Return how sequences are read: the same way as the training records."""
        return policy_of(self.run.data)

    @property
    def objective(self) -> Objective[Any]:
        """Return the training objective."""
        return objective_of(self.run.objective)

    @property
    def both_strands(self) -> bool:
        """Return whether every score is already the mean over both strands."""
        return self.run.both_strands

    @property
    def shortest(self) -> int:
        """Return the minimum length of a sequence."""
        return self.objective.shortest(self.tokenizer.k)[0]

    @property
    def device(self) -> torch.device:
        """Return the device of the network."""
        return next(self.network.parameters()).device

    @property
    def collate(self) -> Collation:
        """Return the function from sequences without padding to tokens."""
        return Collation(self.tokenizer)

    def as_module(self) -> OneHotNetwork:
        """Return the network as a module of PyTorch that reads one-hot sequences.

        The module maps (B, A, L) to (B, C). The A channels are the letters of the alphabet (ACGT
        for DNA), as in tangermeme, Captum and Ledidi. Outputs are those of `outputs`, without the
        simple models of a stack. The module has a copy of the weights, which is frozen, and
        gradients reach its input. Rows of a batch have the same length. Memory is needed for A^k
        numbers per token.

        Raises
        ------
        ArgumentError
            If the model is a language model, has two inputs, or is a baseline, or if it is a user's
            module without `embed` and `classify`, or its tokens vary in length.
        """
        network, kind = copy.deepcopy(self.network).requires_grad_(False), self.objective.kind
        if not self.run.objective.has_scores:
            raise ArgumentError(f"a model of objective {kind!r} has no outputs of sequences")
        if not network.has_embeddings:
            raise ArgumentError(f"one-hot input is not possible: {NO_EMBEDDINGS}")
        networks = [network]
        if not self.objective.section.is_per_sequence:
            networks = [network.alone(number) for number in range(self.run.model.members)]
        return OneHotNetwork(
            networks,
            self.tokenizer,
            self.of_records,
            mean_of_strands=self.both_strands and not self.run.shares_strands,
        )

    def tokens(self, letters: Ascii) -> torch.Tensor:
        """Convert zero-padded ASCII sequences (B, L) to int64 token ids (B, N) on the device."""
        return to_device(self.collate.encode(letters), self.device)

    def tokens_of(self, letters: Sequence[Any]) -> torch.Tensor:
        """Convert ASCII sequences of any lengths to int64 token ids (B, N) on the device.

        Zeros at the end of a sequence are padding. Shorter rows are padded with 0.
        """
        return self.collate(without_padding(letters)).to(self.device).ids

    def lengths(self, letters: Any) -> Integers:
        """Return the length of each sequence without padding, (n,).

        Raises
        ------
        ArgumentError
            If a sequence is shorter than the model's k.
        """
        lengths = np.array([np.count_nonzero(row) for row in letters], dtype=np.int64)
        if len(lengths) and lengths.min() < self.tokenizer.k:
            raise ArgumentError(
                f"a sequence has length {lengths.min()}, but the model needs at least "
                f"{self.tokenizer.k}"
            )
        return lengths

    def batches(self, letters: Sequences) -> Iterator[Integers]:
        """Yield batches of row numbers, longest sequences first.

        A batch has at most BATCH_LETTERS positions including padding, and at least one row.

        Raises
        ------
        ArgumentError
            If a sequence is shorter than the model's k.
        """
        lengths = self.lengths(letters)
        order = np.argsort(-lengths, kind="stable")
        start = 0
        while start < len(order):
            rows = order[start : start + max(1, BATCH_LETTERS // int(lengths[order[start]]))]
            start += len(rows)
            yield rows

    def in_batches(self, letters: Sequences, read: Callable[[list[Ascii]], Iterable[T]]) -> list[T]:
        """Apply `read` to batches of sequences; return its value for each sequence, in order."""
        found: dict[int, T] = {}
        for rows in self.batches(letters):
            found.update(zip(rows.tolist(), read([letters[i] for i in rows]), strict=True))
        return [found[row] for row in range(len(letters))]

    def outputs(self, letters: Sequences) -> Floats:
        """Return the outputs (n, C) of sequences of any lengths, in the given order.

        Outputs are logits of classes or labels, or regression values on the training scale; for
        outputs per token or position they are summarised (`Objective.record_outputs`). They are
        means over both strands if the run reads both (`RunFile.both_strands`). Those of a
        stacked model include its simple models.

        Parameters
        ----------
        letters
            Upper-case ASCII sequences: an array (n, L) padded with 0 at the end, or n arrays.

        Raises
        ------
        ArgumentError
            If a sequence is shorter than the model's k, or it is a language model.
        """
        if not self.objective.section.is_per_sequence:
            return self.member_outputs(letters).mean(1)
        return self.stacked(self.network_outputs(letters).mean(1), letters)

    def stacked(self, network: Any, letters: Sequences) -> Any:
        """Combine outputs of the network with the stack, see `Stack.outputs`.

        Without a stack they are returned unchanged.
        """
        return self.stack.outputs(network, without_padding(letters)) if self.stack else network

    def member_outputs(self, letters: Sequences) -> Floats:
        """Return `outputs` of each of the M networks of `[model] members`, (n, M, C)."""
        if self.objective.section.is_per_record or not self.stack or not len(letters):
            return self.stacked(self.network_outputs(letters), letters)
        # summaries of records are not linear, so the stack combines positions or bins
        each = self.of_each(letters, lambda tokens: self.network(tokens).transpose(1, 2))
        pairs = zip(self._trimmed(each, letters), self.lengths(letters).tolist(), strict=True)
        rows = [self.objective.stackable(of_row, self.run, length) for of_row, length in pairs]
        return np.stack([*map(self.objective.stacked_outputs, self.stacked(rows, letters))])

    def read(self, letters: Any) -> Any:
        """Return the outputs that the objective reads (`Objective.read`)."""
        return self.objective.read(self, letters)

    def network_outputs(self, letters: Sequences) -> Floats:
        """Return the outputs (n, M, C) of each member of the network, without the stack.

        Arguments and errors are those of `outputs`.
        """

        def read(tokens: torch.Tensor) -> torch.Tensor:
            return self.of_records(self.network(tokens).double(), tokens)

        if not len(letters):
            return np.empty((0, self.run.model.members, num_outputs(self.run)))
        strands = [np.stack(self.of_each(strand, read)) for strand in self._strands(letters)]
        return np.mean(strands, axis=0)

    def of_each(
        self, letters: Sequences, read: Callable[[torch.Tensor], torch.Tensor]
    ) -> list[Floats]:
        """Apply `read` to the tokens (B, N) of batches; return its row for each sequence."""

        def values(batch: list[Ascii]) -> Floats:
            return read(self.tokens_of(batch)).double().cpu().numpy()

        with torch.inference_mode():
            return self.in_batches(letters, values)

    def _strands(self, letters: Sequences) -> list[Sequences]:
        """Return the strands whose outputs are averaged.

        The reverse strand is added if scores are means over both strands and the network does not
        already read both.
        """
        if self.run.shares_strands or not self.both_strands:
            return [letters]
        return [letters, list(map(self.alphabet.reverse_complement, without_padding(letters)))]

    def of_records(self, outputs: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Summarise outputs (B, ..., N, C) per token or position of each sequence, (B, ..., K).

        Outputs per sequence, (B, ..., C), are returned unchanged. `tokens` are (B, N), padded.
        """
        if self.run.objective.is_per_sequence:
            return outputs
        is_real = self.is_real(tokens)
        shape = (len(is_real), *[1] * (outputs.ndim - 3), is_real.shape[1], 1)
        return self.objective.record_outputs(outputs, is_real.view(shape))

    @property
    def tokens_per_output(self) -> int:
        """Return the number of tokens that share an output, for outputs per token or position."""
        is_position = self.run.objective.is_per_bin
        return self.run.output_stride // self.tokenizer.stride if is_position else 1

    def is_real(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return which outputs per token or position are not those of padding, (B, N) bool."""
        return pool_mask(tokens != PAD, self.tokens_per_output)

    def token_outputs(self, letters: Sequence[Ascii]) -> list[Floats]:
        """Return the outputs (N, C) of each sequence for a model with one output per token.

        Errors are those of `outputs`.
        """
        if not self.run.objective.is_per_token:
            raise ArgumentError(f"objective {self.run.objective.kind!r} has no outputs for tokens")
        outputs = self.of_each(letters, lambda tokens: self.network(tokens).mean(1))
        return self.stacked(self._trimmed(outputs, letters), letters)

    def _trimmed(self, outputs: Sequence[Floats], letters: Sequences) -> list[Floats]:
        """Remove the outputs of padding from arrays (N, ...) of each sequence."""
        numbers = map(self.tokenizer.num_tokens, self.lengths(letters).tolist())
        return [rows[:number] for rows, number in zip(outputs, numbers, strict=True)]

    def logits(self, letters: Sequences) -> Floats:
        """Return the logits of label 1, (n,), for a binary model.

        Arguments and errors are those of `outputs`.
        """
        if not self.objective.has_log_odds:
            raise ArgumentError(
                "only a binary model has one logit per sequence; this one has objective "
                f"{self.run.objective.kind!r}"
            )
        return self.outputs(letters)[:, 0]

    def log_odds(self, letters: Sequences) -> Floats:
        """Return the calibrated log-odds of label 1, (B,).

        Arguments and errors are those of `logits`.
        """
        return self.calibration.log_odds(self.logits(letters))

    def member_log_odds(self, letters: Sequence[Ascii]) -> Floats:
        """Return `log_odds` of each of the M networks of `[model] members`, (n, M).

        `log_odds` is their mean.
        """
        return self.calibration.log_odds(self.member_outputs(letters)[:, :, 0])


def without_padding(letters: Sequences) -> list[Ascii]:
    """Remove the zeros at the end of ASCII sequences of any lengths."""
    return [row[: np.count_nonzero(row)] for row in letters]


@dataclass(frozen=True)
class Ensemble:
    """Average the outputs of several models, such as the members of a run with `seeds`.

    Attributes
    ----------
    members
        Two or more models with the same objective and the same handling of sequences (alphabet,
        soft mask, gaps).
    """

    members: tuple[Scorer, ...]

    @property
    def run(self) -> RunFile:
        """Return the run file of the first member."""
        return self.members[0].run

    @property
    def objective(self) -> Objective[Any]:
        """Return the objective of the members."""
        return self.members[0].objective

    @property
    def alphabet(self) -> Alphabet:
        """Return the alphabet of the members."""
        return self.members[0].alphabet

    @property
    def policy(self) -> SequencePolicy:
        """Return how sequences are read, which is the same for all members."""
        return self.members[0].policy

    @property
    def both_strands(self) -> bool:
        """Return whether the scores of all members are means over both strands."""
        return all(member.both_strands for member in self.members)

    @property
    def calibration(self) -> Calibration:
        """Return the mean calibration of the members."""
        return Calibration.mean([member.calibration for member in self.members])

    def as_module(self) -> MeanNetwork:
        """Return a module that reads one-hot sequences: the mean of `Scorer.as_module`."""
        return MeanNetwork(member.as_module() for member in self.members)
