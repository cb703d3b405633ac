"""Position encodings of attention.

A relative position is a `RelativePosition`: `attend` calls its methods `rotate` and `terms`. They
depend on the signed distance key - query and never build an L x L tensor. An absolute position is
added to the input of the encoder. Each layer has its own position module.

With the signed distance d and its limit M (`max_distance`):

| position | effect | learned | cost in L |
|---|---|---|---|
| `NoPosition` | none | | |
| `T5Bias` | scores + table[bucket(d)] | (buckets, H) | table of distances |
| `Alibi` | scores - slope x |d| | | table of distances |
| `Rotary` | q and k rotated by their position | | L |
| `Shaw` | scores + q . keys[d], output + weights . values[d] | 2 (2M + 1, Dh) | as the pattern |
| `TransformerXL` | (q + u) . k + (q + v) . R[d] | H Dh (2 + D) | as the pattern |
| `Sinusoidal`, `Learned` | added to the embeddings | - / (max_length, D) | L |
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from selfattn_bio import config
from selfattn_bio.errors import ArgumentError


class Terms(NamedTuple):
    """Terms that a position adds to attention, as tables over the distances -M..M.

    Longer distances use the entry at the end of the table. With m = clip(j - i, -M, M) + M, the
    score of query i and key j is q_i . k_j / sqrt(Dh) + bias[h, m] + queries_i . keys[h, m] /
    sqrt(Dh). The output is the weighted mean of v_j + values[m].
    """

    bias: Tensor | None = None  # (H, 2M + 1)
    queries: Tensor | None = None  # (B, H, L, Dh)
    keys: Tensor | None = None  # (H or 1, 2M + 1, Dh)
    values: Tensor | None = None  # (1, 2M + 1, Dh)

    def of_queries(self, rows: slice) -> Terms:
        """Return the terms for some of the queries."""
        return self if self.queries is None else self._replace(queries=self.queries[:, :, rows])


NO_TERMS = Terms()


def relative_index(distance: Tensor, entries: int) -> Tensor:
    """Return the index of a distance key - query in a table over the distances -M..M.

    The table has `entries` = 2M + 1 entries. Longer distances get the index of the first or last
    entry.
    """
    return distance.clamp(-(entries // 2), entries // 2) + entries // 2


def look_up(table: Tensor, distance: Tensor) -> Tensor:
    """Return the entries (H, ...) of a table (H, 2M + 1) at the distances (...)."""
    return table[:, relative_index(distance, table.shape[-1])]


def spread(by_distance: Tensor, distance: Tensor, shape: Sequence[int]) -> Tensor:
    """Return the value of each pair: (..., n, 2M + 1) -> `shape`, which is (..., n, m).

    `distance` broadcasts to `shape`. The inverse, in the sense of gradients, is `collect`.
    """
    at = relative_index(distance, by_distance.shape[-1])
    return by_distance.gather(-1, at.expand(shape))


def collect(x: Tensor, distance: Tensor, entries: int) -> Tensor:
    """Sum x (..., n, m) over keys with the same entry in a table: (..., n, entries).

    `distance` broadcasts to the shape of x.
    """
    at = relative_index(distance, entries).expand_as(x)
    return x.new_zeros(*x.shape[:-1], entries).scatter_add_(-1, at, x)


class RelativePosition(nn.Module):
    """Base class of relative positions, whose methods change nothing unless overridden."""

    def rotate(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Return q and k (B, H, L, Dh) as used in the product; here unchanged."""
        return q, k

    def terms(self, q: Tensor, radius: int) -> Terms:
        """Return the terms for distances up to `radius`; q (B, H, L, Dh) is that of `rotate`."""
        return NO_TERMS


class NoPosition(RelativePosition):
    """Attention without positions."""


class T5Bias(RelativePosition):
    """Learned bias per head and bucket of the signed distance key - query.

    Half of the buckets are for each direction. In each half, the first half of the buckets are
    single distances. The others grow logarithmically up to `max_distance`, and longer distances
    share the last bucket. If `symmetric`, all buckets are for `|distance|`, so that both strands
    get the same scores.

    References
    ----------
    Raffel et al. 2020. Buckets checked against `T5Attention._relative_position_bucket` of Hugging
    Face, bidirectional.
    """

    of_distance: Tensor

    def __init__(
        self,
        num_heads: int,
        num_buckets: int = 32,
        max_distance: int = 128,
        *,
        symmetric: bool = False,
    ) -> None:
        super().__init__()
        if num_buckets < 4 or num_buckets % 2:
            raise ValueError(f"num_buckets is {num_buckets}; expected an even number of at least 4")
        self.directions = 1 if symmetric else 2
        if max_distance <= (exact := num_buckets // self.directions // 2):
            raise ValueError(
                f"max_distance is {max_distance}; with num_buckets = {num_buckets} it must be "
                f"larger than {exact}"
            )
        self.num_buckets, self.max_distance = num_buckets, max_distance
        self.table = nn.Embedding(num_buckets, num_heads)
        nn.init.normal_(self.table.weight, std=0.02)
        # a buffer, because other libraries round logarithms differently (exported networks)
        found = _t5_buckets(max_distance, num_buckets, max_distance, self.directions)
        self.register_buffer("of_distance", found, persistent=False)

    def buckets(self, radius: int) -> Tensor:
        """Return the bucket of each distance -radius..radius, (2 radius + 1,) int64."""
        distance = torch.arange(-radius, radius + 1, device=self.of_distance.device)
        return self.of_distance[relative_index(distance, 2 * self.max_distance + 1)]

    def terms(self, q: Tensor, radius: int) -> Terms:
        """Return the bias, in the precision of the table."""
        buckets = self.buckets(_limited(radius, self.max_distance))
        return Terms(bias=self.table(buckets).T)  # (2M + 1, H) -> (H, 2M + 1)


def _t5_buckets(radius: int, num_buckets: int, max_distance: int, directions: int) -> Tensor:
    distance = torch.arange(-radius, radius + 1)
    count = num_buckets // directions  # buckets per direction
    exact = count // 2
    steps = (
        (distance.abs().clamp(min=exact) / exact).log()
        / math.log(max_distance / exact)
        * (count - exact)
    )
    far = (exact + steps.to(torch.int64)).clamp(max=count - 1)
    near = torch.where(distance.abs() < exact, distance.abs(), far)
    return near if directions == 1 else torch.where(distance > 0, count, 0) + near


class Alibi(RelativePosition):
    """Bias of `-slope x |distance|`, with slopes in geometric progression over the heads.

    Nothing is learned, and both strands get the same scores.

    References
    ----------
    Press et al. 2022, symmetric form. Slopes checked against `build_alibi_tensor` of Hugging Face.
    """

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        power = 2 ** math.floor(math.log2(num_heads))
        self.slopes = [2 ** (-8 * (i + 1) / power) for i in range(power)]
        self.slopes += [2 ** (-4 * (2 * i + 1) / power) for i in range(num_heads - power)]

    def terms(self, q: Tensor, radius: int) -> Terms:
        """Return the bias."""
        distance = torch.arange(-radius, radius + 1, device=q.device).abs()
        slopes = torch.tensor(self.slopes, dtype=torch.float64, device=q.device)
        dtype = torch.promote_types(q.dtype, torch.float32)
        return Terms(bias=(-slopes[:, None] * distance).to(dtype))


class Rotary(RelativePosition):
    """Rotation of pairs of dimensions of q and k by position x base^(-2i / Dh).

    Products then depend only on the distance. Pairs are (i, i + Dh/2), as in `rotate_half` of
    Hugging Face, against which it was checked. With `interpolation` s, position p is encoded as p /
    s, for inputs s times as long as in training (Chen et al. 2023).

    References
    ----------
    Su et al. 2021 (RoFormer).
    """

    def __init__(self, head_dim: int, base: float = 10_000.0, interpolation: float = 1.0) -> None:
        super().__init__()
        if head_dim % 2:
            raise ValueError(f"head_dim is {head_dim}; rotary positions need an even number")
        self.head_dim, self.base, self.interpolation = head_dim, base, interpolation

    def rotate(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rotated q and k, both (B, H, L, Dh)."""
        if q.shape[-1] != self.head_dim:
            raise ValueError(f"position has head_dim {self.head_dim}, but q has {q.shape[-1]}")
        tables = _rotary_tables if torch.compiler.is_exporting() else _kept_tables
        cos, sin = tables(
            q.shape[-2], self.head_dim, self.base, self.interpolation, q.dtype, q.device
        )
        return q * cos + _turned(q) * sin, k * cos + _turned(k) * sin


def _rotary_tables(
    length: int,
    dim: int,
    base: float,
    interpolation: float,
    dtype: torch.dtype,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Return cosines and sines of the angles, (L, Dh) each."""
    # Angles are computed in float64 and not kept in a buffer, which a cast of the model would
    # round: in float32 the angle of token 100,000 is off by 0.004.
    at = torch.arange(length, dtype=torch.float64, device=device) / interpolation
    angles = _angles(at, dim, base).repeat(1, 2)
    return angles.cos().to(dtype), angles.sin().to(dtype)


# The latest tables, for the layers of an encoder. They are computed outside inference mode, because
# a training step may use them later.
_kept_tables = lru_cache(maxsize=4)(torch.inference_mode(False)(_rotary_tables))


class Shaw(RelativePosition):
    """Learned key and value for each distance up to `max_distance`, shared by the heads.

    References
    ----------
    Shaw et al. 2018, equations 3 and 4.
    """

    def __init__(self, head_dim: int, max_distance: int) -> None:
        super().__init__()
        self.max_distance = max_distance
        self.keys, self.values = (
            nn.Parameter(torch.empty(2 * max_distance + 1, head_dim).normal_(std=head_dim**-0.5))
            for _ in range(2)
        )

    def terms(self, q: Tensor, radius: int) -> Terms:
        """Return the unchanged queries with the learned keys and values."""
        return Terms(queries=q, keys=self.keys[None], values=self.values[None])


class TransformerXL(RelativePosition):
    """Separate scores for content and position: (q + u) . k + (q + v) . R[distance].

    R is a learned projection of a sinusoid of the distance. Distances are clipped to
    `max_distance`.

    References
    ----------
    Dai et al. 2019, section 3.3, here in both directions.
    """

    def __init__(self, num_heads: int, head_dim: int, max_distance: int) -> None:
        super().__init__()
        self.max_distance = max_distance
        self.content = nn.Parameter(torch.empty(num_heads, 1, head_dim).normal_(std=0.02))  # u
        self.place = nn.Parameter(torch.empty(num_heads, 1, head_dim).normal_(std=0.02))  # v
        self.project = nn.Linear(num_heads * head_dim, num_heads * head_dim, bias=False)

    def rotate(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Return q + u and k."""
        return q + self.content.to(q.dtype), k

    def terms(self, q: Tensor, radius: int) -> Terms:
        """Return q + v, with the projected sinusoids of all distances as keys."""
        radius, dim = _limited(radius, self.max_distance), self.project.in_features
        distance = torch.arange(-radius, radius + 1, device=q.device)
        keys = self.project(sinusoids(distance, dim).to(self.project.weight.dtype))  # (2M + 1, D)
        return Terms(
            queries=q + self.place.to(q.dtype),
            keys=keys.unflatten(-1, (q.shape[1], -1)).transpose(0, 1),
        )


class Sinusoidal(nn.Module):
    """Sines and cosines of the position, added to the embeddings.

    The cosines follow the sines, unlike in the paper.

    References
    ----------
    Vaswani et al. 2017.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Add the sinusoids to x (B, L, D)."""
        return x + sinusoids(torch.arange(x.shape[1], device=x.device), x.shape[2]).to(x.dtype)


class Learned(nn.Module):
    """Learned vector for each position up to `max_length`, added to the embeddings.

    References
    ----------
    Devlin et al. 2019 (BERT).
    """

    def __init__(self, embed_dim: int, max_length: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(max_length, embed_dim).normal_(std=0.02))

    def forward(self, x: Tensor) -> Tensor:
        """Add the vectors to x (B, L, D).

        Raises
        ------
        ArgumentError
            If L is larger than `max_length`.
        """
        if x.shape[1] > len(self.table):
            raise ArgumentError(
                f"a sequence has {x.shape[1]} tokens, more than model.position.max_length = "
                f"{len(self.table)}",
                hint="Use shorter sequences or windows, or train with a larger "
                "model.position.max_length",
            )
        return x + self.table[: x.shape[1]]


def sinusoids(at: Tensor, dim: int) -> Tensor:
    """Return the sinusoids of positions or distances: (n,) -> (n, dim) float64.

    The sines sin(at x 10,000^(-2i / dim)) come first, then the cosines.
    """
    angles = _angles(at, dim, 10_000.0)
    return torch.cat((angles.sin(), angles.cos()), dim=-1)[:, :dim]


def _angles(at: Tensor, dim: int, base: float) -> Tensor:
    """Return the angles at x base^(-2i / dim), (n,) -> (n, dim / 2) float64."""
    exponents = -torch.arange(0, dim, 2, dtype=torch.float64, device=at.device) / dim
    return torch.outer(at.to(torch.float64), base**exponents)


def _limited(radius: int, limit: int) -> int:
    """Return the largest distance of a table; an exported graph reads any length."""
    return limit if torch.compiler.is_exporting() else min(radius, limit)


def _turned(x: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)


# Class of each kind, and the sizes of the encoder that it needs. Other arguments are keys of the
# section. To add a position to run files, add its section to `config.attention` and its class here.
POSITIONS: dict[str, tuple[type[nn.Module], tuple[str, ...]]] = {
    "none": (NoPosition, ()),
    "t5": (T5Bias, ("num_heads",)),
    "alibi": (Alibi, ("num_heads",)),
    "rotary": (Rotary, ("head_dim",)),
    "shaw": (Shaw, ("head_dim",)),
    "transformer_xl": (TransformerXL, ("num_heads", "head_dim")),
    "sinusoidal": (Sinusoidal, ()),
    "learned": (Learned, ("embed_dim",)),
}


def build_position(section: config.AnyPosition, num_heads: int, head_dim: int) -> Any:
    """Build the position of the run file: a relative one for one layer, or an absolute one."""
    kind, needed = POSITIONS[section.kind]
    sizes = {"num_heads": num_heads, "head_dim": head_dim, "embed_dim": num_heads * head_dim}
    return kind(**{name: sizes[name] for name in needed}, **section.model_dump(exclude={"kind"}))
