"""The way of a kernel through a pattern: tiles of queries and keys, part by part, each allowed pair in exactly one.

Hides: padding to whole chunks, the order of dilated tokens, which keys a chunk may touch, masks of tiles. `slab` computes on them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from selfattn_bio.attention.patterns import Band, Blocks, Columns, Full, Part, Pattern

CHUNK = 64  # queries to a tile
SHARED_CHUNK = 256  # the same where all chunks meet the same keys
MAX_BLOCK = 512  # a block up to this size is one chunk
MAX_FAR = 16  # blocks; drawn blocks have templates up to that distance
SCORES = 2**19  # scores that are worked on at once: what stays in the cache


@dataclass(frozen=True)
class Setting:
    """Who may attend to whom in a batch: by the pattern, to tokens (`mask` (B, L) bool), within a segment (`segments` (B, L) int)."""

    pattern: Pattern
    shape: tuple[int, int, int]  # B, H, L
    device: torch.device
    mask: Tensor | None = None
    segments: Tensor | None = None

    def tokens(self) -> Tensor:
        """(B, L) bool: where there is a token; `mask`, also where that is None."""
        batch, _, length = self.shape
        return torch.ones(batch, length, dtype=torch.bool, device=self.device) if self.mask is None else self.mask

    def lengths(self) -> Tensor:
        """(B,) int64: up to the last token of each sequence; (1,) where all are whole."""
        length = self.shape[2]
        if self.mask is None:
            return torch.tensor([length], device=self.device)
        return (self.mask * torch.arange(1, length + 1, device=self.device)).amax(1)

    def reach(self) -> int:
        """The largest distance in tokens of a pair that the pattern allows, or more."""
        length = self.shape[2]
        parts = self.pattern.parts(length)
        if self.pattern.num_global or not all(isinstance(part, Band) for part in parts):
            return max(length - 1, 0)
        return min(max(length - 1, 0), max(max(part.left, part.right) * part.dilation for part in parts if isinstance(part, Band)))

    def walks(self, clip: int, done: tuple[Part, ...] = ()) -> Iterator[Walk]:
        """A walk for each part of the pattern but those done elsewhere; each pair is in the first part that covers it.

        `clip` is the largest distance in tokens that a table of the position tells from farther ones.
        """
        lengths = self.lengths()
        parts = (*done, *(part for part in self.pattern.parts(self.shape[2]) if part not in done))
        for number in range(len(done), len(parts)):
            yield Walk(self, parts[: number + 1], lengths, clip)

    def dense_mask(self) -> Tensor | None:
        """(B or 1, 1, L, L) bool, True = may attend; None if all may. The same rule, for `reference`."""
        length = self.shape[2]
        at = torch.arange(length, device=self.device)
        lengths = self.lengths()[:, None, None, None]
        allowed = None if isinstance(self.pattern, Full) else self.pattern.allows(at[:, None], at[None, :], lengths)
        if self.mask is not None and not bool(self.mask.all()):
            allowed = _both(allowed, self.mask[:, None, None, :])
        if self.segments is not None:
            allowed = _both(allowed, (self.segments[:, :, None] == self.segments[:, None, :])[:, None])
        return allowed

    def global_rows(self) -> Tensor | None:
        """`dense_mask` of the first `num_global` queries, which see every key; (B or 1, 1, num_global, L)."""
        allowed = None if self.mask is None else self.mask[:, None, None, :]
        if self.segments is not None:
            num = self.pattern.num_global
            allowed = _both(allowed, (self.segments[:, :num, None] == self.segments[:, None, :])[:, None])
        return allowed


class Keys(ABC):
    """Which places a tile's keys stand at; x and total hold the places of keys of the tile's sequences, (b, H, places, d)."""

    @abstractmethod
    def columns(self, x: Tensor) -> Tensor:
        """-> (b, H, G or 1, K, d)."""

    @abstractmethod
    def add(self, total: Tensor, x: Tensor) -> None:
        """Add (b, H, G, K, d) to the keys' places."""

    @abstractmethod
    def places(self) -> Tensor:
        """(G or 1, K) int64."""


@dataclass(frozen=True)
class SharedKeys(Keys):
    """All chunks meet the first `count` places."""

    count: int
    device: torch.device

    def columns(self, x: Tensor) -> Tensor:
        return x[:, :, None, : self.count]

    def add(self, total: Tensor, x: Tensor) -> None:
        total[:, :, : self.count] += x.sum(2)

    def places(self) -> Tensor:
        return torch.arange(self.count, device=self.device)[None]


@dataclass(frozen=True)
class SlidingKeys(Keys):
    """Chunk g meets `num` chunks of places, from chunk `first + g` on."""

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
        return x[:, :, start : start + self.chunks * self.chunk].unflatten(2, (self.chunks, self.chunk))

    def places(self) -> Tensor:
        start = (self.first + torch.arange(self.chunks, device=self.device)) * self.chunk
        return start[:, None] + torch.arange(self.num * self.chunk, device=self.device)


@dataclass(frozen=True)
class DrawnKeys(Keys):
    """Chunk g meets the blocks `drawn[g]`; (G, R) int64."""

    drawn: Tensor
    block: int

    def columns(self, x: Tensor) -> Tensor:
        found = x.unflatten(2, (-1, self.block)).index_select(2, self.drawn.flatten())  # (b, H, G R, block, d)
        return found.unflatten(2, self.drawn.shape).flatten(3, 4)

    def add(self, total: Tensor, x: Tensor) -> None:
        blocks = x.unflatten(3, (-1, self.block)).flatten(2, 3)  # (b, H, G R, block, d)
        total.unflatten(2, (-1, self.block)).index_add_(2, self.drawn.flatten(), blocks)

    def places(self) -> Tensor:
        return (self.drawn[..., None] * self.block + torch.arange(self.block, device=self.drawn.device)).flatten(1)


@dataclass(frozen=True)
class Tile:
    """G chunks of c queries each, of the sequences `batch`, against K keys each."""

    number: int
    batch: slice
    queries: slice
    chunk: int
    keys: Keys
    query: Tensor  # (G, c, 1) int64 tokens
    key: Tensor  # (G or 1, 1, K) int64 tokens
    allowed: Tensor | None  # bool, broadcasts to (b, H, G, c, K); None: all, or all that the walk's templates allow
    templates: Tensor | None  # (G, R) int64: which of the walk's templates each of the tile's R pieces of keys has

    def index(self) -> Tensor:
        """(G, c, K) int64: distance key - query in tokens."""
        return self.key - self.query

    def rows(self, x: Tensor) -> Tensor:
        """(B, H, places of queries, d) -> (b, H, G, c, d), a view."""
        return x[self.batch, :, self.queries].unflatten(2, (-1, self.chunk))

    def columns(self, x: Tensor) -> Tensor:
        """(B, H, places of keys, d) -> (b, H, G or 1, K, d)."""
        return self.keys.columns(x[self.batch])

    def add_columns(self, total: Tensor, x: Tensor) -> None:
        """Add (b, H, G, K, d) to the keys' places of (B, H, places of keys, d)."""
        self.keys.add(total[self.batch], x)


class Walk:
    """The tiles of one part of a pattern: all pairs that it covers and no part before it does.

    Tokens stand at places: in whole chunks, and, where the part is dilated, those of one remainder together, so that keys of a chunk are
    neighbours. Keys have chunks of empty places before and after, as many as a chunk of queries reaches.
    """

    def __init__(self, setting: Setting, parts: tuple[Part, ...], lengths: Tensor, clip: int) -> None:
        self.setting, self.part, self.earlier, self.lengths = setting, parts[-1], parts[:-1], lengths
        self.templates: Templates | None = None
        length = setting.shape[2]
        at = torch.arange(length, device=setting.device)
        before = after = 0
        self.slides = False  # chunk g meets the chunks around its own
        if isinstance(self.part, Blocks) or (isinstance(self.part, Band) and 0 < self.part.block <= MAX_BLOCK):
            self.chunk = self.part.block
            self.places = _padded(at, 0, -length % self.chunk)
        elif isinstance(self.part, Band) and (reach := self._reach(self.part)) is not None:
            before, after = reach
            self.slides, self.chunk = True, CHUNK
            classes = [at[first :: self.part.dilation] for first in range(self.part.dilation)]
            self.places = torch.cat([_padded(tokens, 0, -len(tokens) % CHUNK) for tokens in classes])
        else:
            batch, heads, _ = setting.shape
            count = min(self.part.count, length) if isinstance(self.part, Columns) else length
            self.chunk = max(16, min(SHARED_CHUNK, length, SCORES // (batch * heads * max(count, 1))))
            self.places = _padded(at, 0, -length % self.chunk)
        self.before, self.after = before, after
        self.key_places = _padded(self.places, before * CHUNK, after * CHUNK)
        self.order = torch.argsort(self.places, stable=True)[len(self.places) - length :]  # the place of each token
        self.moved = not torch.equal(self.order, at)
        if all((isinstance(part, Band) and part.dilation == 1 and not part.block) or isinstance(part, Columns) for part in self.earlier):
            self.templates = self._make_templates(clip)

    def _reach(self, part: Band) -> tuple[int, int] | None:
        """Chunks before and after its own that a chunk meets; None if sharing all keys is no more work."""
        length = self.setting.shape[2]
        in_class = -(-length // part.dilation)
        before, after = (-(-min(reach, in_class) // CHUNK) for reach in (part.left, part.right))
        queries = part.dilation * -(-in_class // CHUNK) * CHUNK  # those of each remainder fill whole chunks
        return None if queries * (before + 1 + after) * CHUNK >= length**2 else (before, after)

    def _make_templates(self, clip: int) -> Templates | None:
        """Of the first band where it slides, and of drawn blocks: what a tile is depends on the distance of its blocks alone."""
        part, device = self.part, self.setting.device
        if isinstance(part, Band) and self.slides and part.dilation == 1 and not part.block and not self.earlier:
            query = self.before * CHUNK + torch.arange(CHUNK, device=device)
            key = torch.arange((self.before + 1 + self.after) * CHUNK, device=device)
            index = key[None, :] - query[:, None]
            return Templates(index[None], ((index >= -part.left) & (index <= part.right))[None], 0)
        if not isinstance(part, Blocks):
            return None
        bands = [each for each in self.earlier if isinstance(each, Band)]
        # Blocks so far apart, or farther, are beyond every band and in the last entry of every table.
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
        """(B, H, L, d) -> (B, H, places of queries, d), empty places 0; x itself where nothing is to be done."""
        return self._placed(x, self.order, len(self.places))

    def to_columns(self, x: Tensor) -> Tensor:
        """(B, H, L, d) -> (B, H, places of keys, d), empty places 0: chunks before and after those of the queries, too."""
        return self._placed(x, self.order + self.before * CHUNK, len(self.key_places))

    def from_rows(self, x: Tensor) -> Tensor:
        """(B, H, places of queries, d) -> (B, H, L, d)."""
        return x.index_select(2, self.order) if self.moved else x[:, :, : self.setting.shape[2]]

    def from_columns(self, x: Tensor) -> Tensor:
        """(B, H, places of keys, d) -> (B, H, L, d)."""
        start = self.before * CHUNK
        return x.index_select(2, self.order + start) if self.moved else x[:, :, start : start + self.setting.shape[2]]

    def _placed(self, x: Tensor, order: Tensor, num: int) -> Tensor:
        if self.moved:
            return x.new_zeros(*x.shape[:2], num, x.shape[3]).index_copy_(2, order, x)
        start = int(order[0])
        return x if num == x.shape[2] else pad(x, (0, 0, start, num - start - x.shape[2]))

    def __iter__(self) -> Iterator[Tile]:
        number = 0
        for batch, length in self._batches():
            for queries, keys in self._tiles(batch, length):
                places = keys.places()
                query, key = self.places[queries].unflatten(0, (-1, self.chunk))[:, :, None], self.key_places[places][:, None, :]
                allowed, templates = self._allowed(batch, length, query, key, keys), None
                if self.templates is not None and isinstance(keys, DrawnKeys):
                    own = queries.start // self.chunk + torch.arange(len(keys.drawn), device=self.setting.device)
                    templates = (keys.drawn - own[:, None]).clamp(-self.templates.far, self.templates.far) + self.templates.far
                yield Tile(number, batch, queries, self.chunk, keys, query, key, allowed, templates)
                number += 1

    def _batches(self) -> Iterator[tuple[slice, int]]:
        """Sequences that are walked together: all, but where blocks are drawn by length those of one length."""
        if isinstance(self.part, Blocks) and len(set(self.lengths.tolist())) > 1:
            for row, length in enumerate(self.lengths.tolist()):
                yield slice(row, row + 1), length
        else:
            yield slice(None), int(self.lengths.max())

    def _tiles(self, batch: slice, length: int) -> Iterator[tuple[slice, Keys]]:
        device, chunk = self.setting.device, self.chunk
        num_chunks = len(self.places) // chunk
        num_rows = len(range(*batch.indices(self.setting.shape[0]))) * self.setting.shape[1]
        drawn: Tensor | None = None
        if isinstance(self.part, Blocks):
            drawn = self.part.drawn(torch.arange(num_chunks, device=device), length)
            width = drawn.shape[1] * chunk
        elif isinstance(self.part, Band) and self.part.block == chunk:
            drawn, width = torch.arange(num_chunks, device=device)[:, None], chunk
        elif self.slides:
            width = (self.before + 1 + self.after) * chunk
        else:
            count = min(self.part.count, self.setting.shape[2]) if isinstance(self.part, Columns) else self.setting.shape[2]
            for first in range(num_chunks):
                yield slice(first * chunk, (first + 1) * chunk), SharedKeys(count, device)
            return
        step = max(1, SCORES // (num_rows * chunk * width))
        for first in range(0, num_chunks, step):
            chunks = min(step, num_chunks - first)
            queries = slice(first * chunk, (first + chunks) * chunk)
            if drawn is None:
                yield queries, SlidingKeys(first, chunks, self.before + 1 + self.after, chunk, device)
            else:
                yield queries, DrawnKeys(drawn[first : first + chunks], chunk)

    def _allowed(self, batch: slice, length: int, query: Tensor, key: Tensor, keys: Keys) -> Tensor | None:
        """What the templates of the tile, if it has some, leave to be masked: bool, broadcasts to (b, H, G, c, K), or None."""
        setting = self.setting
        there = key >= 0  # (G, 1, K)
        if isinstance(keys, DrawnKeys):
            there = there & ~_drawn_before(keys.drawn).repeat_interleave(keys.block, 1)[:, None]
        if self.templates is None:
            there = there & self.part.covers(query, key, length)  # (G, c, K)
            for part in self.earlier:
                there &= ~part.covers(query, key, length)
        else:
            for part in self.earlier:
                if isinstance(part, Columns):  # a causal one covers but the pairs whose key stands not behind the query
                    there = there & (~part.covers(query, key, length) if part.causal else key >= part.count)
        allowed = None if bool(there.all()) else there[None, None]
        if setting.mask is not None:
            token = setting.mask[batch][:, key.clamp(min=0)][:, None]  # (b, 1, G, 1, K)
            allowed = _both(allowed, token) if not bool(token.all()) else allowed
        if setting.segments is not None:
            segments = setting.segments[batch]
            same = segments[:, query.clamp(min=0)] == segments[:, key.clamp(min=0)]
            allowed = _both(allowed, same[:, None]) if not bool(same.all()) else allowed
        return allowed


@dataclass(frozen=True)
class Templates:
    """Tiles that are all that a walk has, but for missing keys: distance key - query and whether it may attend, (n, c, K / R) each.

    Drawn blocks d blocks after the query's have template d + `far`, those farther the first or the last.
    """

    index: Tensor
    allowed: Tensor
    far: int


def _drawn_before(drawn: Tensor) -> Tensor:
    """(G, R) bool: whether the block was drawn for the same chunk before."""
    same = drawn[:, :, None] == drawn[:, None, :]
    return same.tril(-1).any(-1)


def _padded(tokens: Tensor, before: int, after: int) -> Tensor:
    return pad(tokens, (before, after), value=-1)


def _both(one: Tensor | None, other: Tensor) -> Tensor:
    return other if one is None else one & other
