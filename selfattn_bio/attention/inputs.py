"""One request for softmax attention, as all kernels receive it: `AttentionInputs`, its mask."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from selfattn_bio.attention.patterns import AttentionPattern, Full
from selfattn_bio.attention.positions import RelativePosition, Terms

DROPOUT_SEEDS = 2**62  # number of seeds


def is_complete(mask: Tensor) -> bool:
    """Return whether a mask has no padding; False in an exported graph, which reads any mask."""
    return not torch.compiler.is_exporting() and bool(mask.all())


class AttentionMask:
    """Which tokens of a batch may attend to each other, apart from the pattern.

    The encoder builds one mask per batch, and every layer uses it: derived tensors are computed on
    first use and kept.

    Parameters
    ----------
    tokens
        (B, L) bool, True = token, False = padding, which no query attends to.

    Attributes
    ----------
    length, device
        Number L of positions, with padding, and device of the tensors.
    padded
        `tokens`, or None if there is no padding.
    keys
        `padded` as the mask of the keys, (B, 1, 1, L).

    Raises
    ------
    ValueError
        If shapes or types do not fit.
    """

    def __init__(self, tokens: Tensor) -> None:
        if tokens.dtype != torch.bool:
            raise ValueError(f"mask has type {tokens.dtype}; expected torch.bool")
        self.tokens = tokens
        self.length = tokens.shape[1]
        self.device = tokens.device
        self.padded = None if is_complete(tokens) else tokens
        self.keys = None if self.padded is None else tokens[:, None, None, :]
        self._found: dict[Hashable, Any] = {}

    @cached_property
    def lengths(self) -> Tensor:
        """Return the position after the last token of each sequence, (B,) int64.

        Without padding the result is (1,).
        """
        if self.padded is None:
            return torch.tensor([self.length], device=self.device)
        return (self.tokens * torch.arange(1, self.length + 1, device=self.device)).amax(1)

    @cached_property
    def ends(self) -> list[int]:
        """Return `lengths` as numbers, which are read from the device once per batch."""
        return [self.length] if self.padded is None else self.lengths.tolist()

    def once(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        """Return what `compute` returns for a key, which names all that it depends on.

        Layers share the result. Decisions that read from the device then do so once per batch.
        """
        if key not in self._found:
            self._found[key] = compute()
        return self._found[key]

    @cached_property
    def labels(self) -> tuple[Tensor | None, Tensor | None]:
        """Return labels of queries and keys, (B, L) int32 each.

        A query may attend to keys with its label. Padding keys have label -1. None, None if all
        pairs may attend.
        """
        if self.padded is None:
            return None, None
        queries = self.tokens.new_zeros(self.tokens.shape, dtype=torch.int32)
        return queries, queries.masked_fill(~self.tokens, -1)

    def select(self, rows: Tensor | slice) -> AttentionMask:
        """Return the mask of some sequences of the batch."""
        return AttentionMask(self.tokens[rows])

    def dense(self, pattern: AttentionPattern) -> Tensor | None:
        """Return the mask of all pairs that a pattern allows, True = may attend.

        The result is (B or 1, 1, L, L) bool; None if all pairs may attend.
        """

        def compute() -> Tensor | None:
            if isinstance(pattern, Full):
                return self.keys
            at = torch.arange(self.length, device=self.device)
            allowed = pattern.allows(at[:, None], at[None, :], self.lengths[:, None, None, None])
            return allowed if self.keys is None else allowed & self.keys

        return self.once(("dense", pattern), compute)


def as_mask(mask: AttentionMask | Tensor | None, x: Tensor) -> AttentionMask:
    """Return the mask of x (B, ..., L, D), from a tensor (B, L) bool or None for no padding.

    Raises
    ------
    ValueError
        If the mask is not (B, L) bool.
    """
    batch, length = x.shape[0], x.shape[-2]
    if mask is None:
        return AttentionMask(torch.ones(batch, length, dtype=torch.bool, device=x.device))
    tokens = mask.tokens if isinstance(mask, AttentionMask) else mask
    if tokens.shape != (batch, length):
        message = f"mask has shape {tuple(tokens.shape)}; expected (B, L) = {(batch, length)}"
        raise ValueError(message)
    return mask if isinstance(mask, AttentionMask) else AttentionMask(mask)


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
        or not k.shape[1]
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
    terms = position.terms(q, pattern.radius(mask.length))
    if terms.bias is not None and len(terms.bias) != heads:
        raise ValueError(f"position has {len(terms.bias)} heads, but q has {heads}")
    if terms.keys is not None and terms.keys.shape[-1] != q.shape[-1]:
        raise ValueError(f"position has head_dim {terms.keys.shape[-1]}, but q has {q.shape[-1]}")
    q, k = position.rotate(q, k)
    return AttentionInputs(q, k, v, terms, mask, pattern, dropout)


def work_dtype(x: Tensor) -> torch.dtype:
    """Return the type in which to sum over many tokens: that of `x`, but at least float32."""
    return torch.promote_types(x.dtype, torch.float32)
