"""Tiles of a pattern: groups of queries and keys that kernels process together.

A pattern is processed part by part, and each allowed pair is in exactly one tile. A walk lays
tokens out in slots: it pads to complete chunks, sorts dilated tokens, finds the keys that a chunk
can attend to, and masks the tiles. `slab` computes attention on these tiles.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from selfattn_bio.attention.inputs import AttentionMask
from selfattn_bio.attention.patterns import AttentionPattern, Band, GlobalKeys, Part, SampledBlocks

CHUNK = 64  # queries per chunk
SHARED_CHUNK = 256  # queries per chunk if all chunks attend to the same keys
MAX_BLOCK = 512  # a block of at most this size is one chunk
SCORES = 2**19  # scores computed at a time, so that they stay in the cache


def walks(
    pattern: AttentionPattern, mask: AttentionMask, heads: int, done: tuple[Part, ...]
) -> Iterator[Walk]:
    """Yield a walk for each part of the pattern, except for the parts in `done`.

    Each pair belongs to the first part that covers it.
    """
    parts = (*done, *(part for part in pattern.parts(mask.length) if part not in done))
    for number in range(len(done), len(parts)):
        yield Walk(mask, heads, parts[: number + 1])


@dataclass(frozen=True)
class SharedKeys:
    """The first `count` slots, for all chunks."""

    count: int
    device: torch.device

    def columns(self, x: Tensor) -> Tensor:
        """Gather the keys of the tile: x (b, H, slots, d) -> (b, H, 1, K, d)."""
        return x[:, :, None, : self.count]

    def add(self, total: Tensor, x: Tensor) -> None:
        """Add x (b, H, G, K, d) to the slots of the keys in `total` (b, H, slots, d)."""
        total[:, :, : self.count] += x.sum(2)

    def slots(self) -> Tensor:
        """Return the slots of the keys, (1, K) int64."""
        return torch.arange(self.count, device=self.device)[None]


@dataclass(frozen=True)
class BlockKeys:
    """For chunk g, the blocks `chosen[g]` of `block` slots each. `chosen` is (G, R) int64.

    The methods are those of `SharedKeys`, with G chunks in place of 1.
    """

    chosen: Tensor
    block: int

    def columns(self, x: Tensor) -> Tensor:
        # (b, H, G R, block, d)
        found = x.unflatten(2, (-1, self.block)).index_select(2, self.chosen.flatten())
        return found.unflatten(2, self.chosen.shape).flatten(3, 4)

    def add(self, total: Tensor, x: Tensor) -> None:
        blocks = x.unflatten(3, (-1, self.block)).flatten(2, 3)  # (b, H, G R, block, d)
        total.unflatten(2, (-1, self.block)).index_add_(2, self.chosen.flatten(), blocks)

    def slots(self) -> Tensor:
        within = torch.arange(self.block, device=self.chosen.device)
        return (self.chosen[..., None] * self.block + within).flatten(1)


Keys = SharedKeys | BlockKeys


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
    allowed: Tensor | None  # bool, broadcasts to (b, H, G, c, K); None: all pairs

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

    def __init__(self, mask: AttentionMask, heads: int, parts: tuple[Part, ...]) -> None:
        self.mask, self.heads, self.part, self.earlier = mask, heads, parts[-1], parts[:-1]
        self.key = (parts, heads)  # identifies the tiles within the batch
        length = mask.length
        at = torch.arange(length, device=mask.device)
        before = after = 0
        self.slides = False  # True if chunk g attends to the chunks around it
        if isinstance(self.part, SampledBlocks) or (
            isinstance(self.part, Band) and 0 < self.part.block <= MAX_BLOCK
        ):
            self.chunk = self.part.block
            self.slot_tokens = _padded(at, 0, -length % self.chunk)
        elif isinstance(self.part, Band) and (chunks := self._chunks_around(self.part)) is not None:
            before, after = chunks
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

    def _count(self) -> int:
        """Return the number of keys that all chunks attend to."""
        length = self.mask.length
        return min(self.part.count, length) if isinstance(self.part, GlobalKeys) else length

    def _chunks_around(self, part: Band) -> tuple[int, int] | None:
        """Return how many chunks a chunk attends to before and after it.

        None if attending to all keys takes no more work.
        """
        length = self.mask.length
        in_class = -(-length // part.dilation)
        before, after = (-(-min(steps, in_class) // CHUNK) for steps in (part.left, part.right))
        # the tokens of each remainder fill complete chunks
        queries = part.dilation * -(-in_class // CHUNK) * CHUNK
        return None if queries * (before + 1 + after) * CHUNK >= length**2 else (before, after)

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
        if self.moved:
            return x.index_select(2, self.order + start)
        return x[:, :, start : start + self.mask.length]

    def _in_slots(self, x: Tensor, start: int, num: int) -> Tensor:
        if self.moved:
            return x.new_zeros(*x.shape[:2], num, x.shape[3]).index_copy_(2, self.order + start, x)
        return x if num == x.shape[2] else pad(x, (0, 0, start, num - start - x.shape[2]))

    def __iter__(self) -> Iterator[AttentionTile]:
        number = 0
        for batch, length in self._batches():
            for queries, keys in self._tiles(batch, length):
                slots = keys.slots()
                query = self.slot_tokens[queries].unflatten(0, (-1, self.chunk))[:, :, None]
                key = self.key_tokens[slots][:, None, :]
                allowed = self._allowed(number, batch, length, query, key, keys)
                yield AttentionTile(number, batch, queries, self.chunk, keys, query, key, allowed)
                number += 1

    def _batches(self) -> Iterator[tuple[slice, int]]:
        """Yield slices of sequences that are processed together, with their length.

        Random blocks depend on the length, so sequences of different lengths are processed one by
        one.
        """
        sampled = any(isinstance(part, SampledBlocks) for part in (self.part, *self.earlier))
        if sampled and len(set(self.mask.ends)) > 1:
            for row, length in enumerate(self.mask.ends):
                yield slice(row, row + 1), length
        else:
            yield slice(None), max(self.mask.ends)

    def _tiles(self, batch: slice, length: int) -> Iterator[tuple[slice, Keys]]:
        device, chunk = self.mask.device, self.chunk
        num_chunks = len(self.slot_tokens) // chunk
        num_rows = len(self.mask.tokens[batch]) * self.heads
        at = torch.arange(num_chunks, device=device)
        if isinstance(self.part, SampledBlocks):
            chosen = self.part.sampled(at, length)
        elif isinstance(self.part, Band) and self.part.block == chunk:
            chosen = at[:, None]
        elif self.slides:
            chosen = at[:, None] + torch.arange(self.before + 1 + self.after, device=device)
        else:
            shared = SharedKeys(self._count(), device)
            for first in range(num_chunks):
                yield slice(first * chunk, (first + 1) * chunk), shared
            return
        step = max(1, SCORES // (num_rows * chunk**2 * chosen.shape[1]))
        for first in range(0, num_chunks, step):
            last = min(first + step, num_chunks)
            yield slice(first * chunk, last * chunk), BlockKeys(chosen[first:last], chunk)

    def _allowed(
        self, number: int, batch: slice, length: int, query: Tensor, key: Tensor, keys: Keys
    ) -> Tensor | None:
        """Return the mask of tile `number`, bool, which broadcasts to (b, H, G, c, K), or None."""
        mask = self.mask
        there = (key >= 0) & self.part.covers(query, key, length)  # (G, c, K)
        for part in self.earlier:
            there &= ~part.covers(query, key, length)
        if isinstance(keys, BlockKeys) and isinstance(self.part, SampledBlocks):
            there &= ~_sampled_before(keys.chosen).repeat_interleave(keys.block, 1)[:, None]
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


def _sampled_before(sampled: Tensor) -> Tensor:
    """Return whether a block was already sampled for the same chunk, (G, R) bool."""
    same = sampled[:, :, None] == sampled[:, None, :]
    return same.tril(-1).any(-1)


def _padded(tokens: Tensor, before: int, after: int) -> Tensor:
    return pad(tokens, (before, after), value=-1)
