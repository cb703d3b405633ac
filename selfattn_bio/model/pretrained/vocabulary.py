"""Map letters to the tokens of a pretrained model, with the letters that each token covers.

The networks of this package read a token per letter (`[tokens] k = 1`). A vocabulary joins them to
the tokens that the pretrained model was trained on: residues, k-mers that overlap (DNABERT), k-mers
side by side with single letters where none fits (Nucleotide Transformer), or pieces of different
lengths (DNABERT-2). Results were checked against the tokenizers of `transformers`.

Shapes: B sequences of N letters, M tokens with the special ones, D dimensions, V letters including
[PAD], [CLS], [MASK] and [UNK].
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from selfattn_bio.errors import ArgumentError
from selfattn_bio.sequence.alphabet import Ascii
from selfattn_bio.sequence.kmers import MASK, PAD, SPECIAL

FIRST = len(SPECIAL)  # the token of this package for the first letter of the alphabet


@dataclass(frozen=True)
class Pieces:
    """Tokens of a pretrained vocabulary.

    Attributes
    ----------
    ids
        (B, M) int64, with the special tokens at both ends.
    mask
        (B, M) bool, True = token, False = padding.
    start, width
        (B, M) int64: the first letter of each token and their number; 0 letters for special tokens
        and padding.
    """

    ids: Tensor
    mask: Tensor
    start: Tensor
    width: Tensor

    @property
    def inside(self) -> Tensor:
        """Return which tokens cover letters, (B, M) bool."""
        return self.width > 0

    def of_letters(self, vectors: Tensor, num_letters: int) -> Tensor:
        """Return the vector of the token that covers each letter, (B, N, D), from (B, M, D).

        If tokens overlap, it is the token centred on the letter.
        """
        pairs = self.inside[:, 1:] & self.inside[:, :-1]
        overlaps = bool((pairs & (self.start.diff() < self.width[:, :-1])).any())
        own = self.start + (self.width // 2 if overlaps else 0)
        # special tokens and padding are behind all letters, so that they cover none
        own = torch.where(self.inside, own, num_letters + 1)
        order = own.argsort(stable=True)
        letters = torch.arange(num_letters, device=own.device).expand(len(own), -1).contiguous()
        at = torch.searchsorted(own.gather(1, order), letters, right=True).sub(1).clamp(min=0)
        return vectors.take_along_dim(order.gather(1, at)[..., None], 1)


@dataclass(eq=False)
class Vocabulary(ABC):
    """Tokens of a pretrained model.

    Parameters
    ----------
    prefix, suffix
        Special tokens before and after each sequence.
    pad
        Token of padding.
    """

    # whether a letter can be replaced without changing which letters the other tokens cover
    has_embeddings = True
    shortest = 1  # letters of the shortest sequence with a token

    prefix: Sequence[int]
    suffix: Sequence[int]
    pad: int

    @abstractmethod
    def cut(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return ids, first letter and number of letters of each token, (B, M') each.

        Special tokens are not included. Padding has 0 letters. `tokens` is (B, N), those of this
        package.
        """

    def __call__(self, tokens: Tensor) -> Pieces:
        """Convert a token per letter, (B, N) padded with 0, to the tokens of the vocabulary."""
        ids, start, width = self.cut(tokens)
        front, back = len(self.prefix), len(self.suffix)
        shape = (len(ids), ids.shape[1] + front + back)
        joined = ids.new_full(shape, self.pad)
        starts, widths = ids.new_zeros(shape), ids.new_zeros(shape)
        inside = slice(front, front + ids.shape[1])
        joined[:, inside] = torch.where(width > 0, ids, self.pad)
        starts[:, inside], widths[:, inside] = start, width
        number = (width > 0).sum(1)  # tokens of each row
        if not bool(number.all()):
            message = f"a sequence is shorter than a token of the model, {self.shortest} letters"
            raise ArgumentError(message, hint="Set min_length in [data]")
        if front:
            joined[:, :front] = torch.tensor(self.prefix, device=ids.device)
        for i, special in enumerate(self.suffix):
            joined.scatter_(1, (front + number + i)[:, None], special)
        at = torch.arange(shape[1], device=ids.device)
        return Pieces(joined, at < (front + number + back)[:, None], starts, widths)

    def embeddings(self, letters: Tensor, pieces: Pieces, table: Tensor) -> Tensor:
        """Return the embedding of each token for letters with weights, (B, M, D).

        Parameters
        ----------
        letters
            (B, N, V) weights of the letters at each position; one-hot for a sequence.
        pieces
            Tokens of the sequences.
        table
            (tokens, D) embeddings of the pretrained model.
        """
        raise NotImplementedError


@dataclass(eq=False)
class KmerVocabulary(Vocabulary):
    """k-mers or single letters.

    Parameters
    ----------
    k
        Letters of a token.
    step
        Distance of the tokens: 1, or k for k-mers side by side. Where the next k letters have an
        unknown one or the sequence ends, they are then single letters.
    kmers
        (A^k,) token of each k-mer, in the order of the alphabet.
    singles
        (V,) token of each letter and special token of this package.
    """

    k: int
    step: int
    kmers: Tensor
    singles: Tensor

    def __post_init__(self) -> None:
        self.shortest = self.k if self.step == 1 else 1
        self.num_letters = len(self.singles) - FIRST

    def cut(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `Vocabulary.cut`."""
        start, width = self._windows(tokens)
        singles, kmers = self.singles.to(tokens.device), self.kmers.to(tokens.device)
        first = tokens.gather(1, start)
        ids = singles[first]
        if self.k > 1:
            index, known = torch.zeros_like(start), torch.ones_like(start, dtype=torch.bool)
            masked = torch.zeros_like(known)
            for offset in range(self.k):
                letter = tokens.gather(1, (start + offset).clamp(max=tokens.shape[1] - 1))
                index = index * self.num_letters + (letter - FIRST).clamp(min=0)
                known, masked = known & (letter >= FIRST), masked | (letter == MASK)
            other = torch.where(masked, singles[MASK], singles[FIRST - 1])
            ids = torch.where(width == self.k, torch.where(known, kmers[index], other), ids)
        return ids, start, width

    def _windows(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return first letter and number of letters of each token, (B, M') each."""
        lengths = (tokens != PAD).sum(1, keepdim=True)
        if self.step == 1:
            start = torch.arange(max(1, tokens.shape[1] - self.k + 1), device=tokens.device)
            start = start.expand(len(tokens), -1)
            return start, torch.where(start + self.k <= lengths, self.k, 0)
        rows = [self._side_by_side(row[: int(n)]) for row, n in zip(tokens, lengths, strict=True)]
        padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        return padded.unbind(-1)  # type: ignore[return-value]

    def _side_by_side(self, row: Tensor) -> Tensor:
        """Return (first letter, number of letters) of the tokens of a row, (M', 2)."""
        k, known = self.k, row >= FIRST
        bounds = [0, *(torch.nonzero(~known).ravel() + 1).tolist(), len(row) + 1]
        parts = []
        for begin, end in itertools.pairwise(bounds):  # from behind one unknown letter to the next
            blocks = (end - 1 - begin) // k
            start = torch.arange(begin, begin + blocks * k, k, device=row.device)
            parts.append(torch.stack((start, torch.full_like(start, k)), 1))
            start = torch.arange(begin + blocks * k, min(end, len(row)), device=row.device)
            parts.append(torch.stack((start, torch.ones_like(start)), 1))
        return torch.cat(parts)

    def embeddings(self, letters: Tensor, pieces: Pieces, table: Tensor) -> Tensor:
        """See `Vocabulary.embeddings`.

        A k-mer is the mean of all k-mers, weighted by the product of the weights of their letters.
        """
        found = table[pieces.ids]
        rows, at = torch.nonzero(pieces.width == 1, as_tuple=True)
        if len(rows):
            weights = letters[rows, pieces.start[rows, at]]
            singles = self.singles.to(table.device)
            found = found.index_put((rows, at), weights @ table[singles])
        rows, at = torch.nonzero(pieces.width > 1, as_tuple=True)
        if len(rows):
            start, weights = pieces.start[rows, at], letters.new_ones(len(rows), 1)
            for offset in range(self.k):
                of_letter = letters[rows, start + offset, FIRST:]
                weights = (weights[..., None] * of_letter[:, None]).flatten(1)
            unknown = 1 - weights.sum(1, keepdim=True)
            vectors = weights @ table[self.kmers.to(table.device)]
            vectors = vectors + unknown * found[rows, at].detach() * (unknown.detach() > 0.5)
            found = found.index_put((rows, at), vectors)
        return found

    def log_p_of_letters(self, row: Tensor, pieces: Pieces, log_p: Tensor) -> Tensor:
        """Return the log p of the token with each letter at each position, (N, A).

        Parameters
        ----------
        row
            Tokens of this package of one sequence, (N,).
        pieces
            Its tokens, which do not overlap.
        log_p
            (M', vocabulary) of the tokens that cover letters.
        """
        found = log_p.new_empty(len(row), self.num_letters)
        inside = pieces.inside[0]
        for start, width, own in zip(
            pieces.start[0, inside].tolist(), pieces.width[0, inside].tolist(), log_p, strict=True
        ):
            if width == 1:
                found[start] = own[self.singles[FIRST:]]
                continue
            letters = row[start : start + width] - FIRST
            weights = self.num_letters ** torch.arange(width - 1, -1, -1)
            number = int((letters * weights).sum())
            for i in range(width):
                change = (torch.arange(self.num_letters) - letters[i]) * weights[i]
                found[start + i] = own[self.kmers[number + change]]
        return found


@dataclass(eq=False)
class PieceVocabulary(Vocabulary):
    """Pieces of different lengths, as byte-pair encoding makes them from a text.

    Parameters
    ----------
    split
        Function from a text to the ids and (start, end) of its pieces.
    letters
        (V,) ASCII code of each token of this package.
    """

    has_embeddings = False

    split: Callable[[str], tuple[Sequence[int], Sequence[tuple[int, int]]]]
    letters: Ascii

    def cut(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `Vocabulary.cut`."""
        rows = []
        for row in tokens.cpu().numpy():
            text = self.letters[row[row != PAD]].tobytes().decode("ascii")
            ids, spans = self.split(text)
            own = [(i, a, b - a) for i, (a, b) in zip(ids, spans, strict=True)]
            rows.append(torch.tensor(own, dtype=torch.long).reshape(-1, 3))
        padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(tokens.device)
        return padded.unbind(-1)  # type: ignore[return-value]
