"""Attention among tokens with the same hash (Reformer).

Random rotations assign tokens to buckets, in several rounds. In each round, tokens are sorted by
bucket and position and cut into chunks. A query attends to the keys of its bucket in its own chunk
and in the chunks before and after it. The output is exactly the softmax over the union of the pairs
of all rounds: a pair that occurs in several rounds counts once. Keys are the queries scaled to
length 1. A token attends to itself only if it has no other key.

With one bucket and at most two chunks this is full attention.

References
----------
Kitaev et al. 2020 (Reformer). Their version uses only the chunk before and samples new rotations
during training. Here rotations are sampled with the weights and stay fixed.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, pad

from selfattn_bio.attention.attend import AttentionInputs
from selfattn_bio.attention.dropout import dropout as dropped
from selfattn_bio.attention.mixers.base import FullMixer, work_dtype
from selfattn_bio.attention.positions import relative_index

# score of a token with itself: lower than that of any other allowed pair, so that it counts only
# if there is none; higher than that of pairs that are not allowed
ITSELF = -1e4


class UnitLength(nn.Module):
    """Scale vectors to length 1. A module, so that attribution rules can be hooked on it."""

    def forward(self, x: Tensor) -> Tensor:
        """Scale x (..., Dh) to length 1."""
        return normalize(x, dim=-1)


class Reformer(FullMixer):
    """Softmax over the nearby tokens that are in the query's bucket in any of `hashes` rounds."""

    rotations: Tensor

    def __init__(self, head_dim: int, num_buckets: int, chunk: int, hashes: int) -> None:
        super().__init__()
        self.num_buckets, self.chunk, self.unit = num_buckets, chunk, UnitLength()
        self.register_buffer("rotations", torch.randn(hashes, head_dim, num_buckets // 2))

    def mix(self, inputs: AttentionInputs) -> Tensor:
        """Compute the output of attention; see `FullMixer.mix`."""
        _, heads, length, dim = inputs.q.shape
        # a sequence shorter than a chunk is one chunk
        size = min(self.chunk, length)
        real = inputs.attention_mask.tokens()
        k = self.unit(inputs.k)
        with torch.no_grad():
            buckets = self.buckets(inputs.q, real)  # (B, H, R, L)
            # the token in each sorted position; padding last
            order = buckets.argsort(dim=-1, stable=True)
            ranks = torch.empty_like(order).scatter_(
                -1, order, torch.arange(length, device=order.device).expand_as(order)
            )
        outs, log_sums = [], []
        for number in range(buckets.shape[2]):
            at = pad(order[:, :, number], (0, -length % size), value=length).unflatten(
                -1, (-1, size)
            )  # (B, H, n, c)
            near = _with_neighbours(at, length)  # (B, H, n, 3c)
            scores = _taken(inputs.q / math.sqrt(dim), at) @ _taken(k, near).transpose(
                -1, -2
            )  # (B, H, n, c, 3c)
            scores = scores.to(work_dtype(scores))
            if (bias := inputs.terms.bias) is not None:
                scores = scores + _bias(bias, at, near).to(scores.dtype)
            with torch.no_grad():
                rounds = [
                    self._meet(*each, at, near)
                    for each in zip(buckets.unbind(2), ranks.unbind(2), strict=True)
                ]
                real_keys = _taken(real[:, None, :, None].expand(-1, heads, -1, -1), near)[
                    ..., 0
                ]  # (B, H, n, 3c)
                allowed = rounds[number] & real_keys[..., None, :]
                times = torch.stack(rounds).sum(0).clamp(min=1)
            scores = (
                scores.masked_fill(at[..., None] == near[..., None, :], ITSELF)
                - times.to(scores.dtype).log()
            )
            scores = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min)
            weights = dropped(scores.softmax(-1).masked_fill(~allowed, 0.0), inputs.dropout)
            out = weights.to(inputs.v.dtype) @ _taken(inputs.v, near)  # (B, H, n, c, Dh)
            outs.append(_rows(out.flatten(2, 3), ranks[:, :, number]))
            log_sums.append(scores.logsumexp(-1).flatten(2).gather(2, ranks[:, :, number]))
        fractions = torch.stack(log_sums).softmax(0)[..., None]
        return (torch.stack(outs) * fractions).sum(0)

    def buckets(self, q: Tensor, real: Tensor) -> Tensor:
        """Return the bucket of each token in each round.

        Parameters
        ----------
        q
            (B, H, L, Dh).
        real
            (B, L) bool, True = token.

        Returns
        -------
        (B, H, R, L) int64: index of the largest value among the rotated query and its negative;
        num_buckets for padding.
        """
        rotated = q[:, :, None] @ self.rotations.to(q.dtype)  # (B, H, R, L, num_buckets / 2)
        numbers = torch.cat((rotated, -rotated), -1)
        # a single bucket has no numbers to compare
        largest = numbers.argmax(-1) if self.num_buckets > 1 else numbers.sum(-1).long()
        return largest.masked_fill(~real[:, None, None], self.num_buckets)

    def num_pairs(self, length: int) -> int:
        """Return the pairs of each token with three chunks in each round, plus the rotations.

        The rotation of a token takes Dh num_buckets / 2 multiplications, or num_buckets / 4 pairs.
        """
        return len(self.rotations) * length * (3 * min(self.chunk, length) + self.num_buckets // 4)

    def _meet(self, bucket: Tensor, rank: Tensor, at: Tensor, near: Tensor) -> Tensor:
        """Return whether queries `at` attend to keys `near` in a round, (B, H, n, c, 3c) bool.

        `bucket` and `rank`, both (B, H, L), are the bucket and the sorted position of each token in
        that round.
        """
        chunk = rank // self.chunk
        same = _each(bucket, at)[..., None] == _each(bucket, near)[..., None, :]
        return same & ((_each(chunk, at)[..., None] - _each(chunk, near)[..., None, :]).abs() <= 1)


def _with_neighbours(at: Tensor, none: int) -> Tensor:
    """Join each chunk with the chunks before and after it: (B, H, n, c) -> (B, H, n, 3c).

    Missing chunks have the token `none`.
    """
    wide = pad(at, (0, 0, 1, 1), value=none)
    return torch.cat((wide[:, :, :-2], wide[:, :, 1:-1], wide[:, :, 2:]), -1)


def _taken(x: Tensor, at: Tensor) -> Tensor:
    """Return x (B, H, L, n) at the tokens `at` (B, H, ...), as (B, H, ..., n).

    Token L is missing and gets 0.
    """
    return _rows(pad(x, (0, 0, 0, 1)), at)


def _rows(x: Tensor, at: Tensor) -> Tensor:
    """Return x (B, H, L, n) at the tokens `at` (B, H, ...), as (B, H, ..., n)."""
    index = at.flatten(2)
    return x.gather(2, index[..., None].expand(-1, -1, -1, x.shape[-1])).view(
        *at.shape, x.shape[-1]
    )


def _each(x: Tensor, at: Tensor) -> Tensor:
    """Return x (B, H, L) int at the tokens `at` (B, H, ...).

    Token L is missing and gets -9.
    """
    return pad(x, (0, 1), value=-9).gather(2, at.flatten(2)).view(at.shape)


def _bias(bias: Tensor, at: Tensor, near: Tensor) -> Tensor:
    """Return the bias of each pair, (B, H, n, c, 3c), from a table (H, 2M + 1) by distance."""
    index = relative_index(near[..., None, :] - at[..., None], bias.shape[1])
    head = torch.arange(len(bias), device=bias.device)[:, None, None, None]
    return bias[head, index]
