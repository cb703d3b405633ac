"""One request for softmax attention, as all kernels receive it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from selfattn_bio.attention.mask import AttentionMask, as_mask
from selfattn_bio.attention.patterns import AttentionPattern
from selfattn_bio.attention.positions import RelativePosition, Terms

DROPOUT_SEEDS = 2**62  # number of seeds

Rest = tuple[AttentionMask, AttentionPattern, float, int]


@dataclass(frozen=True)
class AttentionInputs:
    """Inputs of attention.

    Attributes
    ----------
    q, k, v
        (B, H, L, Dh); q and k are rotated.
    terms
        Terms of the position.
    mask
        Padding.
    pattern
        Which queries may attend to which keys.
    dropout
        Fraction of the weights set to 0; the others are scaled up to keep the mean.
    seed
        Seed of the dropout, for kernels that do not use torch's generator.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    terms: Terms
    mask: AttentionMask
    pattern: AttentionPattern
    dropout: float = 0.0
    seed: int = 0

    @property
    def length(self) -> int:
        """Return the number L of tokens."""
        return self.q.shape[2]

    @property
    def rest(self) -> Rest:
        """Return the fields after the tensors, which autograd functions keep as they are."""
        return self.mask, self.pattern, self.dropout, self.seed

    def select(self, rows: slice) -> AttentionInputs:
        """Return the request for some sequences of the batch."""
        queries = self.terms.queries
        return replace(
            self,
            q=self.q[rows],
            k=self.k[rows],
            v=self.v[rows],
            terms=self.terms._replace(queries=None if queries is None else queries[rows]),
            mask=self.mask.select(rows),
        )

    @property
    def bias_is_learned(self) -> bool:
        """Return whether the bias needs a gradient."""
        bias = self.terms.bias
        return torch.is_grad_enabled() and bias is not None and bias.requires_grad


def prepare(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    pattern: AttentionPattern,
    position: RelativePosition,
    mask: AttentionMask | Tensor | None = None,
    dropout: float = 0.0,
) -> AttentionInputs:
    """Check the arguments of `attend` and convert them for the kernels.

    k and v get as many heads as q, q and k are rotated, and the terms of the position are computed.
    """
    if (
        q.ndim != 4
        or k.ndim != 4
        or k.shape != v.shape
        or k.shape[0] != q.shape[0]
        or k.shape[2:] != q.shape[2:]
        or q.shape[1] % k.shape[1]
    ):
        raise ValueError(
            f"the shapes of q {tuple(q.shape)}, k {tuple(k.shape)} and v {tuple(v.shape)} do not "
            "fit; expected (B, H, L, Dh) for q and (B, G, L, Dh) for k and v, H a multiple of G"
        )
    if not isinstance(pattern, AttentionPattern):
        raise ValueError(f"pattern is {pattern!r}; expected a pattern such as Window(128)")
    if not isinstance(position, RelativePosition):
        raise ValueError(
            f"position has type {type(position).__name__}; expected a relative position such as "
            "Rotary(16)"
        )
    heads, mask = q.shape[1], as_mask(mask, q)
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout is {dropout}; expected a fraction in [0, 1)")
    if k.shape[1] != heads:
        k, v = (x.repeat_interleave(heads // x.shape[1], dim=1) for x in (k, v))
    terms = position.terms(q, pattern.reach(mask.length), mask.positions)
    if terms.bias is not None and len(terms.bias) != heads:
        raise ValueError(f"position has {len(terms.bias)} heads, but q has {heads}")
    if terms.keys is not None and terms.keys.shape[-1] != q.shape[-1]:
        raise ValueError(f"position has head_dim {terms.keys.shape[-1]}, but q has {q.shape[-1]}")
    q, k = position.rotate(q, k, mask.positions)
    return AttentionInputs(q, k, v, terms, mask, pattern, dropout)
