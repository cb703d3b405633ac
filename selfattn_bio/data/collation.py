"""Collate the inputs of a batch: sequences of any lengths become one tensor of tokens.

`CorpusDataset` is a PyTorch dataset of tokens, for training loops of your own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.utils.data import Dataset

from selfattn_bio.arrays import Integers
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.display import counted
from selfattn_bio.errors import ArgumentError
from selfattn_bio.sequence.alphabet import Ascii, Letters
from selfattn_bio.sequence.kmers import PAD, KmerTokenizer, pad_letters


def to_device(x: Any, device: torch.device) -> Any:
    """Move a tensor of the CPU, or a dict of some, to a device; to CUDA without waiting."""
    if isinstance(x, dict):
        return {name: to_device(part, device) for name, part in x.items()}
    if device.type != "cuda":
        return x.to(device)
    return x.pin_memory().to(device, non_blocking=True)  # only pinned memory is copied meanwhile


class TokenBatch(NamedTuple):
    """Token ids (B, N) int64, padded with 0, and the number of tokens of each row, (B,) int64."""

    ids: Tensor
    lengths: Tensor  # on the CPU, where masks are sampled and tokens are counted

    def to(self, device: torch.device) -> TokenBatch:
        """Move the ids to a device."""
        return TokenBatch(to_device(self.ids, device), self.lengths)


@dataclass(frozen=True)
class Collation:
    """Encode ASCII sequences and pad them to one length.

    With 3-mers, sequences of 5 and 4 letters become tokens (2, 3) with lengths 3 and 2.
    """

    tokenizer: KmerTokenizer

    def __call__(self, sequences: Letters) -> TokenBatch:
        """Return the tokens of B sequences without padding, on the CPU."""
        lengths = [self.tokenizer.num_tokens(len(sequence)) for sequence in sequences]
        return TokenBatch(self.encode(pad_letters(sequences)), torch.tensor(lengths))

    def num_letters(self, sequences: Letters) -> int:
        """Count the letters of B sequences without padding."""
        return sum(map(len, sequences))

    def encode(self, letters: Ascii) -> Tensor:
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

    def __call__(self, pairs: Sequence[Any]) -> TokenBatch:
        """Return the tokens of B `RecordPair` of sequences without padding, on the CPU."""
        first = super().__call__([pair.first for pair in pairs])
        partner = Collation(self.partner)([pair.partner for pair in pairs])
        return TokenBatch(self.join(first.ids, partner.ids), first.lengths + partner.lengths)

    def num_letters(self, pairs: Sequence[Any]) -> int:
        """Count the letters of both inputs of B pairs."""
        return sum(len(pair.first) + len(pair.partner) for pair in pairs)


class CorpusDataset(Dataset[tuple[Tensor, Tensor]]):
    """Provide the tokens and the target of each record of a corpus.

    >>> data = CorpusDataset(corpus, k=3, rows=split.table["split"] == "train")  # doctest: +SKIP
    >>> DataLoader(data, batch_size=32, shuffle=True, collate_fn=collate)  # doctest: +SKIP

    Parameters
    ----------
    corpus
        The corpus.
    k, stride
        Length of the tokens, and positions between their starts.
    rows
        Rows of the corpus, 0-based (negative numbers count from the end), or a bool for each
        record; by default all.
    targets
        One target per row (n, ...); by default the labels 0 and 1.

    Attributes
    ----------
    vocabulary_size
        Number of tokens, including the special ones; 0 is padding.

    Raises
    ------
    ArgumentError
        If a record has no label, the number of targets is wrong, or `rows` does not fit the corpus.
    """

    def __init__(
        self,
        corpus: Corpus,
        *,
        k: int = 3,
        stride: int = 1,
        rows: Iterable[int] | None = None,
        targets: ArrayLike | None = None,
    ) -> None:
        self.corpus = corpus
        self.tokenizer = KmerTokenizer(corpus.alphabet, k=k, stride=stride)
        self.vocabulary_size = self.tokenizer.vocabulary_size
        self.rows = np.arange(len(corpus)) if rows is None else _row_numbers(rows, len(corpus))
        if targets is None:
            labels = corpus.records["label"].iloc[self.rows]
            if labels.isna().any():
                raise ArgumentError("some records of the corpus have no label; pass their targets")
            targets = labels.to_numpy(dtype=np.int64)
        self.targets = torch.as_tensor(np.asarray(targets))
        if len(self.targets) != len(self.rows):
            message = f"there are {len(self.targets)} targets for {len(self.rows)} records"
            raise ArgumentError(message)

    def __repr__(self) -> str:
        return (
            f"CorpusDataset of {counted(len(self), 'record')}, k = {self.tokenizer.k}, "
            f"vocabulary of {self.vocabulary_size}"
        )

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        """Return the tokens (N,) int64 and the target of a record."""
        letters = self.corpus.letters(int(self.rows[i]))
        return Collation(self.tokenizer).encode(letters[None])[0], self.targets[i]


def collate(items: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    """Join items of a `CorpusDataset` to a batch, for `DataLoader(collate_fn=collate)`.

    Returns
    -------
    Tokens (B, N) int64, padded with 0 at the end; lengths (B,), the numbers of tokens; and targets
    (B, ...).
    """
    tokens = [tokens for tokens, _ in items]
    return (
        torch.nn.utils.rnn.pad_sequence(tokens, batch_first=True, padding_value=PAD),
        torch.tensor([len(row) for row in tokens]),
        torch.stack([target for _, target in items]),
    )


def _row_numbers(rows: Iterable[int], count: int) -> Integers:
    """Return rows as numbers (n,); `rows` are those of `CorpusDataset`."""
    every = np.arange(count)
    try:
        return every[pd.api.indexers.check_array_indexer(every, list(rows))]
    except (IndexError, ValueError) as error:
        raise ArgumentError(f"rows do not fit a corpus of {count} records: {error}") from error
