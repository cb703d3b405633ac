"""Softmax attention under a pattern, the standard kind of attention."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from selfattn_bio.attention.attend import attend
from selfattn_bio.attention.mixers.base import Mixer
from selfattn_bio.attention.patterns import AttentionPattern, num_pairs


class Softmax(Mixer):
    """Mean of the values weighted by a softmax over the pairs that a pattern allows."""

    def __init__(self, pattern: AttentionPattern, kernel: str = "auto") -> None:
        super().__init__()
        self.pattern, self.kernel = pattern, kernel

    def forward(self, q: Tensor, k: Tensor, v: Tensor, **settings: Any) -> Tensor:
        """Compute attention with `attend`; see `Mixer.forward`."""
        return attend(q, k, v, pattern=self.pattern, kernel=self.kernel, **settings)

    def num_pairs(self, length: int) -> int:
        """Return the number of pairs of the pattern."""
        return num_pairs(self.pattern, length)
