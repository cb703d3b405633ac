"""Sparse patterns as rules: which query may attend to which key, in every form that a kernel or a test wants.

Hides: how a rule becomes a mask, a block mask, or the parts that kernels walk. The encoder builds one from the run file; kernels, readers
and tests ask it. Rules compose: `Window(128) | Global(2) | RandomBlocks(3)` is BigBird, `Causal(...)` keeps the keys up to the query.

| rule | query i may attend to key j if | pairs |
|---|---|---|
| `Full` | always | L^2 |
| `Window` | |i - j| <= window x dilation, and i - j a multiple of dilation | L (2 window + 1) |
| `Strided` | i - j is a multiple of stride | L^2 / stride |
| `BlockLocal` | i and j stand in the same block | L block |
| `Global` | i or j is one of the first tokens | 2 L num_global |
| `RandomBlocks` | j's block was drawn for i's block | L count block |
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor

from selfattn_bio import config


@dataclass(frozen=True)
class Band:
    """Keys that stand `-left..right` steps of `dilation` tokens from the query, within the query's own `block` where that is not 0."""

    left: int
    right: int
    dilation: int = 1
    block: int = 0

    def covers(self, query: Tensor, key: Tensor, length: int | Tensor) -> Tensor:
        """The rule, pair by pair: bool, broadcast."""
        distance = key - query
        covered = (distance >= -self.left * self.dilation) & (distance <= self.right * self.dilation)
        if self.dilation > 1:
            covered &= distance % self.dilation == 0
        return covered & (query // self.block == key // self.block) if self.block else covered

    def num_pairs(self, length: int) -> int:
        """How many pairs it covers in a sequence of `length` tokens."""
        if self.block:
            (whole, rest), unbroken = divmod(length, self.block), replace(self, block=0)
            return whole * unbroken.num_pairs(self.block) + unbroken.num_pairs(rest)
        steps = (length - 1) // self.dilation if length else -1
        sides = [min(side, steps) for side in (self.left, self.right)]
        return sum(n * length - self.dilation * n * (n + 1) // 2 for n in sides) + length


@dataclass(frozen=True)
class Columns:
    """The first `count` keys, for every query (in a causal pattern for those behind them)."""

    count: int
    causal: bool = False

    def covers(self, query: Tensor, key: Tensor, length: int | Tensor) -> Tensor:
        """The rule, pair by pair: bool, broadcast."""
        covered = (key < self.count) & (query >= 0)
        return covered & (key <= query) if self.causal else covered

    def num_pairs(self, length: int) -> int:
        """How many pairs it covers in a sequence of `length` tokens."""
        count = min(self.count, length)
        return count * length - (count * (count - 1) // 2 if self.causal else 0)


@dataclass(frozen=True)
class Blocks:
    """`count` key blocks drawn for each query block from (seed, query block, number of blocks); a block drawn twice counts once."""

    count: int
    block: int
    seed: int
    causal: bool = False

    def covers(self, query: Tensor, key: Tensor, length: int | Tensor) -> Tensor:
        """The rule, pair by pair: bool, broadcast."""
        covered = (self.drawn(query // self.block, length) == (key // self.block)[..., None]).any(-1)
        return covered & (key <= query) if self.causal else covered

    def num_pairs(self, length: int) -> int:
        """How many pairs it covers in a sequence of `length` tokens, if no block is drawn twice, all are whole and none is causal."""
        return length * self.count * self.block

    def drawn(self, query_block: Tensor, length: int | Tensor) -> Tensor:
        """(..., count) int64: the key blocks of each query block, among those of a sequence of `length` tokens (causal: up to its own)."""
        # A 32-bit hash, not a generator: each block's draw stands alone, so one row can be had without the others.
        num_blocks = (torch.as_tensor(length, device=query_block.device).clamp(min=1) + self.block - 1) // self.block
        if self.causal:
            num_blocks = torch.minimum(query_block.clamp(min=0) + 1, num_blocks)
        number = torch.arange(self.count, device=query_block.device)
        x = query_block[..., None] * 0x9E3779B1 + number * 0x85EBCA77 + self.seed * 0xC2B2AE3D
        for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
            x = x & 0xFFFFFFFF
            x = (x ^ (x >> shift)) * factor
        x = x & 0xFFFFFFFF
        return (x ^ (x >> 16)) % num_blocks[..., None]


Part = Band | Columns | Blocks


class Pattern(ABC):
    """A rule that says which key each query of a sequence may attend to; `a | b` allows what either does."""

    num_global = 0  # the first tokens, whose queries may attend to every key

    @abstractmethod
    def parts(self, length: int) -> tuple[Part, ...]:
        """What kernels walk: all pairs of `allows` but those of the first `num_global` queries are covered by one part or more."""

    def allows(self, query: Tensor, key: Tensor, length: int | Tensor) -> Tensor:
        """The rule, pair by pair.

        Parameters
        ----------
        query, key
            int64 positions in tokens, 0-based; they broadcast.
        length
            Tokens of the sequence without padding; a tensor that broadcasts where sequences differ.

        Returns
        -------
        bool, broadcast.
        """
        allowed = (query < self.num_global) & (key >= 0)
        for part in self.parts(int(torch.as_tensor(length).max())):
            allowed = allowed | part.covers(query, key, length)
        return allowed

    def dense_mask(self, length: int, device: torch.device | None = None) -> Tensor:
        """(length, length) bool, True = may attend; rows are queries."""
        at = torch.arange(length, device=device)
        return self.allows(at[:, None], at[None, :], length)

    def block_mask(self, length: int, block: int) -> Tensor:
        """(n, n) bool with n = ceil(length / block): True where a query of the row's block may attend to a key of the column's.

        O(n^2), from the geometry of the parts, never from pairs of tokens.
        """
        n = -(-length // block)
        first = torch.arange(n) * block
        last = (first + block - 1).clamp(max=length - 1)
        touched = (first[:, None] < self.num_global).expand(n, n).clone()
        for part in self.parts(length):
            touched |= _touched(part, first, last, block, length)
        return touched

    def __or__(self, other: Pattern) -> Pattern:
        return Union((*_members(self), *_members(other)))


@dataclass(frozen=True)
class Full(Pattern):
    """Each token attends to each; O(L^2)."""

    def parts(self, length: int) -> tuple[Part, ...]:
        """One band over all."""
        return (Band(max(length - 1, 0), max(length - 1, 0)),)


@dataclass(frozen=True)
class Window(Pattern):
    """Each token attends to `window` tokens on each side, one every `dilation`.

    With window 1, token 3 attends to 2, 3, 4; with dilation 5, too, to -2 (which is not there), 3, 8. Source: Beltagy et al. 2020
    (Longformer); a window of w here is `attention_window = 2 w` of Hugging Face's.
    """

    window: int
    dilation: int = 1

    def __post_init__(self) -> None:
        _at_least(0, window=self.window)
        _at_least(1, dilation=self.dilation)

    def parts(self, length: int) -> tuple[Part, ...]:
        """One band."""
        return (Band(self.window, self.window, self.dilation),)


@dataclass(frozen=True)
class Strided(Pattern):
    """Each token attends to all that stand a multiple of `stride` away; with a window, Child et al. 2019 (Sparse Transformer)."""

    stride: int

    def __post_init__(self) -> None:
        _at_least(1, stride=self.stride)

    def parts(self, length: int) -> tuple[Part, ...]:
        """One band over all tokens of the same remainder."""
        reach = max(length - 1, 0) // self.stride
        return (Band(reach, reach, self.stride),)


@dataclass(frozen=True)
class BlockLocal(Pattern):
    """Each token attends to its own block of `block` tokens: with block 4, token 5 to 4, 5, 6, 7."""

    block: int

    def __post_init__(self) -> None:
        _at_least(1, block=self.block)

    def parts(self, length: int) -> tuple[Part, ...]:
        """A band as wide as a block can be, cut at the block's ends."""
        return (Band(self.block - 1, self.block - 1, 1, self.block),)


@dataclass(frozen=True)
class Global(Pattern):
    """The first `num_global` tokens attend to all and are attended by all (rows and columns)."""

    num_global: int

    def __post_init__(self) -> None:
        _at_least(0, num_global=self.num_global)

    def parts(self, length: int) -> tuple[Part, ...]:
        """The columns; the rows are `num_global`."""
        return (Columns(self.num_global),)


@dataclass(frozen=True)
class RandomBlocks(Pattern):
    """Each block of `block` tokens attends to `count` blocks drawn at random, by seed and number of blocks: padding draws no others.

    Source: Zaheer et al. 2020 (BigBird), there without repetition; here a block that is drawn twice, or is in the window, counts once.
    """

    count: int
    block: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        _at_least(1, count=self.count)
        _at_least(1, block=self.block)

    def parts(self, length: int) -> tuple[Part, ...]:
        """The drawn blocks."""
        return (Blocks(self.count, self.block, self.seed),)


@dataclass(frozen=True)
class Union(Pattern):
    """What any of its members allows."""

    members: tuple[Pattern, ...]

    @property
    def num_global(self) -> int:  # type: ignore[override]
        """The most of the members."""
        return max(member.num_global for member in self.members)

    def parts(self, length: int) -> tuple[Part, ...]:
        """The parts of all members, bands first, each once."""
        parts = dict.fromkeys(part for member in self.members for part in member.parts(length))
        return tuple(sorted(parts, key=lambda part: (Band, Columns, Blocks).index(type(part))))


@dataclass(frozen=True)
class Causal(Pattern):
    """What `pattern` allows, of the keys that stand not behind the query: for autoregressive use."""

    pattern: Pattern

    def parts(self, length: int) -> tuple[Part, ...]:
        """The parts of the pattern without the keys to come. A global query has only the global keys before it, which are columns."""
        return tuple(
            replace(part, right=0) if isinstance(part, Band) else replace(part, causal=True) for part in self.pattern.parts(length)
        )


@cache
def num_pairs(pattern: Pattern, length: int) -> int:
    """How many pairs of query and key a pattern allows in `length` tokens; those of two parts count twice, but all once at most."""
    pairs = sum(part.num_pairs(length) for part in pattern.parts(length)) + pattern.num_global * length
    return min(pairs, length * length)


def _at_least(low: int, **value: int) -> None:
    ((name, found),) = value.items()
    if found < low:
        raise ValueError(f"{name} must be >= {low}, got {found}")


def _members(pattern: Pattern) -> tuple[Pattern, ...]:
    return pattern.members if isinstance(pattern, Union) else (pattern,)


def _touched(part: Part, first: Tensor, last: Tensor, block: int, length: int) -> Tensor:
    """(n, n) bool: whether any pair of the part lies in the tile of queries and keys `first..last`."""
    if isinstance(part, Columns):
        columns = first[None, :] < part.count
        return columns & (first[None, :] <= last[:, None]) if part.causal else columns.expand(len(first), -1)
    if isinstance(part, Blocks):
        touched = torch.zeros(len(first), len(first), dtype=torch.bool)
        drawn = part.drawn(torch.arange(-(-length // part.block)), length)
        for query_block, key_blocks in enumerate(drawn.tolist()):
            for key_block in key_blocks:
                tiles = (slice(at * part.block // block, ((at + 1) * part.block - 1) // block + 1) for at in (query_block, key_block))
                touched[tuple(tiles)] = True
        return touched & (first[None, :] <= last[:, None]) if part.causal else touched
    low, high = first[None, :] - last[:, None], last[None, :] - first[:, None]  # distances key - query that the tile holds
    low = torch.maximum(low, torch.tensor(-part.left * part.dilation))
    high = torch.minimum(high, torch.tensor(part.right * part.dilation))
    touched = torch.div(high, part.dilation, rounding_mode="floor") * part.dilation >= low
    if part.block:
        touched &= (first[None, :] // part.block <= last[:, None] // part.block) & (
            last[None, :] // part.block >= first[:, None] // part.block
        )
    return touched


def _each(section: config.Pattern) -> Iterator[Pattern]:
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
            yield from (Window(section.window), RandomBlocks(section.random_blocks, section.block, section.seed))
    if section.kind != "full" and section.num_global:
        yield Global(section.num_global)


def build_pattern(section: config.Pattern) -> Pattern:
    """The rule that the run file names."""
    members = tuple(_each(section))
    pattern = members[0] if len(members) == 1 else Union(members)
    return Causal(pattern) if section.causal else pattern
