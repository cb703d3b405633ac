"""Kinds of attention ("mixers"), which the encoder's `SelfAttention` calls.

To add one, write a class, add it to `build_mixer` and add its section to `config.AnyMixer`.

Costs count pairs of query and key per head. L is the number of tokens, Dh the dimension of a head;
the other names are keys of the mixer's section in `config`.

| kind | what a token attends to | cost in L |
|---|---|---|
| `softmax` | the pairs of the pattern | as the pattern |
| `dynamic` | keys in nearby blocks and in the best blocks | L (top + 3) block + L^2 / block |
| `hierarchical` | a window, and all pooled tokens | L (2 window + 1) + (L / pool)^2 |

Shapes: B sequences, H query heads, G heads of keys and values, L tokens, Dh dimensions per head.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from selfattn_bio import config
from selfattn_bio.attention.attend import attend
from selfattn_bio.attention.dropout import dropout
from selfattn_bio.attention.inputs import AttentionMask, as_mask, prepare, work_dtype
from selfattn_bio.attention.patterns import AttentionPattern, Full, Window, build_pattern
from selfattn_bio.attention.positions import RelativePosition, Terms, look_up, relative_index

NEAR = 3  # blocks of `Dynamic`: the query's own and one on either side


class Mixer(nn.Module, ABC):
    """A kind of attention: each token receives information from other tokens."""

    @abstractmethod
    def forward(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *,
        position: RelativePosition,
        mask: AttentionMask | Tensor | None = None,
        dropout: float = 0.0,
    ) -> Tensor:
        """Compute the output of attention for each query.

        Parameters
        ----------
        q
            Queries (B, H, L, Dh), before rotary positions are applied.
        k, v
            Keys and values (B, G, L, Dh); H is a multiple of G.
        position
            Effect of positions and distances on the scores. Only `Softmax` supports positions
            with separate keys (`config.attention.MIXER_POSITIONS`).
        mask
            (B, L) bool: True for tokens, False for padding, which no query attends to. None: no
            padding. The encoder passes the `AttentionMask` of the batch.
        dropout
            Fraction of the attention weights set to 0; use 0 outside training.

        Returns
        -------
        (B, H, L, Dh); 0 for a query that may attend to no key.

        Raises
        ------
        ValueError
            If shapes do not fit.
        """


class Softmax(Mixer):
    """Mean of the values weighted by a softmax over the pairs that a pattern allows."""

    def __init__(self, pattern: AttentionPattern, kernel: str = "auto") -> None:
        super().__init__()
        self.pattern, self.kernel = pattern, kernel

    def forward(self, q: Tensor, k: Tensor, v: Tensor, **settings: Any) -> Tensor:
        """Compute attention with `attend`; see `Mixer.forward`."""
        return attend(q, k, v, pattern=self.pattern, kernel=self.kernel, **settings)


class Hierarchical(Mixer):
    """A window over the tokens, and all pairs of pooled tokens: out = (1 - s) near + s far.

    `near` attends to `window` tokens on each side, `far` to all coarse tokens. The fraction s of
    each head is sigmoid(gate), with the learned parameter `gate`. A coarse token is the mean of
    the queries, keys and values of `pool` tokens; padding is not counted. Each token gets the
    output of its coarse token. The distance of two coarse tokens is that of their first tokens.
    Rotary positions rotate tokens before they are pooled.

    References
    ----------
    Zhu and Soricut 2021 (H-Transformer-1D). Their version has more levels, and coarse levels leave
    out pairs that finer levels cover.
    """

    def __init__(self, num_heads: int, window: int, pool: int) -> None:
        super().__init__()
        self.window, self.pool = Window(window), pool
        self.gate = nn.Parameter(torch.zeros(num_heads))

    def forward(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *,
        position: RelativePosition,
        mask: AttentionMask | Tensor | None = None,
        dropout: float = 0.0,
    ) -> Tensor:
        """Compute the output of attention; see `Mixer.forward`."""
        mask = as_mask(mask, q)
        near = attend(q, k, v, pattern=self.window, position=position, mask=mask, dropout=dropout)
        if 0 in q.shape:
            return near
        length, real = mask.length, mask.tokens
        q, k = position.rotate(q, k)
        count = self._pooled(real[:, None, :, None].to(work_dtype(q)))  # (B, 1, M, 1)
        q, k, v = (
            (self._pooled(x * real[:, None, :, None]) / count.clamp(min=1)).to(x.dtype)
            for x in (q, k, v)
        )  # (B, H, M, Dh)
        coarse = mask.once(("coarse", self.pool), lambda: AttentionMask(count[:, 0, :, 0] > 0))
        far = attend(q, k, v, position=_Coarse(position, self.pool), mask=coarse, dropout=dropout)
        far = far.repeat_interleave(self.pool, dim=2)[:, :, :length]
        return near + self.gate.sigmoid().to(near.dtype)[:, None, None] * (far - near)

    def _pooled(self, x: Tensor) -> Tensor:
        """Sum groups of `pool` tokens in at least float32.

        Maps (B, H, L, n) to (B, H, ceil(L / pool), n).
        """
        return (
            pad(x, (0, 0, 0, -x.shape[2] % self.pool))
            .unflatten(2, (-1, self.pool))
            .sum(3, dtype=work_dtype(x))
        )


class _Coarse(RelativePosition):
    """Position terms between tokens that are `pool` apart. The tokens are already rotated."""

    def __init__(self, position: RelativePosition, pool: int) -> None:
        super().__init__()
        self.position, self.pool = position, pool

    def terms(self, q: Tensor, radius: int) -> Terms:
        bias = self.position.terms(q, radius * self.pool).bias
        at = torch.arange(-radius, radius + 1, device=q.device) * self.pool
        return Terms(bias=None if bias is None else look_up(bias, at))


class Dynamic(Mixer):
    """Softmax over the blocks near a query and `top` other blocks, chosen per query and head.

    Blocks have `block` tokens. If all blocks are chosen, this is full attention. The best blocks
    are those with the largest estimated weight. A block is described by the number n of its keys,
    their mean m and their variance s^2 in each dimension. The log of the sum of exp(scores) of a
    query over the block is about

        log n + q . m / sqrt(Dh) + sum over d of (q_d s_d)^2 / (2 Dh)

    This is correct to second order in the scores if the dimensions are independent. Two other
    estimates were worse: the mean alone found a single matching key less often, and the bound of
    Quest (Tang et al. 2024), from the smallest and largest value in each dimension, found a weakly
    matching key less often. The query's own block and the blocks next to it are always included:
    without them, words that span two blocks were not learned (docs/decisions.md).

    Gradients flow through the scores and values of the chosen blocks, not through the choice. The
    pairs of a query and a chosen block are sorted by block and cut into tiles of one block each.

    References
    ----------
    Lu et al. 2025 (MoBA): choosing blocks during training, by their means and with only the query's
    own block always included.
    """

    def __init__(self, block: int, top: int) -> None:
        super().__init__()
        self.block, self.top = block, top

    def forward(self, q: Tensor, k: Tensor, v: Tensor, **settings: Any) -> Tensor:
        """Compute the output of attention; see `Mixer.forward`."""
        inputs = prepare(q, k, v, pattern=Full(), **settings)
        if 0 in q.shape:
            return torch.zeros_like(q)
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
        weights = dropout(scores.softmax(-1).masked_fill(~keys, 0.0), inputs.dropout)
        # (n c, Dh): normalised by the query's sum within the block
        out = (weights.to(v.dtype) @ v.index_select(0, tiles.blocks)).flatten(0, 1)
        out = out.index_select(0, tiles.slots).unflatten(0, chosen.shape)  # (S, L, T, Dh)
        log_sums = scores.logsumexp(-1).flatten().index_select(0, tiles.slots).view(chosen.shape)
        out = (out * log_sums.softmax(2)[..., None]).sum(2)  # joins the blocks of each query
        return out.view(batch, heads, length, dim).to(q.dtype)

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


def build_mixer(section: config.AttentionModel) -> Mixer:
    """Build the mixer of one layer, as [model] of the run file describes it."""
    match section.mixer:
        case config.DynamicMixer() as mixer:
            return Dynamic(mixer.block, mixer.top)
        case config.HierarchicalMixer() as mixer:
            return Hierarchical(section.num_heads, mixer.window, mixer.pool)
        case config.SoftmaxMixer():
            return Softmax(build_pattern(section.pattern), section.kernel)
