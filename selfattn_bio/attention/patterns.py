"""Sparse attention patterns: rules for the keys that each query may attend to.

A pattern gives its rule as a mask, as a mask of blocks, or as parts that kernels process. Patterns
can be combined: `Window(128) | Global(2) | RandomBlocks(3)` is BigBird, and `CausalPattern(...)`
removes later keys.

| pattern | query i may attend to key j if | pairs |
|---|---|---|
| `Full` | always | L^2 |
| `Window` | |i - j| <= window x dilation, and i - j is a multiple of dilation | L (2 window + 1) |
| `Strided` | i - j is a multiple of stride | L^2 / stride |
| `BlockLocal` | i and j are in the same block | L block |
| `Global` | i or j is one of the first tokens | 2 L num_global |
| `SampledBlocks` | the block of j was sampled for the block of i | L count block |
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from selfattn_bio import config


@dataclass(frozen=True)
class Band:
    """Keys from `left` steps before to `right` steps after the query; a step is `dilation` tokens.

    If `block` is not 0, only keys in the block of the query are covered.
    """

    left: int
    right: int
    dilation: int = 1
    block: int = 0

    def covers(self, query: Tensor, key: Tensor, length: int | Tensor) -> Tensor:
        """Return whether each pair is covered, as a bool tensor of the broadcast shape."""
        distance = key - query
        covered = (distance >= -self.left * self.dilation) & (
            distance <= self.right * self.dilation
        )
        if self.dilation > 1:
            covered &= distance % self.dilation == 0
        return covered & (query // self.block == key // self.block) if self.block else covered


@dataclass(frozen=True)
class GlobalKeys:
    """The first `count` keys, for every query. If causal, only for queries at or after the key."""

    count: int
    causal: bool = False

    def covers(self, query: Tensor, key: Tensor, length: int | Tensor) -> Tensor:
        """Return whether each pair is covered, as a bool tensor of the broadcast shape."""
        covered = (key < self.count) & (query >= 0)
        return covered & (key <= query) if self.causal else covered


@dataclass(frozen=True)
class SampledBlocks:
    """Random key blocks, `count` for each query block.

    They depend on the seed, the query block and the number of blocks. A block sampled twice counts
    once.
    """

    count: int
    block: int
    seed: int
    causal: bool = False

    def covers(self, query: Tensor, key: Tensor, length: int | Tensor) -> Tensor:
        """Return whether each pair is covered, as a bool tensor of the broadcast shape."""
        covered = (self.sampled(query // self.block, length) == (key // self.block)[..., None]).any(
            -1
        )
        return covered & (key <= query) if self.causal else covered

    def sampled(self, query_block: Tensor, length: int | Tensor) -> Tensor:
        """Return the key blocks of each query block, (..., count) int64.

        They are sampled from the blocks of a sequence of `length` tokens; if causal, up to the
        query block.
        """
        # A 32-bit hash instead of a generator, so that one row can be computed without the others.
        num_blocks = (
            torch.as_tensor(length, device=query_block.device).clamp(min=1) + self.block - 1
        ) // self.block
        if self.causal:
            num_blocks = torch.minimum(query_block.clamp(min=0) + 1, num_blocks)
        number = torch.arange(self.count, device=query_block.device)
        x = query_block[..., None] * 0x9E3779B1 + number * 0x85EBCA77 + self.seed * 0xC2B2AE3D
        for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
            x = x & 0xFFFFFFFF
            x = (x ^ (x >> shift)) * factor
        x = x & 0xFFFFFFFF
        return (x ^ (x >> 16)) % num_blocks[..., None]


Part = Band | GlobalKeys | SampledBlocks


class AttentionPattern(ABC):
    """Rule for the keys that each query may attend to. `a | b` allows the pairs of both."""

    num_global = 0  # queries of the first `num_global` tokens may attend to every key

    @abstractmethod
    def parts(self, length: int) -> tuple[Part, ...]:
        """Return the parts that kernels process.

        Each pair that `allows` permits is covered by at least one part, except for the pairs of the
        first `num_global` queries.
        """

    def radius(self, length: int) -> int:
        """Return an upper bound for the distance of an allowed pair, in tokens."""
        parts, longest = self.parts(length), max(length - 1, 0)
        if self.num_global:
            return longest
        reach = max(
            max(part.left, part.right) * part.dilation if isinstance(part, Band) else longest
            for part in parts
        )
        # an exported graph reads any length, so it has the larger table
        return reach if torch.compiler.is_exporting() else min(longest, reach)

    def allows(self, query: Tensor, key: Tensor, length: int | Tensor) -> Tensor:
        """Return whether each query may attend to each key.

        Parameters
        ----------
        query, key
            int64 token positions, 0-based; they broadcast.
        length
            Number of tokens of the sequence without padding, or a tensor that broadcasts if
            sequences differ.

        Returns
        -------
        Bool tensor of the broadcast shape.
        """
        allowed = (query < self.num_global) & (key >= 0)
        exported = torch.compiler.is_exporting()  # the largest length is unknown
        longest = key.shape[-1] if exported else int(torch.as_tensor(length).max())
        for part in self.parts(longest):
            allowed = allowed | part.covers(query, key, length)
        return allowed

    def dense_mask(self, length: int) -> Tensor:
        """Return a (length, length) bool mask, True = may attend; rows are queries."""
        at = torch.arange(length)
        return self.allows(at[:, None], at[None, :], length)

    def block_mask(self, length: int, block: int, device: torch.device | None = None) -> Tensor:
        """Return which blocks of queries and keys contain an allowed pair.

        The result is (n, n) bool with n = ceil(length / block); rows are blocks of queries. All
        pairs are computed, one row of blocks at a time.
        """
        at = torch.arange(length, device=device)
        rows = [
            pad(self.allows(queries[:, None], at, length).any(0), (0, -length % block))
            for queries in at.split(block)
        ]
        return torch.stack(rows).unflatten(1, (-1, block)).any(-1)

    def __or__(self, other: AttentionPattern) -> AttentionPattern:
        if not isinstance(other, AttentionPattern):
            return NotImplemented
        return Union((*_members(self), *_members(other)))


@dataclass(frozen=True)
class Full(AttentionPattern):
    """Attend to all tokens, O(L^2)."""

    def parts(self, length: int) -> tuple[Part, ...]:
        """Return one band that covers all pairs."""
        return (Band(max(length - 1, 0), max(length - 1, 0)),)


@dataclass(frozen=True)
class Window(AttentionPattern):
    """Attend to `window` tokens on each side, at intervals of `dilation`.

    With window 1, token 3 attends to tokens 2, 3 and 4. With window 1 and dilation 5, it attends to
    tokens 3 and 8 (token -2 does not exist). A window of w equals `attention_window = 2 w` in
    Hugging Face.

    References
    ----------
    Beltagy et al. 2020 (Longformer).
    """

    window: int
    dilation: int = 1

    def __post_init__(self) -> None:
        check_minimum(0, window=self.window)
        check_minimum(1, dilation=self.dilation)

    def parts(self, length: int) -> tuple[Part, ...]:
        """Return one band."""
        return (Band(self.window, self.window, self.dilation),)


@dataclass(frozen=True)
class Strided(AttentionPattern):
    """Attend to all tokens whose distance is a multiple of `stride`.

    References
    ----------
    With a window: Child et al. 2019 (Sparse Transformer).
    """

    stride: int

    def __post_init__(self) -> None:
        check_minimum(1, stride=self.stride)

    def parts(self, length: int) -> tuple[Part, ...]:
        """Return one dilated band over all tokens with the same remainder."""
        steps = max(length - 1, 0) // self.stride
        return (Band(steps, steps, self.stride),)


@dataclass(frozen=True)
class BlockLocal(AttentionPattern):
    """Attend to the tokens in the same block of `block` tokens.

    With block 4, token 5 attends to tokens 4, 5, 6 and 7.
    """

    block: int

    def __post_init__(self) -> None:
        check_minimum(1, block=self.block)

    def parts(self, length: int) -> tuple[Part, ...]:
        """Return a band that ends at the boundaries of the block."""
        return (Band(self.block - 1, self.block - 1, 1, self.block),)


@dataclass(frozen=True)
class Global(AttentionPattern):
    """Let the first `num_global` tokens attend to all tokens, and all tokens attend to them."""

    num_global: int

    def __post_init__(self) -> None:
        check_minimum(0, num_global=self.num_global)

    def parts(self, length: int) -> tuple[Part, ...]:
        """Return the columns of the global keys. `num_global` describes the rows."""
        return (GlobalKeys(self.num_global),)


@dataclass(frozen=True)
class RandomBlocks(AttentionPattern):
    """Let each block of `block` tokens attend to `count` random blocks.

    They depend on the seed and on the number of blocks without padding, so padding does not change
    them. A block that is sampled twice, or is in the window as well, counts once; Zaheer et al.
    sample without repetition.

    References
    ----------
    Zaheer et al. 2020 (BigBird).
    """

    count: int
    block: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        check_minimum(1, count=self.count, block=self.block)

    def parts(self, length: int) -> tuple[Part, ...]:
        """Return the random blocks."""
        return (SampledBlocks(self.count, self.block, self.seed),)


@dataclass(frozen=True)
class Union(AttentionPattern):
    """Allow the pairs that any member allows."""

    members: tuple[AttentionPattern, ...]

    @property
    def num_global(self) -> int:  # type: ignore[override]
        """Return the largest `num_global` of the members."""
        return max(member.num_global for member in self.members)

    def parts(self, length: int) -> tuple[Part, ...]:
        """Return the distinct parts of all members, bands first."""
        every = [part for member in self.members for part in member.parts(length)]
        # bands of an unknown length cannot be compared
        parts = every if torch.compiler.is_exporting() else dict.fromkeys(every)
        return tuple(
            sorted(parts, key=lambda part: (Band, GlobalKeys, SampledBlocks).index(type(part)))
        )


@dataclass(frozen=True)
class CausalPattern(AttentionPattern):
    """Restrict `pattern` to keys at or before the query, for autoregressive models."""

    pattern: AttentionPattern

    def parts(self, length: int) -> tuple[Part, ...]:
        """Return the parts of the pattern without later keys.

        Global queries need no complete rows here: the keys up to a global query are global keys,
        which are covered by columns.
        """
        return tuple(
            replace(part, right=0) if isinstance(part, Band) else replace(part, causal=True)
            for part in self.pattern.parts(length)
        )


def check_minimum(low: int, **values: int) -> None:
    """Raise ValueError if a value is less than `low`."""
    for name, found in values.items():
        if found < low:
            raise ValueError(f"{name} is {found}; expected at least {low}")


def _members(pattern: AttentionPattern) -> tuple[AttentionPattern, ...]:
    return pattern.members if isinstance(pattern, Union) else (pattern,)


def _each(section: config.AnyPattern) -> Iterator[AttentionPattern]:
    match section:
        case config.FullPattern():
            yield Full()
        case config.WindowPattern():
            yield Window(section.window, section.dilation)
        case config.StridedPattern():
            yield from (Window(section.window), Strided(section.stride))
        case config.BlockLocalPattern():
            yield BlockLocal(section.block)
        case config.BigBirdPattern():
            yield from (
                Window(section.window),
                RandomBlocks(section.random_blocks, section.block, section.seed),
            )
    if section.kind != "full" and section.num_global:
        yield Global(section.num_global)


def build_pattern(section: config.AnyPattern) -> AttentionPattern:
    """Build the pattern of the run file."""
    members = tuple(_each(section))
    pattern = members[0] if len(members) == 1 else Union(members)
    return CausalPattern(pattern) if section.causal else pattern
