"""Logits of windows that overlap, along a long sequence: what neighbours share is computed once.

Hides: that a convolutional stem gives a letter the same vectors in each window, but near a window's ends. The scan of a genome uses it;
the same numbers come from `Scorer.logits` window by window, but for the order of the sums.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

from selfattn_bio.config import AttentionModel, ConvStem
from selfattn_bio.model.classifier import AttentionBody
from selfattn_bio.scoring.scorer import Ensemble, Scorer

BATCH = 256  # windows that go through the encoder at once: of 64 to 512 the least time a window


@dataclass(frozen=True)
class Windows:
    """Windows of `size` letters, one every `stride` letters: [0, size), [stride, stride + size), ...

    Raises
    ------
    ValueError
        If the stride is not in 1 - size: letters between two windows would be in none.
    """

    size: int
    stride: int

    def __post_init__(self) -> None:
        if not 1 <= self.stride <= self.size:
            raise ValueError(f"stride must be 1 - {self.size} (the window) letters, got {self.stride}")

    def number(self, length: int) -> int:
        """How many there are in a sequence of `length` letters."""
        return max(0, (length - self.size) // self.stride + 1)

    def reach(self, number: int) -> int:
        """Letters from the start of the first to the end of the last of `number` windows."""
        return (number - 1) * self.stride + self.size


def strand_logits(scorer: Scorer | Ensemble, letters: NDArray[np.uint8], windows: Windows) -> NDArray[np.float64]:
    """Logits of all windows on both strands, the mean of the members of an ensemble.

    Parameters
    ----------
    letters
        (L,) ASCII of DNA, forward strand, where the last window ends with the last letter.

    Returns
    -------
    (2, n): row 0 of the windows as they read, row 1 of their reverse complements, both in the order of the forward strand.

    Raises
    ------
    ValueError
        If letters are left over after the last window, the alphabet has no complement, or the objective is not binary.
    """
    if (number := windows.number(len(letters))) == 0 or windows.reach(number) != len(letters):
        raise ValueError(f"letters must end with a window of {windows.size} at a stride of {windows.stride}, got {len(letters)} letters")
    other = scorer.alphabet.reverse_complement(letters)
    of_members = [[_logits(member, letters, windows), _logits(member, other, windows)[::-1]] for member in scorer.members]
    return np.mean(of_members, axis=0)


def _logits(scorer: Scorer, letters: NDArray[np.uint8], windows: Windows) -> NDArray[np.float64]:
    """Logits (n,) of one model's windows."""
    if (shared := SharedStem.of(scorer, windows)) is not None:
        return shared.logits(scorer, letters)
    views = sliding_window_view(letters, windows.size)[:: windows.stride]
    return np.concatenate([scorer.logits(views[start : start + BATCH]) for start in range(0, len(views), BATCH)])


@dataclass(frozen=True)
class SharedStem:
    """Where a pooled vector of the stem stands in a window, in vectors: `left` at its start and `right` at its end see the window's edge.

    A window of 300 letters, 298 3-mers, kernel 9, pooled by 8, second kernel 5: 38 vectors, of which 3 at the start and 4 at the end are
    computed for the window, from the 6 and 7 that stand there; 31 are those of the whole sequence.
    """

    num_tokens: int  # of a window
    step: int  # tokens from a window to the next
    pool: int
    edge: int  # vectors that see an edge that stands between two vectors
    right: int

    @classmethod
    def of(cls, scorer: Scorer, windows: Windows) -> SharedStem | None:
        """None where nothing can be shared: no convolutional stem, a stride that is no multiple of its pooling, windows too short."""
        tokenizer, section = scorer.tokenizer, scorer.run.model
        if not (isinstance(section, AttentionModel) and isinstance(stem := section.stem, ConvStem)) or windows.stride % unit(scorer):
            return None
        num_tokens = tokenizer.num_tokens(windows.size)
        edge = -(-(stem.kernel // 2) // stem.pool) + stem.second_kernel // 2
        untouched = (num_tokens - stem.kernel // 2) // stem.pool - stem.second_kernel // 2  # vectors that do not see the end
        found = cls(num_tokens, windows.stride // tokenizer.stride, stem.pool, edge, -(-num_tokens // stem.pool) - untouched)
        return found if found.size >= 2 * edge + found.right else None

    @property
    def size(self) -> int:
        """Vectors of a window."""
        return -(-self.num_tokens // self.pool)

    def logits(self, scorer: Scorer, letters: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Logits (n,) of the windows of a sequence that ends with the last of them."""
        network = scorer.network
        with torch.inference_mode():
            tokens = scorer.tokens(letters[None])  # (1, N)
            of_members = [
                torch.cat([_after_stem(member, x)[:, 0] for x in self._stems(network.embed(tokens)[0], member)])
                for member in network.members
                if isinstance(member, AttentionBody)
            ]
            return torch.stack(of_members).double().mean(0).cpu().numpy()

    def _stems(self, embeddings: Tensor, member: AttentionBody) -> Iterator[Tensor]:
        """embeddings (N, token_dim) of the whole sequence -> what the stem makes of each window, (B, M, D), batch by batch."""

        def stem(x: Tensor) -> Tensor:
            return member.stem(x, x.new_ones(x.shape[:2], dtype=torch.bool))[0]

        first, last = (self.edge * 2) * self.pool, (self.size - self.right - self.edge) * self.pool
        whole = stem(embeddings[None])[0].unfold(0, self.size, self.step // self.pool).transpose(1, 2)  # (n, M, D), a view
        own = embeddings.unfold(0, self.num_tokens, self.step).transpose(1, 2)  # (n, tokens, token_dim), a view
        for start in range(0, len(whole), BATCH):
            rows = slice(start, start + BATCH)
            x = whole[rows].clone(memory_format=torch.contiguous_format)
            x[:, : self.edge] = stem(own[rows, :first])[:, : self.edge]
            x[:, -self.right :] = stem(own[rows, last:])[:, -self.right :]
            yield x


def _after_stem(member: AttentionBody, x: Tensor) -> Tensor:
    """x (B, M, D) -> (B, C), as in the member's own forward."""
    x, mask = member.head.add_prefix(x, x.new_ones(x.shape[:2], dtype=torch.bool))
    return member.head(member.encoder(x, mask), mask)


def unit(scorer: Scorer | Ensemble) -> int:
    """Letters of which the stride should be a multiple, so that windows share what the stem makes of them."""
    units = [member.tokenizer.stride * getattr(getattr(member.run.model, "stem", None), "pool", 1) for member in scorer.members]
    return int(np.lcm.reduce(units))
