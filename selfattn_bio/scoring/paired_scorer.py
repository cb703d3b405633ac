"""Score pairs of sequences with a model that has two inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from selfattn_bio.config import RunFile, SequencePartner
from selfattn_bio.data.collation import Collation, PairCollation
from selfattn_bio.data.inputs import RecordPair
from selfattn_bio.errors import ArgumentError
from selfattn_bio.model.classifier import Network, OneInput, PairedNetwork
from selfattn_bio.model.one_hot import OneHotNetwork
from selfattn_bio.scoring.ensemble import Ensemble
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.sequence.kmers import (
    KmerTokenizer,
    pad_letters,
    partner_tokenizer_of,
    tokenizer_of,
)
from selfattn_bio.sequence.policy import SequencePolicy

TAKE_TWO = "score, evaluate, explain, motifs and report"
NO_PAIR = f"this model has two inputs and needs pairs of sequences, which only {TAKE_TWO} accept"


@dataclass(frozen=True, eq=False)
class PairedScorer(Scorer):
    """Score pairs of sequences with a model that has two inputs.

    Methods that take sequences in `Scorer` take one `RecordPair` per record here and raise
    `ArgumentError` for anything else. `of_first` and `of_partner` return the model with one input
    held fixed, as a `Scorer` of the other input. Interpretation methods, which handle one input,
    use them to explain both inputs.
    """

    @property
    def partner_tokenizer(self) -> KmerTokenizer:
        """Return the tokenizer of the second input."""
        return partner_tokenizer_of(self.run)

    @property
    def partner_policy(self) -> SequencePolicy:
        """Return how sequences of the second input are read.

        Tables have the column of the training tables, if the partners were in these.
        """
        section, policy = self.run.partner, SequencePolicy(self.partner_tokenizer.alphabet)
        if not isinstance(section, SequencePartner) or not section.column:
            return policy
        return replace(policy, id_column=self.policy.id_column, sequence_column=section.column)

    @property
    def collate(self) -> PairCollation:
        """Return the function from pairs of sequences without padding to tokens."""
        network = self.network
        assert isinstance(network, PairedNetwork)
        return PairCollation(self.tokenizer, self.partner_tokenizer, network.joined)

    def as_module(self) -> OneHotNetwork:
        """Raise an error, because one-hot sequences hold only one input.

        Raises
        ------
        ArgumentError
            Always.
        """
        raise ArgumentError(NO_PAIR, hint="Use of_first(partners).as_module()")

    def tokens(self, letters: NDArray[np.uint8]) -> torch.Tensor:
        """Raise an error, because an array of sequences holds only one input.

        Raises
        ------
        ArgumentError
            Always.
        """
        raise ArgumentError(NO_PAIR)

    def tokens_of(self, letters: Sequence[Any]) -> torch.Tensor:
        """Convert pairs of ASCII sequences of any lengths to token ids (B, N1 + N2).

        `model.paired` describes how the two inputs are joined.
        """
        _inputs(letters)  # checks that they are pairs
        return self.collate(letters).to(self.device).ids

    def lengths(self, letters: Any) -> NDArray[np.int64]:
        """Return the summed length of both inputs of each pair, (n,).

        Raises `ValueError` if an input is shorter than its k.
        """
        first, partner = _inputs(letters)
        lengths, k = (
            np.array([len(row) for row in partner], dtype=np.int64),
            self.partner_tokenizer.k,
        )
        if len(lengths) and lengths.min() < k:
            raise ValueError(
                f"a partner has length {lengths.min()}, but the model needs at least {k}"
            )
        return super().lengths(first) + lengths

    def of_first(self, partners: Sequence[NDArray[np.uint8]]) -> Scorer:
        """Return the model as a scorer of the first input, with the partners fixed.

        Row i is scored with partner i. A single partner is used for all rows.
        """
        network = self.network
        assert isinstance(network, PairedNetwork)
        return self._of_one(
            self.tokenizer,
            OneInput(
                network, network.of_partner(self._encoded_partners(list(partners))), partner=False
            ),
        )

    def of_partner(self, first: Sequence[NDArray[np.uint8]]) -> Scorer:
        """Return the model as a scorer of the second input with the first fixed; see `of_first`."""
        return self._of_one(
            self.partner_tokenizer,
            OneInput(self.network, super().tokens(pad_letters(list(first))), partner=True),
        )

    def of_input(self, name: str, pairs: Sequence[RecordPair]) -> Scorer:
        """Return the model as a scorer of one input, "first" or "partner"; see `of_first`."""
        first, partner = _inputs(pairs)
        return self.of_first(partner) if name == "first" else self.of_partner(first)

    def _of_one(self, tokenizer: KmerTokenizer, network: OneInput) -> Scorer:
        return Scorer(self.run, tokenizer, network.eval(), self.calibration)

    def _encoded_partners(self, letters: list[NDArray[np.uint8]]) -> torch.Tensor:
        """Convert ASCII sequences to token ids (B, N2) of the partner's tokenizer."""
        return Collation(self.partner_tokenizer)(letters).to(self.device).ids


def _inputs(pairs: Sequence[Any]) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]]:
    """Split pairs into first and second inputs.

    Raises
    ------
    ArgumentError
        If an element is not a pair.
    """
    if any(not isinstance(pair, RecordPair) for pair in pairs):
        raise ArgumentError(NO_PAIR)
    return [pair.first for pair in pairs], [pair.partner for pair in pairs]


def scorer_of(run: RunFile, network: Network, **more: Any) -> Scorer:
    """Create the scorer of a network with one or two inputs.

    `more` holds the remaining attributes of `Scorer`.
    """
    kind = PairedScorer if isinstance(network, PairedNetwork) else Scorer
    return kind(run, tokenizer_of(run), network, **more)


def check_one_input(scorer: Scorer | Ensemble, what: str) -> None:
    """Check that no model has two inputs.

    Raises
    ------
    ArgumentError
        If a model has two inputs.
    """
    if any(isinstance(member, PairedScorer) for member in scorer.members):
        raise ArgumentError(f"{what} does not support models with two inputs; only {TAKE_TWO} do")
