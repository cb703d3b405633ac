"""Tiles of a pattern: groups of queries and keys that kernels process together.

A pattern is processed part by part, and each allowed pair is in exactly one tile. A walk lays
tokens out in slots: it pads to complete chunks, sorts dilated tokens, finds the keys that a chunk
can attend to, and masks the tiles. `slab` computes attention on these tiles.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

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
    """G chunks of c queries each against K keys each, for the sequences `batch`.

    The keys of a chunk are R blocks of n keys. Query i of the chunk and key j of a block are on
    diagonal c - 1 + j - i, and all pairs of a diagonal have the same distance.
    """

    number: int
    batch: slice
    queries: slice
    chunk: int
    keys: Keys
    distances: Tensor  # (G or 1, R, c + n - 1) int64, key - query in tokens on each diagonal
    near: Tensor  # bool, whether the pairs of each diagonal may attend if they are `allowed`
    allowed: Tensor | None  # bool, broadcasts to (b, H, G, c, K); None: all pairs

    def index(self) -> Tensor:
        """Return the distances key - query in tokens, (G or 1, c, K) int64."""
        rows = self.distances[:, :, None].repeat(1, 1, self.chunk, 1)
        return by_pair(rows).transpose(1, 2).flatten(2)

    def by_block(self, x: Tensor) -> Tensor:
        """Return a view of the blocks of keys: (b, H, G, c, K) -> (b, H, G, R, c, n)."""
        return x.unflatten(-1, (self.distances.shape[1], -1)).transpose(-3, -2)

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
        self.before = self.after = 0
        self.slides = False  # True if chunk g attends to the chunks around it
        self.step = 1  # distance of successive slots, in tokens
        if isinstance(self.part, SampledBlocks) or (
            isinstance(self.part, Band) and 0 < self.part.block <= MAX_BLOCK
        ):
            self.slides, self.chunk = isinstance(self.part, Band), self.part.block
        elif isinstance(self.part, Band) and (chunks := self._chunks_around(self.part)) is not None:
            self.before, self.after = chunks
            self.slides, self.chunk, self.step = True, CHUNK, self.part.dilation
        else:
            rows = len(mask.tokens) * heads
            self.chunk = max(
                16, min(SHARED_CHUNK, length, SCORES // (rows * max(self._count(), 1)))
            )
        # tokens with the same remainder
        classes = _padded(at, 0, -length % self.step).unflatten(0, (-1, self.step)).T
        self.slot_tokens = _padded(classes, 0, -classes.shape[1] % self.chunk).flatten()
        self.key_tokens = _padded(self.slot_tokens, self.before * CHUNK, self.after * CHUNK)
        # slot of each token; if `step` is 1, token i is in slot i
        self.order = torch.argsort(self.slot_tokens, stable=True)[len(self.slot_tokens) - length :]

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
        return x.index_select(2, self.order) if self.step > 1 else x[:, :, : self.mask.length]

    def from_columns(self, x: Tensor) -> Tensor:
        """Undo `to_columns`: (B, H, slots, d) -> (B, H, L, d)."""
        return self.from_rows(x[:, :, self.before * CHUNK :])

    def _in_slots(self, x: Tensor, start: int, num: int) -> Tensor:
        if self.step > 1:
            return x.new_zeros(*x.shape[:2], num, x.shape[3]).index_copy_(2, self.order + start, x)
        return x if num == x.shape[2] else pad(x, (0, 0, start, num - start - x.shape[2]))

    def __iter__(self) -> Iterator[AttentionTile]:
        number = 0
        for batch, length in self._batches():
            for queries, keys in self._tiles(batch, length):
                yield self._tile(number, batch, length, queries, keys)
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

    def _tile(
        self, number: int, batch: slice, length: int, queries: slice, keys: Keys
    ) -> AttentionTile:
        mask, slots = self.mask, keys.slots()
        first = torch.arange(queries.start, queries.stop, self.chunk, device=mask.device)[:, None]
        size = self.chunk if isinstance(self.part, SampledBlocks) else slots.shape[1]
        starts = slots[:, ::size] - self.before * CHUNK - first  # (G, R)
        diagonals = torch.arange(1 - self.chunk, size, device=mask.device)
        distances = (starts[: 1 if self.slides else None, :, None] + diagonals) * self.step
        query = self.slot_tokens[queries].unflatten(0, (-1, self.chunk))[:, :, None]
        key = self.key_tokens[slots][:, None, :]
        # conditions on diagonals and on keys, because a mask of pairs takes longer
        here = distances.new_zeros(())
        allowed = ((key >= 0) & ((key - query[:, :1]) % self.step == 0))[None, None]
        if isinstance(self.part, Band):
            near = replace(self.part, block=0).covers(here, distances, length)
            if self.part.block > MAX_BLOCK:
                allowed = allowed & self.part.covers(query, key, length)
        else:
            near = (distances <= 0) | (not self.part.causal)
        if isinstance(keys, BlockKeys) and isinstance(self.part, SampledBlocks):
            allowed &= ~_sampled_before(keys.chosen).repeat_interleave(keys.block, 1)[:, None]
        for part in self.earlier:
            if isinstance(part, Band) and not part.block:
                near &= ~part.covers(here, distances, length)
            elif isinstance(part, GlobalKeys) and not part.causal:
                allowed = allowed & (key >= part.count)
            else:
                allowed = allowed & ~part.covers(query, key, length)
        if mask.padded is not None:
            allowed = allowed & mask.tokens[batch][:, key.clamp(min=0)][:, None]
        # the backward pass and other layers have the same tiles
        always = mask.once((self.key, number), lambda: bool(allowed.all()))
        return AttentionTile(
            number, batch, queries, self.chunk, keys, distances, near, None if always else allowed
        )


def by_pair(rows: Tensor) -> Tensor:
    """Return a view by query and key of rows by diagonal: (..., c, c + n - 1) -> (..., c, n).

    The entry of query i and key j is rows[..., i, c - 1 + j - i]. `rows` must be contiguous.
    """
    first = rows[..., rows.shape[-2] - 1 :]  # the keys of query 0
    return first.as_strided(first.shape, (*rows.stride()[:-2], rows.shape[-1] - 1, 1))


def _sampled_before(sampled: Tensor) -> Tensor:
    """Return whether a block was already sampled for the same chunk, (G, R) bool."""
    return (sampled[:, :, None] == sampled[:, None, :]).tril(-1).any(-1)


def _padded(tokens: Tensor, before: int, after: int) -> Tensor:
    return pad(tokens, (before, after), value=-1)
