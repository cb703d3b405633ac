"""Tiles of a pattern: groups of queries and keys that kernels process together.

A pattern is processed part by part, and each allowed pair is in exactly one tile. A walk lays
tokens out in slots: it pads to complete chunks, sorts dilated tokens, finds the keys that a chunk
can attend to, and masks the tiles. `slab` computes attention on these tiles.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from selfattn_bio.attention.inputs import AttentionMask
from selfattn_bio.attention.patterns import (
    AttentionPattern,
    Band,
    GlobalKeys,
    Part,
    SampledBlocks,
)

CHUNK = 64  # queries per chunk
SHARED_CHUNK = 256  # queries per chunk if all chunks attend to the same keys
MAX_BLOCK = 512  # a block of at most this size is one chunk
MAX_FAR = 16  # largest distance, in blocks, for which random blocks have templates
SCORES = 2**19  # scores computed at a time, so that they stay in the cache


def walks(
    pattern: AttentionPattern, mask: AttentionMask, heads: int, clip: int, done: tuple[Part, ...]
) -> Iterator[Walk]:
    """Yield a walk for each part of the pattern, except for the parts in `done`.

    Each pair belongs to the first part that covers it. `clip` is the distance, in tokens, from
    which the tables of the position have the same entry.
    """
    parts = (*done, *(part for part in pattern.parts(mask.length) if part not in done))
    for number in range(len(done), len(parts)):
        yield Walk(mask, heads, parts[: number + 1], clip)


class Keys(ABC):
    """Slots of the keys of a tile."""

    @abstractmethod
    def columns(self, x: Tensor) -> Tensor:
        """Gather the keys of the tile: x (b, H, slots, d) -> (b, H, G or 1, K, d)."""

    @abstractmethod
    def add(self, total: Tensor, x: Tensor) -> None:
        """Add x (b, H, G, K, d) to the slots of the keys in `total` (b, H, slots, d)."""

    @abstractmethod
    def slots(self) -> Tensor:
        """Return the slots of the keys, (G or 1, K) int64."""


@dataclass(frozen=True)
class SharedKeys(Keys):
    """The first `count` slots, for all chunks."""

    count: int
    device: torch.device

    def columns(self, x: Tensor) -> Tensor:
        return x[:, :, None, : self.count]

    def add(self, total: Tensor, x: Tensor) -> None:
        total[:, :, : self.count] += x.sum(2)

    def slots(self) -> Tensor:
        return torch.arange(self.count, device=self.device)[None]


@dataclass(frozen=True)
class SlidingKeys(Keys):
    """For chunk g, `num` chunks of slots that begin with chunk `first + g`."""

    first: int
    chunks: int  # G
    num: int
    chunk: int
    device: torch.device

    def columns(self, x: Tensor) -> Tensor:
        return torch.cat([self._chunks(x, i) for i in range(self.num)], dim=3)

    def add(self, total: Tensor, x: Tensor) -> None:
        for i, values in enumerate(x.split(self.chunk, dim=3)):
            self._chunks(total, i).add_(values)

    def _chunks(self, x: Tensor, i: int) -> Tensor:
        start = (self.first + i) * self.chunk
        return x[:, :, start : start + self.chunks * self.chunk].unflatten(
            2, (self.chunks, self.chunk)
        )

    def slots(self) -> Tensor:
        start = (self.first + torch.arange(self.chunks, device=self.device)) * self.chunk
        return start[:, None] + torch.arange(self.num * self.chunk, device=self.device)


@dataclass(frozen=True)
class SampledKeys(Keys):
    """For chunk g, the random blocks `sampled[g]`. `sampled` is (G, R) int64."""

    sampled: Tensor
    block: int

    def columns(self, x: Tensor) -> Tensor:
        found = x.unflatten(2, (-1, self.block)).index_select(
            2, self.sampled.flatten()
        )  # (b, H, G R, block, d)
        return found.unflatten(2, self.sampled.shape).flatten(3, 4)

    def add(self, total: Tensor, x: Tensor) -> None:
        blocks = x.unflatten(3, (-1, self.block)).flatten(2, 3)  # (b, H, G R, block, d)
        total.unflatten(2, (-1, self.block)).index_add_(2, self.sampled.flatten(), blocks)

    def slots(self) -> Tensor:
        return (
            self.sampled[..., None] * self.block
            + torch.arange(self.block, device=self.sampled.device)
        ).flatten(1)


@dataclass(frozen=True)
class AttentionTile:
    """G chunks of c queries each against K keys each, for the sequences `batch`."""

    number: int
    batch: slice
    queries: slice
    chunk: int
    keys: Keys
    query: Tensor  # (G, c, 1) int64 tokens
    key: Tensor  # (G or 1, 1, K) int64 tokens
    # bool, broadcasts to (b, H, G, c, K); None: no restriction besides the templates of the walk
    allowed: Tensor | None
    templates: Tensor | None  # (G, R) int64: template of each of the R pieces of keys

    def index(self) -> Tensor:
        """Return the distances key - query in tokens, (G, c, K) int64."""
        return self.key - self.query

    def rows(self, x: Tensor) -> Tensor:
        """Return the queries of the tile as a view: (B, H, slots, d) -> (b, H, G, c, d)."""
        return x[self.batch, :, self.queries].unflatten(2, (-1, self.chunk))

    def columns(self, x: Tensor) -> Tensor:
        """Return the keys of the tile: (B, H, slots, d) -> (b, H, G or 1, K, d)."""
        return self.keys.columns(x[self.batch])

    def add_columns(self, total: Tensor, x: Tensor) -> None:
        """Add x (b, H, G, K, d) to the slots of the keys in `total` (B, H, slots, d)."""
        self.keys.add(total[self.batch], x)


class Walk:
    """Tiles of one part of a pattern: all pairs that it covers and no earlier part covers.

    Slots form complete chunks. For a dilated part, the tokens with the same remainder are together,
    so that the keys of a chunk are contiguous. Keys have additional chunks of empty slots before
    and after, as many as a chunk of queries can reach.
    """

    def __init__(self, mask: AttentionMask, heads: int, parts: tuple[Part, ...], clip: int) -> None:
        self.mask, self.heads, self.part, self.earlier = mask, heads, parts[-1], parts[:-1]
        self.key = (parts, heads, clip)  # identifies the tiles within the batch
        self.templates: Templates | None = None
        length = mask.length
        at = torch.arange(length, device=mask.device)
        before = after = 0
        self.slides = False  # True if chunk g attends to the chunks around it
        if isinstance(self.part, SampledBlocks) or (
            isinstance(self.part, Band) and 0 < self.part.block <= MAX_BLOCK
        ):
            self.chunk = self.part.block
            self.slot_tokens = _padded(at, 0, -length % self.chunk)
        elif isinstance(self.part, Band) and (reach := self._reach(self.part)) is not None:
            before, after = reach
            self.slides, self.chunk = True, CHUNK
            classes = [at[first :: self.part.dilation] for first in range(self.part.dilation)]
            self.slot_tokens = torch.cat(
                [_padded(tokens, 0, -len(tokens) % CHUNK) for tokens in classes]
            )
        else:
            rows = len(mask.tokens) * heads
            self.chunk = max(
                16, min(SHARED_CHUNK, length, SCORES // (rows * max(self._count(), 1)))
            )
            self.slot_tokens = _padded(at, 0, -length % self.chunk)
        self.before, self.after = before, after
        self.key_tokens = _padded(self.slot_tokens, before * CHUNK, after * CHUNK)
        # slot of each token
        self.order = torch.argsort(self.slot_tokens, stable=True)[len(self.slot_tokens) - length :]
        # otherwise token i is in slot i
        self.moved = self.slides and isinstance(self.part, Band) and self.part.dilation > 1
        if all(
            (isinstance(part, Band) and part.dilation == 1 and not part.block)
            or isinstance(part, GlobalKeys)
            for part in self.earlier
        ):
            self.templates = self._make_templates(clip)

    def _count(self) -> int:
        """Return the number of keys that all chunks attend to."""
        length = self.mask.length
        return min(self.part.count, length) if isinstance(self.part, GlobalKeys) else length

    def _reach(self, part: Band) -> tuple[int, int] | None:
        """Return how many chunks a chunk attends to before and after it.

        None if attending to all keys takes no more work.
        """
        length = self.mask.length
        in_class = -(-length // part.dilation)
        before, after = (-(-min(reach, in_class) // CHUNK) for reach in (part.left, part.right))
        # the tokens of each remainder fill complete chunks
        queries = part.dilation * -(-in_class // CHUNK) * CHUNK
        return None if queries * (before + 1 + after) * CHUNK >= length**2 else (before, after)

    def _make_templates(self, clip: int) -> Templates | None:
        """Return distances and masks shared by many tiles, or None.

        They exist for a sliding band that is the first part and for random blocks: there, a tile
        depends only on the distance between its blocks.
        """
        part, device = self.part, self.mask.device
        if (
            isinstance(part, Band)
            and self.slides
            and part.dilation == 1
            and not part.block
            and not self.earlier
        ):
            query = self.before * CHUNK + torch.arange(CHUNK, device=device)
            key = torch.arange((self.before + 1 + self.after) * CHUNK, device=device)
            index = key[None, :] - query[:, None]
            return Templates(index[None], ((index >= -part.left) & (index <= part.right))[None], 0)
        if not isinstance(part, SampledBlocks):
            return None
        bands = [each for each in self.earlier if isinstance(each, Band)]
        # At this distance and beyond, blocks are outside every band and in the last entry of every
        # table.
        far = -(-max([clip, *(max(band.left, band.right) for band in bands)]) // part.block) + 1
        if far > MAX_FAR:
            return None
        at = torch.arange(part.block, device=device)
        blocks = torch.arange(-far, far + 1, device=device) * part.block
        index = blocks[:, None, None] + at[None, None, :] - at[None, :, None]  # (n, block, block)
        allowed = torch.ones_like(index, dtype=torch.bool)
        for band in bands:
            allowed &= ~band.covers(torch.zeros_like(index), index, 0)
        return Templates(index, allowed & (index <= 0) if part.causal else allowed, far)

    def to_rows(self, x: Tensor) -> Tensor:
        """Lay out queries in slots: (B, H, L, d) -> (B, H, slots, d), with zeros in empty slots.

        Returns x itself if nothing changes.
        """
        return self._in_slots(x, 0, len(self.slot_tokens))

    def to_columns(self, x: Tensor) -> Tensor:
        """Lay out keys in slots: (B, H, L, d) -> (B, H, slots, d), with zeros in empty slots.

        There are additional chunks before and after those of the queries.
        """
        return self._in_slots(x, self.before * CHUNK, len(self.key_tokens))

    def from_rows(self, x: Tensor) -> Tensor:
        """Undo `to_rows`: (B, H, slots, d) -> (B, H, L, d)."""
        return x.index_select(2, self.order) if self.moved else x[:, :, : self.mask.length]

    def from_columns(self, x: Tensor) -> Tensor:
        """Undo `to_columns`: (B, H, slots, d) -> (B, H, L, d)."""
        start = self.before * CHUNK
        return (
            x.index_select(2, self.order + start)
            if self.moved
            else x[:, :, start : start + self.mask.length]
        )

    def _in_slots(self, x: Tensor, start: int, num: int) -> Tensor:
        if self.moved:
            return x.new_zeros(*x.shape[:2], num, x.shape[3]).index_copy_(2, self.order + start, x)
        return x if num == x.shape[2] else pad(x, (0, 0, start, num - start - x.shape[2]))

    def __iter__(self) -> Iterator[AttentionTile]:
        number = 0
        for batch, length in self._batches():
            for queries, keys in self._tiles(batch, length):
                slots = keys.slots()
                query, key = (
                    self.slot_tokens[queries].unflatten(0, (-1, self.chunk))[:, :, None],
                    self.key_tokens[slots][:, None, :],
                )
                allowed, templates = self._allowed(number, batch, length, query, key, keys), None
                if self.templates is not None and isinstance(keys, SampledKeys):
                    own = queries.start // self.chunk + torch.arange(
                        len(keys.sampled), device=self.mask.device
                    )
                    templates = (keys.sampled - own[:, None]).clamp(
                        -self.templates.far, self.templates.far
                    ) + self.templates.far
                yield AttentionTile(
                    number, batch, queries, self.chunk, keys, query, key, allowed, templates
                )
                number += 1

    def _batches(self) -> Iterator[tuple[slice, int]]:
        """Yield slices of sequences that are processed together, with their length.

        Random blocks depend on the length, so sequences of different lengths are processed one by
        one.
        """
        if isinstance(self.part, SampledBlocks) and len(set(self.mask.ends)) > 1:
            for row, length in enumerate(self.mask.ends):
                yield slice(row, row + 1), length
        else:
            yield slice(None), max(self.mask.ends)

    def _tiles(self, batch: slice, length: int) -> Iterator[tuple[slice, Keys]]:
        device, chunk = self.mask.device, self.chunk
        num_chunks = len(self.slot_tokens) // chunk
        num_rows = len(self.mask.tokens[batch]) * self.heads
        sampled: Tensor | None = None
        if isinstance(self.part, SampledBlocks):
            sampled = self.part.sampled(torch.arange(num_chunks, device=device), length)
            width = sampled.shape[1] * chunk
        elif isinstance(self.part, Band) and self.part.block == chunk:
            sampled, width = torch.arange(num_chunks, device=device)[:, None], chunk
        elif self.slides:
            width = (self.before + 1 + self.after) * chunk
        else:
            shared = SharedKeys(self._count(), device)
            for first in range(num_chunks):
                yield slice(first * chunk, (first + 1) * chunk), shared
            return
        step = max(1, SCORES // (num_rows * chunk * width))
        for first in range(0, num_chunks, step):
            chunks = min(step, num_chunks - first)
            queries = slice(first * chunk, (first + chunks) * chunk)
            if sampled is None:
                yield (
                    queries,
                    SlidingKeys(first, chunks, self.before + 1 + self.after, chunk, device),
                )
            else:
                yield queries, SampledKeys(sampled[first : first + chunks], chunk)

    def _allowed(
        self, number: int, batch: slice, length: int, query: Tensor, key: Tensor, keys: Keys
    ) -> Tensor | None:
        """Return the mask of tile `number` in addition to its templates, or None.

        It is bool and broadcasts to (b, H, G, c, K).
        """
        mask = self.mask
        there = key >= 0  # (G, 1, K)
        if isinstance(keys, SampledKeys):
            there = there & ~_sampled_before(keys.sampled).repeat_interleave(keys.block, 1)[:, None]
        if self.templates is None:
            there = there & self.part.covers(query, key, length)  # (G, c, K)
            for part in self.earlier:
                there &= ~part.covers(query, key, length)
        else:
            for part in self.earlier:
                if isinstance(part, GlobalKeys):  # causal columns do not cover keys after the query
                    there = there & (
                        ~part.covers(query, key, length) if part.causal else key >= part.count
                    )
        restrictions = [there[None, None]]
        if mask.padded is not None:
            restrictions.append(mask.tokens[batch][:, key.clamp(min=0)][:, None])  # (b, 1, G, 1, K)
        # the backward pass and other layers have the same tiles
        holds = mask.once((self.key, number), lambda: [bool(each.all()) for each in restrictions])
        allowed = None
        for each, always in zip(restrictions, holds, strict=True):
            if not always:
                allowed = each if allowed is None else allowed & each
        return allowed


@dataclass(frozen=True)
class Templates:
    """Distances key - query and masks shared by the tiles of a walk, (n, c, K / R) each.

    They ignore missing keys. Random blocks that are d blocks after the query's block have template
    d + `far`. Blocks that are farther away have the first or the last template.
    """

    index: Tensor
    allowed: Tensor
    far: int


def _sampled_before(sampled: Tensor) -> Tensor:
    """Return whether a block was already sampled for the same chunk, (G, R) bool."""
    same = sampled[:, :, None] == sampled[:, None, :]
    return same.tril(-1).any(-1)


def _padded(tokens: Tensor, before: int, after: int) -> Tensor:
    return pad(tokens, (before, after), value=-1)
