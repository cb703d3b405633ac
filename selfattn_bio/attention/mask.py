"""Padding and segments of one batch, and the tensors that all layers derive from them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from selfattn_bio.attention.patterns import AttentionPattern, Full
from selfattn_bio.attention.positions import PositionCache


class AttentionMask:
    """Which tokens of a batch may attend to each other, apart from the pattern.

    The encoder builds one mask per batch, and every layer uses it: derived tensors are computed on
    first use and kept.

    Parameters
    ----------
    tokens
        (B, L) bool, True = token, False = padding, which no query attends to.
    segments
        (B, L) int; tokens attend only within their segment (packed sequences). None: one segment.
        Positions and global tokens are counted from the start of the row, so packed sequences must
        not depend on absolute positions or on global tokens of each sequence. Rotary and relative
        positions do not.

    Attributes
    ----------
    padded
        `tokens`, or None if there is no padding.
    positions
        Position tables that the layers share.

    Raises
    ------
    ValueError
        If shapes or types do not fit.
    """

    def __init__(self, tokens: Tensor, segments: Tensor | None = None) -> None:
        if tokens.dtype != torch.bool:
            raise ValueError(f"mask has type {tokens.dtype}; expected torch.bool")
        if segments is not None and segments.shape != tokens.shape:
            raise ValueError(
                f"segments has shape {tuple(segments.shape)}; expected (B, L) = "
                f"{tuple(tokens.shape)}"
            )
        if segments is not None and (segments.is_floating_point() or segments.dtype == torch.bool):
            raise ValueError(f"segments has type {segments.dtype}; expected an integer type")
        self.tokens, self.segments = tokens, segments
        self.padded = None if bool(tokens.all()) else tokens
        self.positions = PositionCache()
        self._found: dict[Hashable, Any] = {}

    @property
    def length(self) -> int:
        """Return the number L of positions, with padding."""
        return self.tokens.shape[1]

    @property
    def device(self) -> torch.device:
        """Return the device of the tensors."""
        return self.tokens.device

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
        if self.segments is not None:
            queries = self.segments.unique(return_inverse=True)[1].to(torch.int32)
        elif self.padded is not None:
            queries = torch.zeros_like(self.tokens, dtype=torch.int32)
        else:
            return None, None
        keys = queries if self.padded is None else queries.masked_fill(~self.tokens, -1)
        return queries.contiguous(), keys.contiguous()

    @cached_property
    def reach(self) -> int:
        """Return the largest distance of two positions with the same segment."""
        if self.segments is None:
            return self.length - 1
        labels = self.segments.unique(return_inverse=True)[1]
        shape, at = (
            (len(labels), int(labels.max()) + 1),
            torch.arange(self.length, device=self.device),
        )
        at = at.expand_as(labels)
        first = labels.new_full(shape, self.length).scatter_reduce_(1, labels, at, "amin")
        last = labels.new_full(shape, 0).scatter_reduce_(1, labels, at, "amax")
        return int((last - first).amax())

    def select(self, rows: Tensor | slice) -> AttentionMask:
        """Return the mask of some sequences of the batch, with the same position tables."""
        selected = AttentionMask(
            self.tokens[rows], None if self.segments is None else self.segments[rows]
        )
        selected.positions = self.positions
        return selected

    def dense(self, pattern: AttentionPattern) -> Tensor | None:
        """Return the mask of all pairs that a pattern allows, True = may attend.

        The result is (B or 1, 1, L, L) bool; None if all pairs may attend.
        """

        def compute() -> Tensor | None:
            if isinstance(pattern, Full):
                return self._restricted(None, self.length)
            at = torch.arange(self.length, device=self.device)
            lengths = self.lengths[:, None, None, None]
            return self._restricted(pattern.allows(at[:, None], at[None, :], lengths), self.length)

        return self.once(("dense", pattern), compute)

    def global_rows(self, count: int) -> Tensor | None:
        """Return the mask of the first `count` queries if they attend to every key.

        The result is (B or 1, 1, count, L) bool, True = may attend; None if all may.
        """
        return self._restricted(None, count)

    def _restricted(self, allowed: Tensor | None, count: int) -> Tensor | None:
        """Remove padding and pairs in different segments from the rows of `count` queries."""
        if self.padded is not None:
            allowed = both(allowed, self.tokens[:, None, None, :])
        if self.segments is not None:
            same = self.segments[:, :count, None] == self.segments[:, None, :]
            allowed = both(allowed, same[:, None])
        return allowed


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
        raise ValueError(
            f"mask has shape {tuple(tokens.shape)}; expected (B, L) = {(batch, length)}"
        )
    return mask if isinstance(mask, AttentionMask) else AttentionMask(mask)


def both(one: Tensor | None, other: Tensor) -> Tensor:
    """Return the conjunction of two bool masks; None stands for True everywhere."""
    return other if one is None else one & other
