"""Softmax attention under a pattern, the standard kind of attention."""

from __future__ import annotations

from torch import Tensor

from selfattn_bio.attention.attend import attend
from selfattn_bio.attention.mask import AttentionMask
from selfattn_bio.attention.mixers.base import Mixer
from selfattn_bio.attention.patterns import AttentionPattern, num_pairs
from selfattn_bio.attention.positions import RelativePosition


class Softmax(Mixer):
    """Mean of the values weighted by a softmax over the pairs that a pattern allows."""

    def __init__(self, pattern: AttentionPattern, kernel: str = "auto") -> None:
        super().__init__()
        self.pattern, self.kernel = pattern, kernel

    def forward(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *,
        position: RelativePosition,
        mask: AttentionMask | Tensor | None = None,
        dropout: float = 0.0,
    ) -> Tensor:
        """Compute attention with `attend`; see `Mixer.forward`."""
        return attend(
            q,
            k,
            v,
            pattern=self.pattern,
            position=position,
            mask=mask,
            dropout=dropout,
            kernel=self.kernel,
        )

    def num_pairs(self, length: int) -> int:
        """Return the number of pairs of the pattern."""
        return num_pairs(self.pattern, length)
