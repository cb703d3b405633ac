"""Score pairs of sequences with a model that has two inputs, and read the second input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from selfattn_bio.arrays import Integers
from selfattn_bio.config import RunFile
from selfattn_bio.data.collation import Collation, PairCollation
from selfattn_bio.data.inputs import RecordPair
from selfattn_bio.errors import ArgumentError
from selfattn_bio.model.classifier import Network, OneInput, PairedNetwork
from selfattn_bio.model.one_hot import OneHotNetwork
from selfattn_bio.scoring.inputs import Input, Inputs, read_inputs
from selfattn_bio.scoring.scorer import Ensemble, Scorer
from selfattn_bio.sequence.alphabet import Ascii
from selfattn_bio.sequence.kmers import (
    KmerTokenizer,
    pad_letters,
    partner_tokenizer_of,
    tokenizer_of,
)
from selfattn_bio.sequence.policy import SequencePolicy
from selfattn_bio.sequence.records import ReadSummary

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

    network: PairedNetwork

    @property
    def partner_tokenizer(self) -> KmerTokenizer:
        """Return the tokenizer of the second input."""
        return partner_tokenizer_of(self.run)

    @property
    def partner_policy(self) -> SequencePolicy:
        """Return how sequences of the second input are read.

        Tables have the column of the training tables, if the partners were in these.
        """
        section, alphabet = self.run.partner, self.partner_tokenizer.alphabet
        policy = SequencePolicy(alphabet, header=self.policy.header)
        if section is None or not section.column:
            return policy
        return replace(policy, id_column=self.policy.id_column, sequence_column=section.column)

    @property
    def collate(self) -> PairCollation:
        """Return the function from pairs of sequences without padding to tokens."""
        return PairCollation(self.tokenizer, self.partner_tokenizer, self.network.joined)

    def as_module(self) -> OneHotNetwork:
        """Raise an error, because one-hot sequences hold only one input.

        Raises
        ------
        ArgumentError
            Always.
        """
        raise ArgumentError(NO_PAIR, hint="Use of_first(partners).as_module()")

    def tokens(self, letters: Ascii) -> torch.Tensor:
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

    def lengths(self, letters: Any) -> Integers:
        """Return the summed length of both inputs of each pair, (n,).

        Raises `ArgumentError` if an input is shorter than its k.
        """
        first, partner = _inputs(letters)
        lengths, k = np.array([len(row) for row in partner], np.int64), self.partner_tokenizer.k
        if len(lengths) and lengths.min() < k:
            message = f"a partner has length {lengths.min()}, but the model needs at least {k}"
            raise ArgumentError(message)
        return super().lengths(first) + lengths

    def of_first(self, partners: Sequence[Ascii]) -> Scorer:
        """Return the model as a scorer of the first input, with the partners fixed.

        Row i is scored with partner i. A single partner is used for all rows.
        """
        tokens = Collation(self.partner_tokenizer)(partners).to(self.device).ids
        held = OneInput(self.network, self.network.of_partner(tokens), partner=False)
        return self._of_one(self.tokenizer, held)

    def of_partner(self, first: Sequence[Ascii]) -> Scorer:
        """Return the model as a scorer of the second input with the first fixed; see `of_first`."""
        held = OneInput(self.network, super().tokens(pad_letters(list(first))), partner=True)
        return self._of_one(self.partner_tokenizer, held)

    def of_input(self, name: str, pairs: Sequence[RecordPair]) -> Scorer:
        """Return the model as a scorer of one input, "first" or "partner"; see `of_first`."""
        first, partner = _inputs(pairs)
        return self.of_first(partner) if name == "first" else self.of_partner(first)

    def _of_one(self, tokenizer: KmerTokenizer, network: OneInput) -> Scorer:
        return Scorer(self.run, tokenizer, network.eval(), self.calibration)


def _inputs(pairs: Sequence[Any]) -> tuple[list[Ascii], list[Ascii]]:
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
    if isinstance(network, PairedNetwork):
        return PairedScorer(run, tokenizer_of(run), network, **more)
    return Scorer(run, tokenizer_of(run), network, **more)


def check_one_input(scorer: Scorer | Ensemble, what: str) -> None:
    """Check that no model has two inputs.

    Raises
    ------
    ArgumentError
        If a model has two inputs.
    """
    if any(isinstance(member, PairedScorer) for member in scorer.members):
        raise ArgumentError(f"{what} does not support models with two inputs; only {TAKE_TWO} do")


def check_rc(scorer: Scorer | Ensemble) -> None:
    """Check that outputs of both strands can be averaged, as the option `rc` requests.

    Raises
    ------
    ArgumentError
        If they cannot.
    """
    check_one_input(scorer, "rc")
    if not scorer.alphabet.has_complement:
        name = scorer.alphabet.name
        raise ArgumentError(f"rc cannot be used with {name}, which has no reverse strand")
    if scorer.objective.no_strand_mean:
        raise ArgumentError(scorer.objective.no_strand_mean)


# ------------ reading partners
def read_partners(scorer: Scorer, partner: Inputs | None) -> Callable[[Input], Ascii] | None:
    """Return a function that gives the ASCII letters of the partner of a sequence.

    Returns None for a model with one input.

    Raises
    ------
    ArgumentError
        If a model with two inputs gets no partner, or a model with one input gets one. The returned
        function raises it for a sequence without a partner. Also if two partners have the same id.
    SequenceFileError
        If a file is missing or malformed, or has an id twice.
    """
    if not isinstance(scorer, PairedScorer):
        if partner is not None:
            raise ArgumentError("partner was given, but this model has only one input")
        return None
    if partner is None:
        raise ArgumentError("this model has two inputs; pass the second one as partner")
    known: dict[str, Ascii] = {}
    policy, k = scorer.partner_policy, scorer.partner_tokenizer.k
    for each in read_inputs(policy, partner, k, ids=ReadSummary()):
        if each.id in known:
            raise ArgumentError(f"two partners have the id {each.id!r}")
        known[each.id] = each.letters

    def sequence(each: Input) -> Ascii:
        if each.id not in known:
            raise ArgumentError(f"no partner for sequence {each.id!r}")
        return known[each.id]

    return sequence
