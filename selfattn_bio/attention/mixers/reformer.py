"""Attention among tokens with the same hash (Reformer).

Random rotations assign tokens to buckets, in several rounds. In each round, tokens are sorted by
bucket and position and cut into chunks. A query attends to the keys of its bucket in its own chunk
and in the chunks before and after it. The output is exactly the softmax over the union of the pairs
of all rounds: a pair that occurs in several rounds counts once. Keys are the queries scaled to
length 1. A token attends to itself only if it has no other key.

With one bucket and at most two chunks, every token attends to all others.

Shapes as in `mixers.base`, and R rounds, n chunks of c tokens. Indices of tokens (B, H, n, c) are
positions in the sequence; the index L stands for a missing token, which fills incomplete chunks.

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

from selfattn_bio.attention.dropout import dropout as dropped
from selfattn_bio.attention.inputs import AttentionInputs
from selfattn_bio.attention.mixers.base import FullMixer, joined, work_dtype
from selfattn_bio.attention.positions import relative_index

# Score of a token with itself. It is lower than the score of any other allowed pair, so that it
# matters only if there is no such pair. It is higher than the score of forbidden pairs.
SELF_SCORE = -1e4


class UnitLength(nn.Module):
    """Scale vectors to length 1.

    It is a module so that attribution rules can be hooked on it.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Scale x (..., Dh) to length 1."""
        return normalize(x, dim=-1)


class Reformer(FullMixer):
    """Softmax over the nearby tokens that are in the query's bucket in any round.

    Parameters
    ----------
    head_dim
        Dimensions per head.
    num_buckets
        Buckets per round: an even number, or 1 for no hashing.
    chunk
        Tokens per chunk; a sequence shorter than a chunk is one chunk.
    hashes
        Number of rounds R.
    """

    keys_are_queries = True
    rotations: Tensor

    def __init__(self, head_dim: int, num_buckets: int, chunk: int, hashes: int) -> None:
        super().__init__()
        self.num_buckets, self.chunk, self.unit = num_buckets, chunk, UnitLength()
        self.register_buffer("rotations", torch.randn(hashes, head_dim, num_buckets // 2))

    def mix(self, inputs: AttentionInputs) -> Tensor:
        """Compute the output of attention (B, H, L, Dh); see `FullMixer.mix`."""
        _, heads, length, dim = inputs.q.shape
        size = min(self.chunk, length)
        is_token = inputs.mask.tokens  # (B, L), False for padding
        k = self.unit(inputs.k)
        with torch.no_grad():
            buckets = self.buckets(inputs.q, is_token)  # (B, H, R, L)
            # (B, H, R, L): the token at each sorted position, padding last
            order = buckets.argsort(dim=-1, stable=True)
            # (B, H, R, L): the sorted position of each token
            ranks = torch.empty_like(order).scatter_(
                -1, order, torch.arange(length, device=order.device).expand_as(order)
            )
        outputs, log_sums = [], []
        for current in range(buckets.shape[2]):
            queries = pad(order[:, :, current], (0, -length % size), value=length).unflatten(
                -1, (-1, size)
            )  # (B, H, n, c)
            keys = _with_adjacent_chunks(queries, length)  # (B, H, n, 3c)
            scores = _gather_padded(inputs.q / math.sqrt(dim), queries) @ _gather_padded(
                k, keys
            ).transpose(-1, -2)  # (B, H, n, c, 3c)
            scores = scores.to(work_dtype(scores))
            if (bias := inputs.terms.bias) is not None:
                scores = scores + _pair_bias(bias, queries, keys).to(scores.dtype)
            with torch.no_grad():
                rounds = [
                    self._occurs(bucket, rank, queries, keys)
                    for bucket, rank in zip(buckets.unbind(2), ranks.unbind(2), strict=True)
                ]
                is_key = _gather_padded(
                    is_token[:, None, :, None].expand(-1, heads, -1, -1), keys
                ).squeeze(-1)  # (B, H, n, 3c)
                allowed = rounds[current] & is_key[..., None, :]
                times = torch.stack(rounds).sum(0).clamp(min=1)  # rounds in which the pair occurs
            # a pair that occurs in m rounds gets 1 / m of its weight in each of them
            scores = (
                scores.masked_fill(queries[..., None] == keys[..., None, :], SELF_SCORE)
                - times.to(scores.dtype).log()
            )
            scores = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min)
            weights = dropped(scores.softmax(-1).masked_fill(~allowed, 0.0), inputs.dropout)
            output = weights.to(inputs.v.dtype) @ _gather_padded(inputs.v, keys)  # (B, H, n, c, Dh)
            # back to the order of the sequence
            outputs.append(_gather(output.flatten(2, 3), ranks[:, :, current]))
            log_sums.append(scores.logsumexp(-1).flatten(2).gather(2, ranks[:, :, current]))
        return joined(torch.stack(outputs), torch.stack(log_sums), 0)

    def buckets(self, q: Tensor, is_token: Tensor) -> Tensor:
        """Return the bucket of each token in each round.

        Parameters
        ----------
        q
            Queries, (B, H, L, Dh).
        is_token
            (B, L) bool, False for padding.

        Returns
        -------
        (B, H, R, L) int64: the index of the largest value in the rotated query and its negative,
        from 0 to num_buckets - 1; num_buckets for padding.
        """
        rotated = q[:, :, None] @ self.rotations.to(q.dtype)  # (B, H, R, L, num_buckets / 2)
        values = torch.cat(
            (rotated, -rotated), -1
        )  # (B, H, R, L, num_buckets), 0 wide for 1 bucket
        largest = values.argmax(-1) if self.num_buckets > 1 else values.sum(-1).long()
        return largest.masked_fill(~is_token[:, None, None], self.num_buckets)

    def num_pairs(self, length: int) -> int:
        """Return the work per head for `length` tokens, as a number of pairs.

        In each round, a token has pairs with three chunks. Its rotation takes Dh num_buckets / 2
        multiplications, which equals num_buckets / 4 pairs (see `Mixer.num_pairs`).
        """
        return len(self.rotations) * length * (3 * min(self.chunk, length) + self.num_buckets // 4)

    def _occurs(self, bucket: Tensor, rank: Tensor, queries: Tensor, keys: Tensor) -> Tensor:
        """Return whether each pair occurs in a round, (B, H, n, c, 3c) bool.

        A pair occurs if both tokens are in the same bucket, and in the same or adjacent chunks.

        Parameters
        ----------
        bucket, rank
            Bucket and sorted position of each token in that round, (B, H, L).
        queries, keys
            Indices of the tokens, (B, H, n, c) and (B, H, n, 3c).
        """
        chunk = rank // self.chunk
        of_query, of_key = _gather_numbers(bucket, queries), _gather_numbers(bucket, keys)
        same_bucket = of_query[..., None] == of_key[..., None, :]
        of_query, of_key = _gather_numbers(chunk, queries), _gather_numbers(chunk, keys)
        return same_bucket & ((of_query[..., None] - of_key[..., None, :]).abs() <= 1)


def _with_adjacent_chunks(chunks: Tensor, missing: int) -> Tensor:
    """Join each chunk with the chunks before and after it: (B, H, n, c) -> (B, H, n, 3c).

    The first chunk has none before it and the last none after it; their tokens are `missing`.
    """
    wide = pad(chunks, (0, 0, 1, 1), value=missing)
    return torch.cat((wide[:, :, :-2], wide[:, :, 1:-1], wide[:, :, 2:]), -1)


def _gather(x: Tensor, tokens: Tensor) -> Tensor:
    """Return the vectors of x (B, H, L, d) at indices `tokens` (B, H, ...), as (B, H, ..., d)."""
    index = tokens.flatten(2)[..., None].expand(-1, -1, -1, x.shape[-1])
    return x.gather(2, index).view(*tokens.shape, x.shape[-1])


def _gather_padded(x: Tensor, tokens: Tensor) -> Tensor:
    """Gather as `_gather`; index L, a missing token, gives zeros."""
    return _gather(pad(x, (0, 0, 0, 1)), tokens)


def _gather_numbers(x: Tensor, tokens: Tensor) -> Tensor:
    """Return x (B, H, L) int at indices `tokens` (B, H, ...), in their shape.

    Index L, a missing token, gives -9: this equals no bucket and is adjacent to no chunk.
    """
    return pad(x, (0, 1), value=-9).gather(2, tokens.flatten(2)).view(tokens.shape)


def _pair_bias(bias: Tensor, queries: Tensor, keys: Tensor) -> Tensor:
    """Return the bias of each pair, (B, H, n, c, 3c), from a table (H, 2M + 1) by distance."""
    index = relative_index(keys[..., None, :] - queries[..., None], bias.shape[1])
    head = torch.arange(len(bias), device=bias.device)[:, None, None, None]
    return bias[head, index]
