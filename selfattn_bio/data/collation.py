"""Collate the inputs of a batch: sequences of any lengths become one tensor of tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from selfattn_bio.data.batches import Letters, pad_letters
from selfattn_bio.sequence.kmers import KmerTokenizer


def to_device(x: Any, device: torch.device) -> Any:
    """Move a tensor of the CPU, or a dict of some, to a device; to CUDA without waiting."""
    if isinstance(x, dict):
        return {name: to_device(part, device) for name, part in x.items()}
    if device.type != "cuda":
        return x.to(device)
    return x.pin_memory().to(device, non_blocking=True)  # only pinned memory is copied meanwhile


class Tokens(NamedTuple):
    """Token ids (B, N) int64, padded with 0, and the number of tokens of each row, (B,) int64."""

    ids: Tensor
    lengths: Tensor  # on the CPU, where masks are sampled and tokens are counted

    def to(self, device: torch.device) -> Tokens:
        """Move the ids to a device."""
        return Tokens(to_device(self.ids, device), self.lengths)


@dataclass(frozen=True)
class Collation:
    """Encode ASCII sequences and pad them to one length.

    With 3-mers, sequences of 5 and 4 letters become tokens (2, 3) with lengths 3 and 2.
    """

    tokenizer: KmerTokenizer

    def __call__(self, sequences: Sequence[Letters]) -> Tokens:
        """Return the tokens of B sequences without padding, on the CPU."""
        lengths = [self.tokenizer.num_tokens(len(sequence)) for sequence in sequences]
        return Tokens(self.encode(pad_letters(sequences)), torch.tensor(lengths))

    def num_letters(self, sequences: Sequence[Letters]) -> int:
        """Count the letters of B sequences without padding."""
        return sum(map(len, sequences))

    def encode(self, letters: Letters) -> Tensor:
        """Convert zero-padded ASCII sequences (B, L) to token ids (B, N) int64 on the CPU."""
        codes = self.tokenizer.alphabet.codes(letters)
        return torch.from_numpy(self.tokenizer.encode(codes).astype(np.int64))


@dataclass(frozen=True)
class PairCollation(Collation):
    """Encode pairs of sequences for a model with two inputs.

    Attributes
    ----------
    partner
        Tokenizer of the second input.
    join
        Joins the ids (B, N1) and (B, N2) of both inputs, as the network expects them.
    """

    partner: KmerTokenizer
    join: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, pairs: Sequence[Any]) -> Tokens:
        """Return the tokens of B `RecordPair` of sequences without padding, on the CPU."""
        first = super().__call__([pair.first for pair in pairs])
        partner = Collation(self.partner)([pair.partner for pair in pairs])
        return Tokens(self.join(first.ids, partner.ids), first.lengths + partner.lengths)

    def num_letters(self, pairs: Sequence[Any]) -> int:
        """Count the letters of both inputs of B pairs."""
        return sum(len(pair.first) + len(pair.partner) for pair in pairs)
