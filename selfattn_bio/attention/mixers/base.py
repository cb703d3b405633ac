"""Base classes of the kinds of attention.

The encoder's `SelfAttention` calls a `Mixer` with queries, keys and values. Each kind is one file
of this package, registered in `__init__`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from selfattn_bio.attention.attend import AttentionInputs, prepared
from selfattn_bio.attention.patterns import Full
from selfattn_bio.attention.positions import NoPosition


class Mixer(nn.Module, ABC):
    """Kind of attention: mixes information between tokens."""

    @abstractmethod
    def forward(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *,
        position: NoPosition,
        mask: Tensor | None = None,
        dropout: float = 0.0,
    ) -> Tensor:
        """Return the mixed values of each token.

        Parameters
        ----------
        q
            (B, H, L, Dh), not yet rotated.
        k, v
            (B, G, L, Dh), H a multiple of G.
        position
            Effect of positions and distances on the scores; a kind that `positions` of the run
            file's section lists.
        mask
            (B, L) bool, True = token, False = padding, which no query attends to. None: no padding.
        dropout
            Fraction of the weights set to 0; 0 outside training. Ignored by kinds without weights.

        Returns
        -------
        (B, H, L, Dh); 0 for a query without keys.

        Raises
        ------
        ValueError
            If shapes do not fit.
        """

    @abstractmethod
    def num_pairs(self, length: int) -> int:
        """Return the work in `length` tokens as a number of pairs of query and key.

        One pair is 2 Dh multiplications.
        """

    def keep(self, heads: Sequence[int]) -> None:
        """Prune to the given query heads. Mixers with parameters per head override this."""


class FullMixer(Mixer):
    """Mixer without a pattern: any token may attend to any token.

    `mix` gets checked inputs, with as many heads of keys as of queries.
    """

    def forward(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *,
        position: NoPosition,
        mask: Tensor | None = None,
        dropout: float = 0.0,
    ) -> Tensor:
        """Return the mixed values of each token; see `Mixer.forward`."""
        inputs = prepared(q, k, v, Full(), position, mask, dropout=dropout)
        return torch.zeros_like(q) if 0 in q.shape else self.mix(inputs).to(q.dtype)

    @abstractmethod
    def mix(self, inputs: AttentionInputs) -> Tensor:
        """Return the mixed values (B, H, L, Dh) in any precision.

        No dimension of the inputs is 0.
        """


def work_dtype(x: Tensor) -> torch.dtype:
    """Return the precision for sums over many tokens: float32 or better."""
    return torch.promote_types(x.dtype, torch.float32)
