"""Attention among tokens that hash alike: random rotations sort tokens into buckets, and each attends within its own, in several rounds.

Hides: sorting, chunks, and that a pair that meets in several rounds counts once. In each round tokens are sorted by bucket, then place, and
cut into chunks; a query attends to the keys of its bucket in its own chunk and the ones beside it. So out is a softmax over the union of
what the rounds allow, exactly. Keys are the queries at length 1; a token attends to itself only where it has no other.

With one bucket and a sequence of two chunks at most it is full attention. Source: Kitaev et al. 2020 (Reformer), there
with the chunk before alone and rotations drawn anew in training; here they are drawn with the weights and stay.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, pad

from selfattn_bio.attention.attend import Asked
from selfattn_bio.attention.dropout import dropout as dropped
from selfattn_bio.attention.mixers.base import FullMixer, work_dtype
from selfattn_bio.attention.positions import entry

ITSELF = -1e4  # the score of a token with itself: above that of a pair that may not attend, below any other


class UnitLength(nn.Module):
    """Vectors at length 1; a module, so that a relevance rule can be hooked on it."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., Dh) -> the same."""
        return normalize(x, dim=-1)


class Reformer(FullMixer):
    """Softmax over the tokens of a query's bucket nearby in the order of buckets, over `hashes` rounds."""

    rotations: Tensor

    def __init__(self, head_dim: int, num_buckets: int, chunk: int, hashes: int) -> None:
        super().__init__()
        self.num_buckets, self.chunk, self.unit = num_buckets, chunk, UnitLength()
        self.register_buffer("rotations", torch.randn(hashes, head_dim, num_buckets // 2))

    def mix(self, asked: Asked) -> Tensor:
        """As `FullMixer.mix`."""
        _, heads, length, dim = asked.q.shape
        size = min(self.chunk, length)  # tokens that are fewer than a chunk stand in one, however long it may be
        real = asked.setting.tokens()
        k = self.unit(asked.k)
        with torch.no_grad():
            buckets = self.buckets(asked.q, real)  # (B, H, R, L)
            order = buckets.argsort(dim=-1, stable=True)  # the token at each place; padding last
            places = torch.empty_like(order).scatter_(-1, order, torch.arange(length, device=order.device).expand_as(order))
        outs, log_sums = [], []
        for number in range(buckets.shape[2]):
            at = pad(order[:, :, number], (0, -length % size), value=length).unflatten(-1, (-1, size))  # (B, H, n, c)
            near = _with_neighbours(at, length)  # (B, H, n, 3c)
            scores = _taken(asked.q / math.sqrt(dim), at) @ _taken(k, near).transpose(-1, -2)  # (B, H, n, c, 3c)
            scores = scores.to(work_dtype(scores))
            if (bias := asked.terms.bias) is not None:
                scores = scores + _bias(bias, at, near).to(scores.dtype)
            with torch.no_grad():
                rounds = [self._meet(*each, at, near) for each in zip(buckets.unbind(2), places.unbind(2), strict=True)]
                real_keys = _taken(real[:, None, :, None].expand(-1, heads, -1, -1), near)[..., 0]  # (B, H, n, 3c)
                allowed = rounds[number] & real_keys[..., None, :]
                times = torch.stack(rounds).sum(0).clamp(min=1)
            scores = scores.masked_fill(at[..., None] == near[..., None, :], ITSELF) - times.to(scores.dtype).log()
            scores = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min)
            weights = dropped(scores.softmax(-1).masked_fill(~allowed, 0.0), asked.dropout)
            out = weights.to(asked.v.dtype) @ _taken(asked.v, near)  # (B, H, n, c, Dh)
            outs.append(_rows(out.flatten(2, 3), places[:, :, number]))
            log_sums.append(scores.logsumexp(-1).flatten(2).gather(2, places[:, :, number]))
        shares = torch.stack(log_sums).softmax(0)[..., None]
        return (torch.stack(outs) * shares).sum(0)

    def buckets(self, q: Tensor, real: Tensor) -> Tensor:
        """The bucket of each token in each round.

        Parameters
        ----------
        q
            (B, H, L, Dh).
        real
            (B, L) bool: where there is a token.

        Returns
        -------
        (B, H, R, L) int64: the largest of the rotated query's numbers and their negatives; num_buckets of padding.
        """
        turned = q[:, :, None] @ self.rotations.to(q.dtype)  # (B, H, R, L, num_buckets / 2)
        numbers = torch.cat((turned, -turned), -1)
        largest = numbers.argmax(-1) if self.num_buckets > 1 else numbers.sum(-1).long()  # of one bucket there are no numbers
        return largest.masked_fill(~real[:, None, None], self.num_buckets)

    def num_pairs(self, length: int) -> int:
        """Pairs of three chunks in each round, and its rotations, half a bucket a dimension each."""
        return len(self.rotations) * length * (3 * min(self.chunk, length) + self.num_buckets // 4)

    def _meet(self, bucket: Tensor, place: Tensor, at: Tensor, near: Tensor) -> Tensor:
        """(B, H, n, c, 3c) bool: whether the tokens `at` and `near` meet in a round of these buckets and places, both (B, H, L)."""
        chunk = place // self.chunk
        same = _each(bucket, at)[..., None] == _each(bucket, near)[..., None, :]
        return same & ((_each(chunk, at)[..., None] - _each(chunk, near)[..., None, :]).abs() <= 1)


def _with_neighbours(at: Tensor, none: int) -> Tensor:
    """(B, H, n, c) tokens -> (B, H, n, 3c), those of the chunks before, of it and after; `none` where there is no chunk."""
    wide = pad(at, (0, 0, 1, 1), value=none)
    return torch.cat((wide[:, :, :-2], wide[:, :, 1:-1], wide[:, :, 2:]), -1)


def _taken(x: Tensor, at: Tensor) -> Tensor:
    """x (B, H, L, n) at tokens (B, H, ...) -> (B, H, ..., n); 0 at token L, which there is none of."""
    return _rows(pad(x, (0, 0, 0, 1)), at)


def _rows(x: Tensor, at: Tensor) -> Tensor:
    index = at.flatten(2)
    return x.gather(2, index[..., None].expand(-1, -1, -1, x.shape[-1])).view(*at.shape, x.shape[-1])


def _each(x: Tensor, at: Tensor) -> Tensor:
    """x (B, H, L) int at tokens (B, H, ...) -> the same shape; -9 at token L."""
    return pad(x, (0, 1), value=-9).gather(2, at.flatten(2)).view(at.shape)


def _bias(bias: Tensor, at: Tensor, near: Tensor) -> Tensor:
    """(B, H, n, c, 3c) what a position adds, of (H, 2M + 1) by distance."""
    index = entry(near[..., None, :] - at[..., None], bias.shape[1])
    head = torch.arange(len(bias), device=bias.device)[:, None, None, None]
    return bias[head, index]
