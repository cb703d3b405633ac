"""What a kind of attention is: from queries, keys and values of all tokens to what each token takes, whatever stands between.

Hides: nothing. `SelfAttention` of the encoder calls a `Mixer`; each kind is one file of this folder, registered in `__init__`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from selfattn_bio.attention.attend import Asked, prepared
from selfattn_bio.attention.patterns import Full
from selfattn_bio.attention.positions import NoPosition


class Mixer(nn.Module, ABC):
    """One way in which tokens take from each other."""

    @abstractmethod
    def forward(self, q: Tensor, k: Tensor, v: Tensor, *, position: NoPosition, mask: Tensor | None = None, dropout: float = 0.0) -> Tensor:
        """What each token takes.

        Parameters
        ----------
        q
            (B, H, L, Dh), not yet rotated.
        k, v
            (B, G, L, Dh), H a multiple of G.
        position
            What place and distance do to the scores; of the kinds that the run file's section names in `positions`.
        mask
            (B, L) bool, True = token, False = padding, from which nothing is taken; None if there is none.
        dropout
            Share of the weights set to 0; 0 outside training. Kinds without weights have none to drop.

        Returns
        -------
        (B, H, L, Dh); 0 where there is nothing to take from.

        Raises
        ------
        ValueError
            If shapes do not fit.
        """

    @abstractmethod
    def num_pairs(self, length: int) -> int:
        """As many pairs of query and key, each of 2 Dh multiplications, as its work in `length` tokens equals."""

    def keep(self, heads: Sequence[int]) -> None:
        """Forget all but what is of these heads of queries; a kind with numbers of each head says how."""


class FullMixer(Mixer):
    """A mixer in which any token may take from any, checked and with as many keys as queries when it comes to `mix`."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor, *, position: NoPosition, mask: Tensor | None = None, dropout: float = 0.0) -> Tensor:
        """As `Mixer.forward`."""
        asked = prepared(q, k, v, Full(), position, mask, dropout=dropout)
        return torch.zeros_like(q) if 0 in q.shape else self.mix(asked).to(q.dtype)

    @abstractmethod
    def mix(self, asked: Asked) -> Tensor:
        """(B, H, L, Dh), of any precision; nothing of the request is empty."""


def work_dtype(x: Tensor) -> torch.dtype:
    """What sums over many tokens are taken in: float32 at least."""
    return torch.promote_types(x.dtype, torch.float32)
