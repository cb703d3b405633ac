"""Dynamic attention: each query attends to nearby blocks of keys and to the best other blocks.

The best blocks are those with the largest estimated weight. A block is described by the number n of
its keys, their mean m and their variance s^2 in each dimension. The log of the sum of exp(scores)
of a query over the block is about

    log n + q . m / sqrt(Dh) + sum over d of (q_d s_d)^2 / (2 Dh)

This is correct to second order in the scores if the dimensions are independent. Two other estimates
were worse: the mean alone found a single matching key less often, and the bound of Quest (Tang et
al. 2024), from the smallest and largest value in each dimension, found a weakly matching key less
often. The query's own block and the blocks next to it are always included: without them, words that
span two blocks were not learned (docs/decisions.md).

Gradients flow through the scores and values of the chosen blocks, not through the choice. The pairs
of a query and a chosen block are sorted by block and cut into tiles of one block each. Work and
memory are L (top + 3) block, plus L^2 / block for the estimates.

References
----------
Lu et al. 2025 (MoBA): choosing blocks during training, by their means and with only the query's own
block always included.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from selfattn_bio.attention.dropout import dropout as dropped
from selfattn_bio.attention.inputs import AttentionInputs
from selfattn_bio.attention.mixers.base import FullMixer, joined, work_dtype
from selfattn_bio.attention.positions import relative_index

NEAR = 3  # blocks: the query's own and one on either side


class Dynamic(FullMixer):
    """Softmax over the blocks near a query and `top` other blocks, chosen per query and head.

    Blocks have `block` tokens. If all blocks are chosen, this is full attention.
    """

    def __init__(self, block: int, top: int) -> None:
        super().__init__()
        self.block, self.top = block, top

    def mix(self, inputs: AttentionInputs) -> Tensor:
        """Compute the output of attention; see `FullMixer.mix`."""
        (batch, heads, length, dim), size = inputs.q.shape, self.block
        sequences, num_blocks = batch * heads, -(-length // size)
        padded = num_blocks * size
        k, v = (
            pad(x, (0, 0, 0, padded - length)).reshape(sequences * num_blocks, size, dim)
            for x in (inputs.k, inputs.v)
        )
        real = (
            pad(inputs.mask.tokens, (0, padded - length))[:, None]
            .expand(-1, heads, -1)
            .reshape(sequences * num_blocks, size)
        )
        with torch.no_grad():
            chosen = self.chosen(inputs.q.reshape(sequences, length, dim), k, real)  # (S, L, T)
            tiles = _Tiles(chosen, num_blocks, size)
        # (n, c, Dh) queries and (n, size, Dh) keys of each tile.
        rows = (
            inputs.q.reshape(sequences * length, dim)
            .index_select(0, tiles.queries.flatten())
            .unflatten(0, tiles.queries.shape)
        )
        scores = (
            rows * (1 / math.sqrt(dim)) @ k.index_select(0, tiles.blocks).transpose(-1, -2)
        ).to(work_dtype(rows))  # (n, c, size)
        if (bias := inputs.terms.bias) is not None:
            scores = scores + self._bias(bias, tiles, length, num_blocks).to(scores.dtype)
        keys = real[tiles.blocks][:, None]  # (n, 1, size)
        scores = scores.masked_fill(~keys, torch.finfo(scores.dtype).min)
        weights = dropped(scores.softmax(-1).masked_fill(~keys, 0.0), inputs.dropout)
        # (n c, Dh): normalised by the query's sum within the block
        out = (weights.to(v.dtype) @ v.index_select(0, tiles.blocks)).flatten(0, 1)
        out = out.index_select(0, tiles.slots).unflatten(0, chosen.shape)  # (S, L, T, Dh)
        log_sums = scores.logsumexp(-1).flatten().index_select(0, tiles.slots).view(chosen.shape)
        return joined(out, log_sums, 2).view(batch, heads, length, dim)

    def chosen(self, q: Tensor, k: Tensor, real: Tensor) -> Tensor:
        """Choose the blocks of each query.

        Parameters
        ----------
        q
            (S, L, Dh), S = sequences x heads.
        k
            (S num_blocks, block, Dh).
        real
            (S num_blocks, block) bool, True = token.

        Returns
        -------
        (S, L, T) int64, T = min(top + 3, num_blocks). Nearby blocks come first, and blocks with
        only padding last.
        """
        sequences, length, dim = q.shape
        num_blocks = len(k) // sequences
        q, k = (x.to(work_dtype(x)) / dim**0.25 for x in (q, k))
        inside = real[..., None].to(k.dtype)  # (S num_blocks, block, 1)
        count = inside.sum(1)
        mean = (k * inside).sum(1) / count.clamp(min=1)
        variance = ((k - mean[:, None]).square() * inside).sum(1) / count.clamp(min=1)
        of_blocks = torch.cat((mean, variance / 2, count.log()), 1).unflatten(
            0, (sequences, num_blocks)
        )
        of_queries = torch.cat((q, q.square(), torch.ones_like(q[..., :1])), 2)
        estimate = of_queries @ of_blocks.transpose(-1, -2)  # (S, L, num_blocks)
        own = torch.arange(length, device=q.device)[:, None] // self.block
        near = (own + torch.arange(NEAR, device=q.device) - NEAR // 2).clamp(0, num_blocks - 1)
        estimate.scatter_(2, near.expand(sequences, -1, -1), float("inf"))
        # Blocks with only padding must come after all others, even near a query.
        estimate.masked_fill_(
            (count == 0).view(sequences, 1, num_blocks), torch.finfo(estimate.dtype).min
        )
        found = []
        for _ in range(min(self.top + NEAR, num_blocks)):
            # Among equal blocks, as in repeats, max takes the first one, however many follow. A
            # stable sort would take longer than everything else.
            best = estimate.max(-1, keepdim=True).indices
            estimate.scatter_(2, best, -float("inf"))
            found.append(best)
        return torch.cat(found, -1)

    def num_pairs(self, length: int) -> int:
        """Return the pairs in the chosen blocks, plus one pair per query and block.

        The latter are the estimates, which take 2 Dh + 1 multiplications each.
        """
        num_blocks = -(-length // self.block)
        return length * (min(self.top + NEAR, num_blocks) * self.block + num_blocks)

    def _bias(self, bias: Tensor, tiles: _Tiles, length: int, num_blocks: int) -> Tensor:
        """Return the bias for the distance of each query and key of a tile, (n, c, size)."""
        queries = tiles.queries % length
        sequence, block = tiles.blocks // num_blocks, tiles.blocks % num_blocks
        keys = block[:, None] * self.block + torch.arange(self.block, device=bias.device)
        at = relative_index(keys[:, None, :] - queries[..., None], bias.shape[1])
        return (
            bias.flatten()
            .index_select(0, (at + (sequence % len(bias) * bias.shape[1])[:, None, None]).flatten())
            .view(at.shape)
        )


class _Tiles:
    """Pairs of a query and a chosen block, sorted by block.

    The pairs of each block are padded to complete tiles: n tiles with c slots each. Queries and
    blocks are numbered over all sequences.

    Attributes
    ----------
    queries
        (n, c) query in each slot; an arbitrary one in empty slots.
    blocks
        (n,) block of each tile.
    slots
        (pairs,) slot of each pair of a query and a chosen block, in the order of `chosen`.
    """

    def __init__(self, chosen: Tensor, num_blocks: int, width: int) -> None:
        sequences = torch.arange(len(chosen), device=chosen.device)[:, None, None]
        block_of = (chosen + sequences * num_blocks).flatten()
        order = block_of.argsort(stable=True)
        counts = block_of.bincount(minlength=len(chosen) * num_blocks)
        tiles = -(-counts // width)
        first = tiles.cumsum(0) - tiles  # first tile of each block
        rank = (
            torch.arange(len(order), device=chosen.device)
            - (counts.cumsum(0) - counts)[block_of[order]]
        )
        slot = first[block_of[order]] * width + rank
        self.slots = torch.empty_like(order).scatter_(0, order, slot)
        self.blocks = torch.arange(len(counts), device=chosen.device).repeat_interleave(tiles)
        at = slot.new_zeros(len(self.blocks) * width).scatter_(0, slot, order // chosen.shape[-1])
        self.queries = at.view(-1, width)
