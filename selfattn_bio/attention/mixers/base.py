"""Base classes of the kinds of attention ("mixers").

The encoder's `SelfAttention` calls a `Mixer` with queries, keys and values. Each kind is one file
of this package; `build_mixer` in `__init__` chooses it.

Shapes: B sequences, H query heads, G heads of keys and values, L tokens, Dh dimensions per head.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from selfattn_bio.attention.inputs import AttentionInputs, prepare
from selfattn_bio.attention.mask import AttentionMask
from selfattn_bio.attention.patterns import Full
from selfattn_bio.attention.positions import RelativePosition


class Mixer(nn.Module, ABC):
    """A kind of attention: each token receives information from other tokens.

    Attributes
    ----------
    keys_are_queries
        Whether queries serve as keys, so that the layer has no projection to keys.
    """

    keys_are_queries: ClassVar[bool] = False

    @abstractmethod
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
        """Compute the output of attention for each query.

        Parameters
        ----------
        q
            Queries (B, H, L, Dh), before rotary positions are applied.
        k, v
            Keys and values (B, G, L, Dh); H is a multiple of G.
        position
            Effect of positions and distances on the scores. The section of the mixer in `config`
            lists the supported kinds as `positions`.
        mask
            (B, L) bool: True for tokens, False for padding, which no query attends to. None: no
            padding. The encoder passes the `AttentionMask` of the batch.
        dropout
            Fraction of the attention weights set to 0; use 0 outside training. Ignored by kinds
            that compute no weights.

        Returns
        -------
        (B, H, L, Dh); 0 for a query that may attend to no key.

        Raises
        ------
        ValueError
            If shapes do not fit.
        """

    @abstractmethod
    def num_pairs(self, length: int) -> int:
        """Return the work per head for `length` tokens, as a number of pairs of query and key.

        One pair takes 2 Dh multiplications: Dh for the score and Dh for the value.
        """


class FullMixer(Mixer):
    """Base class of mixers without a pattern, in which any token may attend to any token.

    Subclasses implement `mix`. Its inputs are checked, q and k are rotated, and keys and values are
    repeated to as many heads as the queries.
    """

    def forward(self, q: Tensor, k: Tensor, v: Tensor, **settings: Any) -> Tensor:
        """Compute the output of attention; see `Mixer.forward`."""
        inputs = prepare(q, k, v, pattern=Full(), **settings)
        return torch.zeros_like(q) if 0 in q.shape else self.mix(inputs).to(q.dtype)

    @abstractmethod
    def mix(self, inputs: AttentionInputs) -> Tensor:
        """Compute the output of attention (B, H, L, Dh), in any floating-point type.

        No dimension of the inputs is 0.
        """


def work_dtype(x: Tensor) -> torch.dtype:
    """Return the type in which to sum over many tokens: that of `x`, but at least float32."""
    return torch.promote_types(x.dtype, torch.float32)


def joined(outputs: Tensor, log_sums: Tensor, dim: int) -> Tensor:
    """Join attention over disjoint sets of keys.

    Parameters
    ----------
    outputs
        (..., Dh), output of each query for each set.
    log_sums
        (...), log of the sum of exp(scores) of each query over each set.
    dim
        Dimension of the sets, which the result lacks.
    """
    return (outputs * log_sums.softmax(dim)[..., None]).sum(dim)
