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

from selfattn_bio import config
from selfattn_bio.errors import ArgumentError
from selfattn_bio.model import stem
from selfattn_bio.model.classifier import AttentionBody
from selfattn_bio.scoring.scorer import Ensemble, Scorer

BATCH = 256  # windows that go through the encoder at once: 512 are no faster, 64 a fifth slower


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
            raise ArgumentError(f"stride must be 1 - {self.size} (the window) letters, got {self.stride}")

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
    (2, n): row 0 of the windows as they read, row 1 of their reverse complements, both in the order of the forward strand. (1, n) if the
    model reads both strands: a window has one logit.

    Raises
    ------
    ValueError
        If letters are left over after the last window, the alphabet has no complement, or the objective is not binary.
    """
    if (number := windows.number(len(letters))) == 0 or windows.reach(number) != len(letters):
        raise ValueError(f"letters must end with a window of {windows.size} at a stride of {windows.stride}, got {len(letters)} letters")
    other = scorer.alphabet.reverse_complement(letters)
    shape = (1 if scorer.both_strands else 2, number)
    of_members = [np.broadcast_to(_member_logits(member, letters, other, windows), shape) for member in scorer.members]
    return np.mean(of_members, axis=0)


def _member_logits(scorer: Scorer, letters: NDArray[np.uint8], other: NDArray[np.uint8], windows: Windows) -> NDArray[np.float64]:
    """Return logits of one model's windows on each strand, (2, n); (1, n) if the model reads both strands."""
    if (shared := SharedStem.of(scorer, windows)) is not None:
        strands = np.stack([shared.logits(scorer, letters), shared.logits(scorer, other)[::-1]])
        return strands.mean(axis=0, keepdims=True) if scorer.both_strands else strands
    given = _logits(scorer, letters, windows)  # the mean over both strands, of a model that reads both
    return given[None] if scorer.both_strands else np.stack([given, _logits(scorer, other, windows)[::-1]])


def _logits(scorer: Scorer, letters: NDArray[np.uint8], windows: Windows) -> NDArray[np.float64]:
    """Return logits (n,) of one model's windows, each passed alone."""
    views = sliding_window_view(letters, windows.size)[:: windows.stride]
    return np.concatenate([scorer.logits(views[start : start + BATCH]) for start in range(0, len(views), BATCH)])


@dataclass(frozen=True)
class SharedStem:
    """Where the vectors of a convolutional stem stand in a window, and which of them see its edges; the others are shared by all windows.

    A window of 300 letters is 298 3-mers; with kernel 9, pooled by 8, it is 38 detector vectors, of which 1 at the start and 2 at the end
    see an edge, and with second kernel 5 so do 3 and 4 of the 38 that leave the stem.

    Attributes
    ----------
    num_tokens, step
        Of a window, and from a window to the next.
    size
        Vectors of a window.
    pool
        Tokens a vector.
    edges
        Detector vectors that see an edge, at the start and at the end.
    margin
        Vectors on each side that the second convolution joins to one.
    """

    num_tokens: int
    step: int
    size: int
    pool: int
    edges: tuple[int, int]
    margin: int

    @classmethod
    def of(cls, scorer: Scorer, windows: Windows) -> SharedStem | None:
        """None where nothing can be shared: no convolutional stem, a stride that is no multiple of its pooling, windows too short."""
        tokenizer, section = scorer.tokenizer, scorer.run.model
        if not isinstance(section, config.AttentionModel) or not isinstance(section.stem, config.ConvStem) or windows.stride % unit(scorer):
            return None
        if section.stem.norm == "record" or scorer.stack:  # each window has a mean of its own, and parts of a stack read complete windows
            return None
        num_tokens, pool = tokenizer.num_tokens(windows.size), section.stem.pool
        half, margin, size = section.stem.kernel // 2, section.stem.second_kernel // 2, -(-num_tokens // pool)
        edges = -(-half // pool), size - (num_tokens - half) // pool
        if half == 0 or size < 2 * (sum(edges) + 2 * margin):
            return None
        return cls(num_tokens, windows.stride // tokenizer.stride, size, pool, edges, margin)

    def logits(self, scorer: Scorer, letters: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Logits (n,) of the windows of a sequence that ends with the last of them."""
        with torch.inference_mode():
            embeddings = scorer.network.embedding(scorer.tokens(letters[None]))[0]  # (N, token_dim), of the given strand alone
            of_members = [
                torch.cat([_after_stem(member, x)[:, 0] for x in self._stems(embeddings, member.stem)])
                for member in scorer.network.members
                if isinstance(member, AttentionBody) and isinstance(member.stem, stem.ConvStem)
            ]
            return torch.stack(of_members).double().mean(0).cpu().numpy()

    def _stems(self, embeddings: Tensor, convolve: stem.ConvStem) -> Iterator[Tensor]:
        """embeddings (N, token_dim) of the whole sequence -> what the stem makes of each window, (B, M, D), batch by batch."""
        first, last = self.edges
        hop, before, after = self.step // self.pool, first + self.margin, last + self.margin
        detected = _detected(convolve, embeddings[None])  # (1, D, P)
        combined = _combined(convolve, detected)[0]  # (P, D)
        own = embeddings.unfold(0, self.num_tokens, self.step).transpose(1, 2)  # views of each window: (n, tokens, token_dim)
        detectors = detected[0].unfold(1, self.size, hop).transpose(0, 1)  # (n, D, M)
        vectors = combined.unfold(0, self.size, hop).transpose(1, 2)  # (n, M, D)
        for start in range(0, len(own), BATCH):
            rows = slice(start, start + BATCH)
            x = vectors[rows].clone(memory_format=torch.contiguous_format)
            left = detectors[rows, :, : before + self.margin].clone()
            left[..., :first] = _detected(convolve, own[rows, : 2 * first * self.pool])[..., :first]
            x[:, :before] = _combined(convolve, left)[:, :before]
            right = detectors[rows, :, -after - self.margin :].clone()
            right[..., -last:] = _detected(convolve, own[rows, (self.size - last - first) * self.pool :])[..., -last:]
            x[:, -after:] = _combined(convolve, right)[:, -after:]
            yield x


def _detected(convolve: stem.ConvStem, x: Tensor) -> Tensor:
    """x (B, N, token_dim) without padding -> (B, D, M)."""
    return convolve.detected(x, x.new_ones(x.shape[:2], dtype=torch.bool))[0]


def _combined(convolve: stem.ConvStem, x: Tensor) -> Tensor:
    """x (B, D, M) without padding -> (B, M, D)."""
    return convolve.combined(x, x.new_ones(len(x), x.shape[2], dtype=torch.bool))[0]


def _after_stem(member: AttentionBody, x: Tensor) -> Tensor:
    """x (B, M, D) -> (B, C), as in the member's own forward."""
    return member.after_stem(x, x.new_ones(x.shape[:2], dtype=torch.bool))  # type: ignore[return-value]


def unit(scorer: Scorer | Ensemble) -> int:
    """Letters of which the stride should be a multiple, so that windows share what the stem makes of them."""
    return int(np.lcm.reduce([member.run.pitch for member in scorer.members]))
