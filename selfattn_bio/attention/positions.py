"""Positions: what the place of a token, or the distance of two, does to attention.

Hides: buckets, tables, rotations. A relative position is a module with two hooks that `attend` calls, `rotate` and `terms`, by the signed
distance key - query, neither of them L x L; an absolute one is added to the encoder's input. The encoder gives each layer its own.

| kind | what it does | learned | cost in L |
|---|---|---|---|
| `NoPosition` | nothing | | |
| `T5Bias` | scores + table[bucket(distance)] | (buckets, H) | a table of distances |
| `Alibi` | scores - slope x |distance| | | a table of distances |
| `Rotary` | q and k rotated by their place | | L |
| `Shaw` | scores + q . keys[distance], output + weights . values[distance] | 2 (2 max_distance + 1, Dh) | as the pattern |
| `TransformerXL` | (q + u) . k + (q + v) . R[distance] | H Dh (2 + D) | as the pattern |
| `Sinusoidal`, `Learned` | added to the embeddings | - / (max_length, D) | L |
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from selfattn_bio import config
from selfattn_bio.errors import ArgumentError


class Terms(NamedTuple):
    """What a position adds, in tables over the distances -M..M; a distance beyond takes the entry at the end.

    Scores of query i and key j, at m = clip(j - i, -M, M) + M: q_i . k_j / sqrt(Dh) + bias[h, m] + queries_i . keys[h, m] / sqrt(Dh);
    the output is the weighted mean of v_j + values[m].
    """

    bias: Tensor | None = None  # (H, 2M + 1)
    queries: Tensor | None = None  # (B, H, L, Dh)
    keys: Tensor | None = None  # (H or 1, 2M + 1, Dh)
    values: Tensor | None = None  # (1, 2M + 1, Dh)

    @property
    def clip(self) -> int:
        """The largest M of the tables, 0 without one."""
        sizes = [0 if x is None else x.shape[dim] // 2 for x, dim in ((self.bias, -1), (self.keys, -2), (self.values, -2))]
        return max(sizes)


NO_TERMS = Terms()


def entry(distance: Tensor, entries: int) -> Tensor:
    """The entry of a distance key - query in a table of the distances -M..M, 2M + 1 = `entries`; beyond, that of the end."""
    return distance.clamp(-(entries // 2), entries // 2) + entries // 2


class NoPosition(nn.Module):
    """Attention that does not see where a token stands; the base of all relative positions."""

    def rotate(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """q, k (B, H, L, Dh) as they enter the product; here unchanged."""
        return q, k

    def terms(self, q: Tensor, reach: int) -> Terms:
        """What is added for distances up to `reach`; q (B, H, L, Dh) as it was given to `rotate`."""
        return NO_TERMS

    def keep(self, heads: Sequence[int]) -> None:
        """Forget all but what is of these heads; here nothing is of a head of its own."""


class T5Bias(NoPosition):
    """A learned bias per head and bucket of the signed distance key - query.

    Half of the buckets serve each direction; in each half the first half are single distances, the rest grow logarithmically up to
    `max_distance`, beyond which all share the last. `symmetric`: all buckets serve |distance|, so both strands score alike.

    Source: Raffel et al. 2020; buckets checked against Hugging Face `T5Attention._relative_position_bucket`, bidirectional.
    """

    def __init__(self, num_heads: int, num_buckets: int = 32, max_distance: int = 128, *, symmetric: bool = False) -> None:
        super().__init__()
        if num_buckets < 4 or num_buckets % 2:
            raise ValueError(f"num_buckets must be even and >= 4, got {num_buckets}")
        self.sides = 1 if symmetric else 2
        if max_distance <= num_buckets // self.sides // 2:
            raise ValueError(f"max_distance must be > {num_buckets // self.sides // 2}, the buckets of one distance, got {max_distance}")
        self.num_buckets, self.max_distance = num_buckets, max_distance
        self.table = nn.Embedding(num_buckets, num_heads)
        nn.init.normal_(self.table.weight, std=0.02)

    def buckets(self, reach: int) -> Tensor:
        """(2 reach + 1,) int64: the bucket of each distance -reach..reach."""
        distance = torch.arange(-reach, reach + 1, device=self.table.weight.device)
        side = self.num_buckets // self.sides
        exact = side // 2
        steps = (distance.abs().clamp(min=exact) / exact).log() / math.log(self.max_distance / exact) * (side - exact)
        far = (exact + steps.to(torch.int64)).clamp(max=side - 1)
        near = torch.where(distance.abs() < exact, distance.abs(), far)
        return near if self.sides == 1 else torch.where(distance > 0, side, 0) + near

    def terms(self, q: Tensor, reach: int) -> Terms:
        """The bias, in the precision of the table."""
        return Terms(bias=self.table(self.buckets(min(reach, self.max_distance))).T)  # (2M + 1, H) -> (H, 2M + 1)

    def keep(self, heads: Sequence[int]) -> None:
        """Their columns of the table."""
        self.table = nn.Embedding.from_pretrained(self.table.weight.detach()[:, list(heads)].clone(), freeze=False)


class Alibi(NoPosition):
    """Scores fall by slope x |distance|, the slopes a geometric row over the heads; nothing is learned, both strands score alike.

    Source: Press et al. 2022, symmetric form; slopes checked against Hugging Face `build_alibi_tensor`.
    """

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        power = 2 ** math.floor(math.log2(num_heads))
        self.slopes = [2 ** (-8 * (i + 1) / power) for i in range(power)]
        self.slopes += [2 ** (-4 * (2 * i + 1) / power) for i in range(num_heads - power)]

    def terms(self, q: Tensor, reach: int) -> Terms:
        """The bias."""
        distance = torch.arange(-reach, reach + 1, device=q.device).abs()
        slopes = torch.tensor(self.slopes, dtype=torch.float64, device=q.device)
        return Terms(bias=(-slopes[:, None] * distance).to(torch.promote_types(q.dtype, torch.float32)))

    def keep(self, heads: Sequence[int]) -> None:
        """Their slopes."""
        self.slopes = [self.slopes[head] for head in heads]


class Rotary(NoPosition):
    """Queries and keys rotated in pairs of dimensions by position x base^(-2i / Dh): the product depends on the distance alone.

    `interpolation` s lets position p stand where p / s stood in training, for inputs s times as long (Chen et al. 2023). Pairs are
    (i, i + Dh/2), as in Hugging Face's `rotate_half`, which it was checked with. Source: Su et al. 2021 (RoFormer).
    """

    def __init__(self, head_dim: int, base: float = 10_000.0, interpolation: float = 1.0) -> None:
        super().__init__()
        if head_dim % 2:
            raise ValueError(f"head_dim must be even for rotary, got {head_dim}")
        self.head_dim, self.base, self.interpolation = head_dim, base, interpolation

    def rotate(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """q, k (B, H, L, Dh) -> the same, rotated."""
        # float64 until it meets q, and no buffer that a cast of the model rounds: in float32 the angle of token 100,000 is off by 0.004.
        frequencies = self.base ** (-torch.arange(0, self.head_dim, 2, dtype=torch.float64, device=q.device) / self.head_dim)
        at = torch.arange(q.shape[-2], dtype=torch.float64, device=q.device) / self.interpolation
        angles = torch.outer(at, frequencies).repeat(1, 2)  # (L, Dh)
        cos, sin = angles.cos().to(q.dtype), angles.sin().to(q.dtype)
        return q * cos + _turned(q) * sin, k * cos + _turned(k) * sin


class Shaw(NoPosition):
    """A learned key and a learned value for each distance up to `max_distance`, shared by the heads.

    Source: Shaw et al. 2018, equations 3 and 4.
    """

    def __init__(self, head_dim: int, max_distance: int) -> None:
        super().__init__()
        self.max_distance = max_distance
        self.keys = nn.Parameter(torch.empty(2 * max_distance + 1, head_dim).normal_(std=head_dim**-0.5))
        self.values = nn.Parameter(torch.empty(2 * max_distance + 1, head_dim).normal_(std=head_dim**-0.5))

    def terms(self, q: Tensor, reach: int) -> Terms:
        """The queries as they are, with the learned keys and values."""
        return Terms(queries=q, keys=self.keys[None], values=self.values[None])


class TransformerXL(NoPosition):
    """Content and position apart: (q + u) . k + (q + v) . R[distance], R a learned projection of a sinusoid of the distance.

    Distances beyond `max_distance` count as that. Source: Dai et al. 2019, section 3.3, here in both directions.
    """

    def __init__(self, num_heads: int, head_dim: int, max_distance: int) -> None:
        super().__init__()
        self.max_distance = max_distance
        self.content = nn.Parameter(torch.empty(num_heads, 1, head_dim).normal_(std=0.02))  # u
        self.place = nn.Parameter(torch.empty(num_heads, 1, head_dim).normal_(std=0.02))  # v
        self.project = nn.Linear(num_heads * head_dim, num_heads * head_dim, bias=False)

    def rotate(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """q + u, k."""
        return q + self.content.to(q.dtype), k

    def terms(self, q: Tensor, reach: int) -> Terms:
        """q + v, and the projected sinusoids of all distances as its keys."""
        reach = min(reach, self.max_distance)
        distance = torch.arange(-reach, reach + 1, device=q.device)
        keys = self.project(sinusoids(distance, self.project.in_features).to(self.project.weight.dtype))  # (2M + 1, D)
        return Terms(queries=q + self.place.to(q.dtype), keys=keys.unflatten(-1, (q.shape[1], -1)).transpose(0, 1))

    def keep(self, heads: Sequence[int]) -> None:
        """Their u and v, and their rows of the projection, which goes on to read whole sinusoids."""
        rows = self.project.weight.detach().unflatten(0, (len(self.content), -1))[list(heads)].flatten(0, 1)
        self.content, self.place = (nn.Parameter(each.detach()[list(heads)].clone()) for each in (self.content, self.place))
        self.project = nn.utils.skip_init(nn.Linear, rows.shape[1], rows.shape[0], bias=False)
        self.project.weight = nn.Parameter(rows.clone())


class Sinusoidal(nn.Module):
    """Sines and cosines of the place, added to the embeddings. Source: Vaswani et al. 2017, with the cosines after the sines."""

    def forward(self, x: Tensor) -> Tensor:
        """x (B, L, D) -> the same."""
        return x + sinusoids(torch.arange(x.shape[1], device=x.device), x.shape[2]).to(x.dtype)


class Learned(nn.Module):
    """A learned vector for each place up to `max_length`, added to the embeddings. Source: Devlin et al. 2019 (BERT)."""

    def __init__(self, embed_dim: int, max_length: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(max_length, embed_dim).normal_(std=0.02))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, L, D) -> the same.

        Raises
        ------
        ArgumentError
            If L is more than `max_length`.
        """
        if x.shape[1] > len(self.table):
            raise ArgumentError(
                f"sequences must have at most {len(self.table)} tokens (model.position.max_length), got {x.shape[1]}",
                cure="Take shorter sequences or windows, or train with a larger model.position.max_length",
            )
        return x + self.table[: x.shape[1]]


def sinusoids(at: Tensor, dim: int) -> Tensor:
    """(n,) places or distances -> (n, dim) float64: sin(at x 10,000^(-2i / dim)), then the cosines."""
    frequencies = 10_000.0 ** (-torch.arange(0, dim, 2, dtype=torch.float64, device=at.device) / dim)
    angles = torch.outer(at.to(torch.float64), frequencies)
    return torch.cat((angles.sin(), angles.cos()), dim=-1)[:, :dim]


def _turned(x: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)


def build_position(section: config.Position, num_heads: int, head_dim: int) -> NoPosition:
    """The relative position that the run file names, for one layer."""
    match section:
        case config.T5Position():
            return T5Bias(num_heads, section.num_buckets, section.max_distance, symmetric=section.symmetric)
        case config.AlibiPosition():
            return Alibi(num_heads)
        case config.RotaryPosition():
            return Rotary(head_dim, section.base, section.interpolation)
        case config.ShawPosition():
            return Shaw(head_dim, section.max_distance)
        case config.TransformerXLPosition():
            return TransformerXL(num_heads, head_dim, section.max_distance)
        case _:
            return NoPosition()


def build_absolute(section: config.Position, embed_dim: int) -> nn.Module:
    """What the run file's position adds to the encoder's input; for a relative one, nothing."""
    match section:
        case config.SinusoidalPosition():
            return Sinusoidal()
        case config.LearnedPosition():
            return Learned(embed_dim, section.max_length)
        case _:
            return nn.Identity()
